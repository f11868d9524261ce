// One image: the radiograph with its marks, the tools, and the panels beside it.
import { api, type Box, type Detail, type Feedback, type Finding, type Result, type State, type Status, type Verdict } from "./api";
import { button, fill, h, save } from "./dom";
import { DrawForm, commentForm, feedbackList, findingCard, readerBoxes, sayVerdict, verdictOn } from "./feedback";
import type { Tool } from "./gestures";
import type { Content, Layers } from "./marks";
import { heatLegend } from "./heat";
import { Pane } from "./pane";
import { scoreBars } from "./scores";
import { Threshold, floorOf, hidden, ofBoxes, pointsOf } from "./threshold";
import { ADVICE, ANATOMY, NOTHING, NOTICE, PRIORITIES, SETTLED, clock, dicomDate, labelText, many, reasonParts, sentence, stateOf, title, two } from "./words";
import type { Point2, Viewport } from "./viewport";

const FILES: [string, string][] = [["json", "JSON"], ["png", "PNG"], ["sr", "DICOM SR"], ["seg", "DICOM SEG"], ["gsps", "GSPS"], ["sc", "Secondary capture"]];

const NARROW = matchMedia("(max-width: 960px)"); // as in style.css

export interface Host {
  status: Status;
  say: (words: string, kind?: "good" | "bad") => void;
  close: () => void;
  changed: () => void; // the list should be read again
}

export class View {
  readonly root = h("section", { class: "view", "aria-label": "Radiograph" });
  private readonly pane: Pane;
  private other: Pane | null = null; // the prior's
  private prior: Detail | null = null;
  private readonly panes = h("div", { class: "panes" });
  private readonly tools = h("div", { class: "tools", role: "toolbar", "aria-label": "Tools of the radiograph" });
  private readonly head = h("header", { class: "view-head" });
  private readonly legend = h("p", { class: "heat-legend", role: "status", hidden: true });
  private readonly panel = h("aside", { class: "panel", "aria-label": "Findings and scores", tabindex: 0 });
  private readonly body = { verdict: h("div", {}), findings: h("div", {}), said: h("div", {}), history: h("ol", { class: "plain" }) };
  private readonly comment: HTMLElement;
  private readonly draw: DrawForm;
  private detail: Detail | null = null;
  private feedback: Feedback[] = [];
  private pipeline = "";
  private threshold: Threshold | null = null;
  private readonly thresholds = new Map<string, number>();
  private layers: Layers = { boxes: true, outlines: true, lungs: false, heat: false, readers: true };
  private tool: Tool = "window";
  private chosen: string | null = null;
  private draft: Box | null = null;
  private loaded: number | null = null; // the shape of pixels with which it was shown
  private unseen: State | null = null; // as it was when there was no picture of it
  private readonly leaving = new AbortController();
  private readonly saying = new Set<string>(); // what is on its way
  private turn = 0; // the last reading wins
  private wanted = ""; // a pipeline that was asked for; shown once it has answered

  constructor(private readonly host: Host, readonly id: string) {
    this.pane = new Pane({ tool: () => this.tool, draft: (box, done) => this.drawn(box, done), chosen: (at) => this.chooseAt(at) }, () => this.pressed());
    this.comment = commentForm(id, (comment) => this.say("comment", null, { comment }));
    this.draw = new DrawForm((box) => this.drawn(box, false), (box, label, comment) => void this.saveBox(box, label, comment), () => this.stopDrawing());
    this.panes.append(this.pane.root);
    this.root.append(this.head, h("div", { class: "desk" }, this.tools, this.legend, this.panes), this.panel);
    fill(this.panel, h("p", { class: "quiet", role: "status" }, "Loading the findings …"));
    void this.refresh();
  }

  destroy(): void {
    this.leaving.abort();
    this.pane.destroy();
    this.other?.destroy();
  }

  private get gone(): boolean {
    return this.leaving.signal.aborted;
  }

  /** Read again; on a change of the image or at the beginning. */
  async refresh(): Promise<void> {
    const turn = ++this.turn;
    try {
      const detail = await api.image(this.id, this.leaving.signal), before = this.detail;
      if (this.gone || turn !== this.turn) return;
      this.detail = detail;
      this.feedback = detail.feedback;
      const answered = this.look(detail);
      if (!(this.pipeline in detail.results)) this.pipeline = detail.pipeline && detail.pipeline in detail.results ? detail.pipeline : (Object.keys(detail.results)[0] ?? "");
      // What a reader is at (a slider, a list that is open) is drawn anew only where it must be.
      if (!answered && before && standing(before) === standing(detail)) this.drawFeedback();
      else this.drawAll();
      if (this.loaded !== shapeOf(detail) || (this.unseen && this.unseen !== detail.state)) {
        [this.loaded, this.unseen] = [shapeOf(detail), null];
        void this.pane.load(detail).then((there) => this.ready(there, detail.state));
      }
      if (this.layers.heat && this.result) void this.readHeat(false);
    } catch (error) {
      if (this.gone || turn !== this.turn) return;
      if (this.detail) this.host.say((error as Error).message, "bad");
      else this.lost(error as Error);
    }
  }

  /** Whether the pipeline that was asked for has answered: its result is shown, or why there is none. */
  private look({ results, history }: Detail): boolean {
    const last = history.at(-1)?.what ?? "", ended = last.startsWith(`analysis by ${this.wanted} `) && !last.endsWith(" asked for");
    if (!this.wanted || !(this.wanted in results || ended)) return false;
    if (this.wanted in results) [this.pipeline, this.chosen] = [this.wanted, null];
    else this.host.say(sentence(last), "bad");
    this.wanted = "";
    return true;
  }

  /** Does what a key or tool stands for, or says why not; false where it stands for nothing here. */
  act(action: string): boolean {
    const tool = this.tools.querySelector<HTMLButtonElement>(`[data-action="${action}"]`);
    if (tool?.disabled) {
      this.host.say(tool.title);
      return true;
    }
    const acts: Record<string, () => void> = {
      window: () => this.use("window"), pan: () => this.use("pan"), zoom: () => this.use("zoom"),
      invert: () => this.invert(), reset: () => this.reset(),
      in: () => this.views.forEach((view) => view.magnify(1.25)), out: () => this.views.forEach((view) => view.magnify(0.8)),
      boxes: () => this.toggle("boxes"), outlines: () => this.toggle("outlines"), lungs: () => this.toggle("lungs"), heat: () => this.toggle("heat"), readers: () => this.toggle("readers"),
      beside: () => this.beside(), draw: () => this.startDrawing(null),
      accept: () => this.judge((finding) => void this.say("accept", finding)), reject: () => this.judge((finding) => void this.say("reject", finding)), redraw: () => this.judge((finding) => this.startDrawing(finding)),
      comment: () => document.getElementById("comment")?.focus(), retry: () => void this.retry(),
      less: () => this.threshold?.set(this.threshold.current - 0.01), more: () => this.threshold?.set(this.threshold.current + 0.01),
      next: () => this.chooseNext(),
      escape: () => (this.draw.root.hidden ? this.host.close() : this.stopDrawing()),
    };
    acts[action]?.();
    return action in acts;
  }

  /** What a key says is said of the chosen finding, and of none that was not seen to be chosen. */
  private judge(act: (finding: Finding) => void): void {
    const finding = this.shown().find((one) => one.id === this.chosen);
    if (finding) return act(finding);
    this.chooseNext();
    this.host.say(this.chosen ? "No finding was chosen; the first one is now. Press the key again" : "There is no box above the threshold");
  }

  private get toolBeside(): Tool {
    return this.tool === "draw" ? "window" : this.tool;
  }

  private get views(): Viewport[] {
    return [this.pane.view, this.other?.view].filter((view) => view != null);
  }

  // --- What is there ------------------------------------------------------------------------

  private get result(): Result | null {
    return this.detail?.results[this.pipeline] ?? null;
  }

  private all(): Finding[] {
    return this.result?.images[0]?.findings ?? [];
  }

  private shown(): Finding[] {
    return this.above(this.all());
  }

  private above(findings: Finding[]): Finding[] {
    const from = this.threshold?.current ?? 0;
    return findings.filter((finding) => finding.score >= from - 1e-9);
  }

  // --- Drawing ------------------------------------------------------------------------------

  private drawAll(): void {
    this.drawHead();
    this.drawPanel();
    this.drawFeedback();
  }

  /** What changes with the words of readers. */
  private drawFeedback(): void {
    this.drawTools();
    this.drawFindings();
    this.drawMarks();
    fill(this.body.said, feedbackList(this.feedback, this.all()));
    fill(this.body.history, ...this.detail!.history.map((one) => h("li", {}, h("span", { class: "quiet" }, `${clock(one.at)} `), one.what)));
  }

  private drawHead(): void {
    const detail = this.detail!;
    const { shape, word } = stateOf(detail);
    const name = title(detail), known = detail.patient?.id;
    const facts = [known && known !== name ? `ID ${known}` : null, detail.modality, detail.view, dicomDate(detail.study_date), ...(detail.size ? [`${detail.size[1]} × ${detail.size[0]} px`, this.spacingWords(detail)] : []), detail.inverted ? "stored inverted (MONOCHROME1), shown air dark" : null];
    fill(this.head,
      button("Worklist", "back", () => this.host.close(), { class: "back" }),
      h("div", { class: "who" }, h("h2", { title: name }, name), h("p", { class: "quiet" }, facts.filter(Boolean).join(" · ")), ...detail.warnings.map((words) => h("p", { class: "warned", role: "alert" }, `⚠ ${sentence(words)}.`))),
      h("span", { class: `state ${detail.state}` }, h("span", { "aria-hidden": "true" }, shape), ` ${word}`));
  }

  private spacingWords(detail: Detail): string {
    if (!detail.spacing) return "pixel spacing unknown: sizes in px only";
    const [row, column] = detail.spacing.map((one) => one.toFixed(3));
    return row === column ? `${row} mm per px` : `${row} × ${column} mm per px`;
  }

  private drawTools(): void {
    const tool = (name: Tool, words: string, key: string, drawing: string, why = ""): HTMLElement => this.key(name, words, drawing, key, this.tool === name, why);
    const layer = (name: keyof Layers, words: string, key: string, drawing: string, there: boolean, why: string): HTMLElement => this.key(name, words, drawing, key, there && this.layers[name], there ? "" : why);
    const image = this.result?.images[0], masks = Object.keys(image?.outlines ?? {});
    fill(this.tools,
      h("div", { class: "set", role: "group", "aria-label": "Pointer" }, tool("window", "Window", "W", "window"), tool("pan", "Move", "P", "pan"), tool("zoom", "Zoom", "Z", "zoom"), tool("draw", "Draw", "D", "draw", this.result ? "" : "There is no result yet")),
      h("div", { class: "set", role: "group", "aria-label": "Picture" }, this.key("invert", "Invert", "invert", "I", this.pane.view?.inverted ?? false), button("Reset", "reset", () => this.act("reset"), { id: "tool-reset", title: "Reset (R)" })),
      h("div", { class: "set", role: "group", "aria-label": "Marks" },
        layer("boxes", "Boxes", "B", "box", true, ""),
        layer("outlines", "Outlines", "O", "outline", masks.some((one) => one !== "lungs"), "This pipeline outlined nothing here"),
        layer("lungs", "Lungs", "L", "lungs", masks.includes("lungs"), "This pipeline outlines no lungs"),
        layer("heat", "Heat map", "H", "heat", this.result !== null, "There is no result yet"),
        layer("readers", "Readers", "U", "draw", readerBoxes(this.feedback).length > 0, "No reader has drawn here")),
      h("div", { class: "set" }, this.key("beside", "Prior", "beside", "S", this.other !== null, this.detail?.prior ? "" : "No earlier image of this patient is held")));
  }

  private key(action: string, words: string, drawing: string, key: string, pressed: boolean, why = ""): HTMLElement {
    return button(words, drawing, () => this.act(action), { "data-action": action, id: `tool-${words.toLowerCase().replace(" ", "-")}`, "aria-pressed": String(pressed), title: why || `${words} (${key})`, disabled: why !== "" });
  }

  private drawPanel(): void {
    const detail = this.detail!;
    if (detail.state === "refused" || detail.state === "failed") return fill(this.panel, this.notAnalysed(detail), this.readers(), this.record(detail), this.notice());
    const result = this.result;
    if (!result) return fill(this.panel, detail.planned ? this.waiting() : this.kept(), detail.planned ? null : this.readers(), this.record(detail), this.notice());
    const points = pointsOf(this.host.status, this.pipeline, result);
    const from = this.thresholds.get(this.pipeline) ?? floorOf(result);
    this.threshold = new Threshold(ofBoxes(points), floorOf(result), from, (value) => {
      this.thresholds.set(this.pipeline, value);
      this.drawFindings();
      this.drawMarks();
    });
    fill(this.panel, this.chooser(detail), this.body.verdict, this.drawsBoxes ? this.threshold.root : null, this.body.findings, this.draw.root,
      h("section", {}, h("h2", {}, "Scores"), ...scoreBars(result, points, this.pipeline)),
      this.warnings(result), this.readers(),
      this.downloads(result), this.record(detail), this.notice());
  }

  private chooser(detail: Detail): HTMLElement {
    const pipelines = [...new Set([...Object.keys(detail.results), ...this.host.status.pipelines.map((one) => one.name)])];
    const options = pipelines.map((name) => h("option", { value: name, selected: name === (this.wanted || this.pipeline) }, `${name}${name in detail.results ? "" : " (analyse with it)"}`));
    const select = h("select", { id: "pipeline", onchange: () => void this.choosePipeline(select.value) }, ...options);
    const about = this.host.status.pipelines.find((one) => one.name === this.pipeline)?.about;
    return h("div", { class: "pipeline" }, h("div", { class: "row chooser" }, h("label", { for: "pipeline" }, "Pipeline"), select),
      this.wanted ? h("p", { class: "quiet", role: "status" }, `“${this.wanted}” is at work. Until it has answered, this is what “${this.pipeline}” says.`) : null,
      about ? h("p", { class: "quiet" }, about) : null);
  }

  private drawFindings(): void {
    const all = this.all(), shown = this.shown(), from = this.threshold?.current ?? 0;
    const outlined = this.outlined(shown), found = shown.length + outlined.length > 0;
    const none = !this.drawsBoxes ? (outlined.length ? "" : NOTHING) : outlined.length ? `No box at or above ${two(from)}` : `${NOTHING} (${two(from)})`;
    const boxes = shown.length ? `${many(shown.length, "target finding")} at or above ${two(from)}` : none;
    const words = [boxes, outlined.length ? `outlined: ${outlined.map(labelText).join(", ")}` : ""].filter(Boolean).join("; ");
    fill(this.body.verdict, h("p", { class: `statement ${found ? "found" : "none"}`, role: "status" }, h("span", { "aria-hidden": "true", class: "shape" }, found ? "◆" : "◇"), sentence(words)),
      h("p", { class: "quiet" }, shown.length ? hidden(all.length, shown.length) : ["This does not rule out disease.", hidden(all.length, 0)].filter(Boolean).join(" ")));
    const open = !all.length || all.some((one) => !verdictOn(this.feedback, one.id)), judged = this.feedback.some((one) => one.finding === null && one.verdict === "accept");
    const actions = { choose: (one: Finding) => this.choose(one.id), accept: (one: Finding) => void this.say("accept", one), reject: (one: Finding) => void this.say("reject", one), redraw: (one: Finding) => this.startDrawing(one) };
    fill(this.body.findings, h("section", {}, h("h2", {}, "Findings"),
      h("ol", { class: "findings" }, ...shown.map((one, at) => findingCard(one, at + 1, verdictOn(this.feedback, one.id), one.id === this.chosen, this.detail?.spacing ?? null, actions))),
      open && !judged ? button(found ? "Accept all of it" : "Agree: nothing to mark", "accept", () => void this.say("accept", null), { id: "accept-all", class: "small" }) : null,
      open && !judged && all.length > 1 ? button("Reject all of it", "reject", () => void this.say("reject", null), { id: "reject-all", class: "small" }) : null,
      button("Draw a finding that was missed", "draw", () => this.startDrawing(null), { id: "draw-missed", class: "small" })));
  }

  /** False of pipelines that outline or score only: they have no threshold of boxes. */
  private get drawsBoxes(): boolean {
    return this.host.status.pipelines.find((one) => one.name === this.pipeline)?.outputs.includes("boxes") ?? true;
  }

  /** Findings with an outline and no box, such as a segmenter's: what is outlined was found. */
  private outlined(shown: Finding[]): string[] {
    const outlines = this.result?.images[0]?.outlines ?? {};
    return Object.keys(outlines).filter((name) => !ANATOMY.has(name) && outlines[name] && !shown.some((one) => one.label === name));
  }

  private readers(): HTMLElement {
    return h("section", {}, h("h2", {}, "Readers"), this.body.said, this.comment);
  }

  private drawMarks(): void {
    this.pane.show(this.detail && marksOf(this.detail, this.result, this.shown(), { feedback: this.feedback, chosen: this.chosen, draft: this.draft }), this.layers);
    if (!this.prior) return;
    const [by, result] = this.resultOf(this.prior), found = result?.images[0]?.findings ?? [];
    const shown = by === this.pipeline ? this.above(found) : found; // another pipeline's scores mean other things
    this.other?.show(marksOf(this.prior, result, shown, { feedback: this.prior.feedback, chosen: null, draft: null }), this.layers);
  }

  /** By the pipeline that is shown, else by any. */
  private resultOf(detail: Detail): [string, Result | null] {
    const by = this.pipeline in detail.results ? this.pipeline : (Object.keys(detail.results)[0] ?? "");
    return [by, detail.results[by] ?? null];
  }

  private warnings(result: Result): HTMLElement | null {
    const image = result.images[0], words = [...notWritten(image?.warnings ?? []), ...Object.entries(image?.declined ?? {}).map(([name, why]) => `${name} was not asked: ${why}`)];
    return words.length ? h("section", { class: "warnings" }, h("h2", {}, "Warnings"), h("ul", {}, ...words.map((one) => h("li", {}, `⚠ ${sentence(one)}`)))) : null;
  }

  private downloads(result: Result): HTMLElement {
    const written = Object.keys(result.images[0]?.files ?? {});
    const link = ([kind, words]: [string, string]): HTMLElement =>
      kind === "json" || kind === "png" || written.includes(kind)
        ? h("a", { href: api.file(this.id, kind, this.pipeline), download: "", class: "button small", id: `download-${kind}`, onclick: (event: Event) => { event.preventDefault(); void this.download(kind); } }, words)
        : h("span", { class: "quiet" }, `no ${words}`);
    return h("section", {}, h("h2", {}, "Download"), h("div", { class: "downloads" }, ...FILES.map(link)));
  }

  /** By the page, not by the link: a service that asks to wait is asked again, a refusal is told. */
  private async download(kind: string): Promise<void> {
    try {
      save(await api.download(this.id, kind, this.pipeline));
    } catch (error) {
      this.host.say(`It was not downloaded. ${sentence((error as Error).message)}`, "bad");
    }
  }

  private record(detail: Detail): HTMLElement {
    const priority = h("select", { id: "priority", onchange: () => void this.ask(api.priority(this.id, priority.value as Detail["priority"]), "Priority changed") }, ...Object.entries(PRIORITIES).map(([name, { word }]) => h("option", { value: name, selected: name === detail.priority }, word)));
    const deliveries = detail.deliveries.map((one) => h("li", {}, `${one.object} to ${one.destination}: ${one.state}${one.reason ? `, ${one.reason}` : ""} `, one.state === "dead" ? button("Send again", "reset", () => void this.ask(api.retryDelivery(one.id), "It is sent again"), { class: "small" }) : null));
    return h("section", {}, h("h2", {}, "Record"), h("div", { class: "row" }, h("label", { for: "priority" }, "Priority"), priority),
      deliveries.length ? h("ul", { class: "plain" }, ...deliveries) : null,
      h("details", {}, h("summary", {}, "History"), this.body.history));
  }

  private notAnalysed(detail: Detail): HTMLElement {
    const [code, words] = reasonParts(detail.reason), refused = detail.state === "refused";
    const { shape } = stateOf(detail);
    return h("section", { class: `not-analysed ${detail.state}` },
      h("p", { class: "statement", role: "status" }, h("span", { "aria-hidden": "true", class: "shape" }, shape), refused ? "Refused: this image was not analysed" : "Failed: this image was not analysed"),
      h("p", {}, words), code ? h("p", { class: "quiet" }, `Reason: ${code}`) : null,
      h("p", {}, h("b", {}, "What to do. "), ADVICE[code] ?? (refused ? "Check the file at its source and send it again." : "Try again; if it fails again, tell an administrator.")),
      h("p", { class: "quiet" }, "Nothing is said about disease: an image that was not analysed may show any."),
      SETTLED.has(code) ? null : button("Try again (T)", "reset", () => this.act("retry"), { id: "retry", class: "primary" }));
  }

  private waiting(): HTMLElement {
    return h("section", { class: "waiting" }, h("p", { class: "statement", role: "status" }, h("span", { class: "spin", "aria-hidden": "true" }), this.detail?.state === "received" ? "Received; to be checked" : "Checked; to be analysed"), h("p", { class: "quiet" }, "This page shows the result as soon as it is there."));
  }

  private kept(): HTMLElement {
    const ask = ({ name }: { name: string }): HTMLElement => button(`Analyse with ${name}`, null, () => void this.ask(api.analyse(this.id, name), `Asked ${name}; its result comes here`));
    return h("section", {}, h("p", { class: "statement none", role: "status" }, h("span", { "aria-hidden": "true", class: "shape" }, "□"), "Kept, not analysed"),
      h("p", { class: "quiet" }, "No rule has it analysed: it is there to be looked at. Nothing is said about disease."), h("div", { class: "actions" }, ...this.host.status.pipelines.map(ask)));
  }

  private notice(): HTMLElement {
    return h("p", { class: "notice-end" }, NOTICE);
  }

  private lost(error: Error): void {
    fill(this.panel, h("section", { class: "not-analysed failed" }, h("p", { class: "statement", role: "status" }, "This image cannot be opened"), h("p", {}, `${sentence(error.message)}.`), button("Try again", "reset", () => void this.refresh(), { class: "primary" }), button("Back to the worklist", "back", () => this.host.close())));
  }

  // --- What a reader does -------------------------------------------------------------------

  private use(tool: Tool): void {
    if (tool !== "draw" && !this.draw.root.hidden) this.stopDrawing();
    this.tool = tool;
    this.pane.stage.dataset.tool = tool;
    if (this.other) this.other.stage.dataset.tool = this.toolBeside;
    this.drawTools();
  }

  private invert(): void {
    const inverted = !this.pane.view?.inverted;
    for (const view of this.views) view.inverted = inverted;
    this.drawTools();
  }

  private reset(): void {
    for (const view of this.views) view.reset();
  }

  private toggle(layer: keyof Layers): void {
    this.layers = { ...this.layers, [layer]: !this.layers[layer] };
    this.legend.hidden = !this.layers.heat;
    this.drawTools();
    this.drawMarks();
    if (layer === "heat" && this.layers.heat) void this.readHeat();
  }

  /** Shows the heat map of the pipeline; asks for one that is not there, which takes some seconds. */
  private async readHeat(ask = true): Promise<void> {
    const pipeline = this.pipeline;
    try {
      const heat = await api.heatmap(this.id, pipeline, this.leaving.signal);
      if (this.gone || pipeline !== this.pipeline) return;
      this.pane.marks.setHeat(heat);
      if (heat) return fill(this.legend, ...heatLegend(heat));
      fill(this.legend, h("span", { class: "spin", "aria-hidden": "true" }), "The heat map is being made: parts of the image are hidden, one after the other. It comes here.");
      if (!ask) return;
      await api.askHeatmap(this.id, pipeline);
      await this.readHeat(false);
    } catch (error) {
      if (this.gone) return;
      this.pane.marks.setHeat(null);
      this.noHeat((error as Error).message);
    }
  }

  private noHeat(why: string): void {
    this.layers = { ...this.layers, heat: false };
    this.legend.hidden = true;
    this.drawTools();
    this.host.say(sentence(why), "bad");
  }

  private choose(id: string | null): void {
    this.chosen = this.chosen === id ? null : id;
    this.drawFindings();
    this.drawMarks();
    this.panel.querySelector(".finding.chosen")?.scrollIntoView({ block: "nearest" });
  }

  private chooseNext(): void {
    const shown = this.shown();
    if (shown.length) this.choose(shown[(shown.findIndex((one) => one.id === this.chosen) + 1) % shown.length]!.id);
  }

  private chooseAt([x, y]: Point2): void {
    const inside = this.shown().filter(({ box_px: [x1, y1, x2, y2] }) => x >= x1 && x <= x2 && y >= y1 && y <= y2);
    const smallest = inside.sort((a, b) => area(a.box_px) - area(b.box_px))[0];
    if (smallest) this.choose(smallest.id);
  }

  private async choosePipeline(name: string): Promise<void> {
    if (this.detail && !(name in this.detail.results)) {
      this.wanted = name;
      if (!(await this.ask(api.analyse(this.id, name), `Asked ${name}; its result comes here`))) this.wanted = "";
      return this.drawAll();
    }
    [this.pipeline, this.wanted] = [name, ""];
    this.chosen = null;
    this.drawAll();
    if (this.layers.heat) void this.readHeat();
  }

  private startDrawing(finding: Finding | null): void {
    if (!this.result) return;
    this.draft = null;
    this.draw.open(finding);
    this.use("draw");
    this.drawMarks();
    // On a telephone one of both is seen: first where it is drawn, then what it is.
    (NARROW.matches ? this.pane.root : this.draw.root).scrollIntoView({ block: "nearest" });
    this.host.say(finding ? "Drag the new box on the radiograph" : "Drag a box on the radiograph");
  }

  private stopDrawing(): void {
    this.draft = null;
    this.draw.close();
    this.use("window");
    this.drawMarks();
  }

  private drawn(box: Box | null, done: boolean): void {
    if (this.draw.root.hidden) return;
    if (box || !done) this.draft = box;
    if (document.activeElement?.getAttribute("data-edge") == null) this.draw.set(this.draft);
    if (done && box && NARROW.matches) this.draw.root.scrollIntoView({ block: "nearest" });
    this.drawMarks();
  }

  private async saveBox(box: Box, label: string, comment: string): Promise<void> {
    if (await this.say(this.draw.finding ? "redraw" : "add", this.draw.finding, { boxes: [box], label, comment: comment || null })) this.stopDrawing();
  }

  private async say(verdict: Verdict, finding: Finding | null, more: Partial<Feedback> = {}): Promise<boolean> {
    const what = `${verdict} ${finding?.id}`;
    if (this.saying.has(what)) {
      this.host.say("It waits to be saved already");
      return false;
    }
    this.saying.add(what);
    try {
      const empty = { boxes: null, label: finding?.label ?? null, comment: null };
      await api.say(this.id, { ...empty, verdict, pipeline: this.pipeline || null, finding: finding?.id ?? null, ...more });
      this.host.say(`${sayVerdict(verdict)}${finding ? `: ${labelText(finding.label)} ${two(finding.score)}` : ""}. Saved with your name and the time.`, "good");
      await this.refresh();
      this.host.changed();
      return true;
    } catch (error) {
      this.host.say(`It was not saved. ${(error as Error).message}`, "bad");
      return false;
    } finally {
      this.saying.delete(what);
    }
  }

  private async ask(asked: Promise<unknown>, done: string): Promise<boolean> {
    try {
      await asked;
    } catch (error) {
      this.host.say((error as Error).message, "bad");
      return false;
    }
    this.host.say(done, "good");
    this.host.changed();
    await this.refresh();
    return true;
  }

  /** Analyse again what was not; its result comes as that of a new image does. */
  private async retry(): Promise<void> {
    if (!document.getElementById("retry")) return this.host.say("There is nothing here that could be tried again");
    if (await this.ask(api.retry(this.id), "It is analysed again; its result comes here")) this.panel.focus();
  }

  private beside(): void {
    if (this.other) {
      this.other.destroy();
      this.other.root.remove();
      this.other = this.prior = null;
    } else if (this.detail?.prior) {
      this.other = new Pane({ tool: () => this.toolBeside, draft: () => undefined, chosen: () => undefined }, () => undefined);
      this.panes.append(this.other.root);
      this.other.stage.dataset.tool = this.toolBeside;
      void this.showPrior(this.other, this.detail.prior);
    }
    this.panes.classList.toggle("two", this.other !== null);
    this.pane.call(this.other ? `This image, ${dicomDate(this.detail?.study_date ?? null) ?? "date unknown"}` : "");
    this.drawTools();
  }

  private async showPrior(pane: Pane, id: string): Promise<void> {
    try {
      const prior = await api.image(id, this.leaving.signal), by = this.resultOf(prior)[0];
      pane.call(`Prior, ${dicomDate(prior.study_date) ?? "date unknown"}${by === this.pipeline ? "" : by ? `, marks by “${by}”` : ", not analysed"}`);
      await pane.load(prior);
      if (this.other !== pane) return;
      this.prior = prior;
      if (pane.view) pane.view.inverted = this.pane.view?.inverted ?? false;
      this.drawMarks();
    } catch (error) {
      if (this.gone) return;
      this.host.say(`The prior cannot be shown. ${(error as Error).message}`, "bad");
      if (this.other === pane) this.beside();
    }
  }

  private ready(there: boolean, state: State): void {
    if (!there) this.unseen = state;
    this.tools.hidden = !there && this.detail?.state !== "analysed";
    this.drawTools();
    this.drawMarks();
  }

  private pressed(): void {
    const invert = document.getElementById("tool-invert");
    invert?.setAttribute("aria-pressed", String(this.pane.view?.inverted ?? false));
  }
}

/** Warnings, those of files that were not written for one reason as one. */
function notWritten(warnings: string[]): string[] {
  const missing = new Map<string, string[]>(), others: string[] = [];
  for (const warning of warnings) {
    const [, kind, why] = /^not-written: (\w+): (.*)$/s.exec(warning) ?? [];
    if (kind && why) missing.set(why, [...(missing.get(why) ?? []), FILES.find(([name]) => name === kind)?.[1] ?? kind]);
    else others.push(warning);
  }
  return [...others, ...[...missing].map(([why, kinds]) => `Not written: ${kinds.join(", ")}. ${why}`)];
}

function marksOf(detail: Detail, result: Result | null, findings: Finding[], own: { feedback: Feedback[]; chosen: string | null; draft: Box | null }): Content | null {
  if (!detail.size) return null;
  const { feedback, chosen, draft } = own, [height, width] = detail.size;
  const rejected = new Set(findings.map((one) => one.id).filter((id) => verdictOn(feedback, id)?.verdict === "reject"));
  return { findings, rejected, chosen, outlines: result?.images[0]?.outlines ?? {}, readers: readerBoxes(feedback), draft, size: [width, height] };
}

/** All of an image but what was said and has happened. */
const standing = (detail: Detail): string => JSON.stringify({ ...detail, feedback: [], history: [] });

/** Height of a pixel in its widths; the spacing is known once the image was analysed. */
const shapeOf = ({ spacing }: Detail): number => (spacing ? spacing[0] / spacing[1] : 1);
const area = ([x1, y1, x2, y2]: Box): number => (x2 - x1) * (y2 - y1);
