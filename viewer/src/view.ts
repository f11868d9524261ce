// One image: the radiograph with its marks, the tools, and the panels beside it.
import { api, type Box, type Detail, type Feedback, type Finding, type Problem, type Result, type Status, type Verdict } from "./api";
import { button, fill, h } from "./dom";
import { DrawForm, commentForm, feedbackList, findingCard, readerBoxes, sayVerdict, verdictOn } from "./feedback";
import type { Tool } from "./gestures";
import type { Layers } from "./marks";
import { heatLegend } from "./heat";
import { Pane } from "./pane";
import { scoreBars } from "./scores";
import { Threshold, floorOf, hidden, ofBoxes, pointsOf } from "./threshold";
import { ADVICE, ANATOMY, NOTHING, NOTICE, PRIORITIES, STATES, clock, dicomDate, labelText, many, reasonParts, sentence, title, two } from "./words";
import type { Point2 } from "./viewport";

const FILES: [string, string][] = [["json", "JSON"], ["png", "PNG"], ["sr", "DICOM SR"], ["seg", "DICOM SEG"], ["gsps", "GSPS"], ["sc", "Secondary capture"]];
const FEEDBACK_EVERY_MS = 8000;

export interface Host {
  status: Status;
  say: (words: string, kind?: "good" | "bad") => void;
  close: () => void;
  changed: () => void; // the list should be read again
}

export class View {
  readonly root = h("section", { class: "view", "aria-label": "Radiograph" });
  private readonly pane: Pane;
  private other: Pane | null = null;
  private readonly panes = h("div", { class: "panes" });
  private readonly tools = h("div", { class: "tools", role: "toolbar", "aria-label": "Tools of the radiograph" });
  private readonly head = h("header", { class: "view-head" });
  private readonly legend = h("p", { class: "heat-legend", role: "status", hidden: true });
  private readonly panel = h("aside", { class: "panel", "aria-label": "Findings and scores", tabindex: 0 });
  private readonly body = { verdict: h("div", {}), findings: h("div", {}), said: h("div", {}) };
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
  private gone = false;
  private readonly timer: number;

  constructor(private readonly host: Host, readonly id: string) {
    this.pane = new Pane({ tool: () => this.tool, draft: (box, done) => this.drawn(box, done), chosen: (at) => this.chooseAt(at) }, () => this.pressed());
    this.draw = new DrawForm((box) => this.drawn(box, false), (box, label, comment) => void this.saveBox(box, label, comment), () => this.stopDrawing());
    this.panes.append(this.pane.root);
    this.root.append(this.head, h("div", { class: "desk" }, this.tools, this.legend, this.panes), this.panel);
    fill(this.panel, h("p", { class: "quiet", role: "status" }, "Loading the findings …"));
    this.timer = window.setInterval(() => void this.readFeedback(), FEEDBACK_EVERY_MS);
    void this.refresh();
  }

  destroy(): void {
    this.gone = true;
    window.clearInterval(this.timer);
    this.pane.destroy();
    this.other?.destroy();
  }

  /** Read again; on a change of state or at the beginning. */
  async refresh(): Promise<void> {
    try {
      const detail = await api.image(this.id);
      if (this.gone) return;
      this.detail = detail;
      this.feedback = detail.feedback;
      if (!(this.pipeline in detail.results)) this.pipeline = detail.pipeline && detail.pipeline in detail.results ? detail.pipeline : (Object.keys(detail.results)[0] ?? "");
      this.drawAll();
      if (detail.state !== "received" && this.loaded !== shapeOf(detail)) {
        this.loaded = shapeOf(detail);
        void this.pane.load(detail).then((there) => this.ready(there));
      }
      if (this.loaded === null) fill(this.panel, this.waiting());
      if (this.layers.heat && this.result) void this.readHeat(false);
    } catch (error) {
      if (!this.gone) this.lost(error as Error);
    }
  }

  /** Does what a key stands for; false where it stands for nothing here. */
  act(action: string): boolean {
    const finding = this.shown().find((one) => one.id === this.chosen) ?? this.shown()[0];
    const acts: Record<string, () => void> = {
      window: () => this.use("window"), pan: () => this.use("pan"), zoom: () => this.use("zoom"),
      invert: () => this.invert(), reset: () => this.pane.view?.reset(),
      in: () => this.pane.view?.magnify(1.25), out: () => this.pane.view?.magnify(0.8),
      boxes: () => this.toggle("boxes"), outlines: () => this.toggle("outlines"), lungs: () => this.toggle("lungs"), heat: () => this.toggle("heat"), readers: () => this.toggle("readers"),
      beside: () => void this.beside(), draw: () => this.startDrawing(null),
      accept: () => finding && void this.say("accept", finding), reject: () => finding && void this.say("reject", finding), redraw: () => finding && this.startDrawing(finding),
      comment: () => document.getElementById("comment")?.focus(),
      less: () => this.threshold?.set(this.threshold.current - 0.01), more: () => this.threshold?.set(this.threshold.current + 0.01),
      next: () => this.chooseNext(),
      escape: () => (this.draw.root.hidden ? this.host.close() : this.stopDrawing()),
    };
    acts[action]?.();
    return action in acts;
  }

  // --- What is there ------------------------------------------------------------------------

  private get result(): Result | null {
    return this.detail?.results[this.pipeline] ?? null;
  }

  private all(): Finding[] {
    return this.result?.images[0]?.findings ?? [];
  }

  private shown(): Finding[] {
    const from = this.threshold?.current ?? 0;
    return this.all().filter((finding) => finding.score >= from - 1e-9);
  }

  // --- Drawing ------------------------------------------------------------------------------

  private drawAll(): void {
    this.drawHead();
    this.drawTools();
    this.drawPanel();
    this.drawMarks();
  }

  private drawHead(): void {
    const detail = this.detail!;
    const { shape, word } = STATES[detail.state];
    const facts = [detail.modality, detail.view, dicomDate(detail.study_date), ...(detail.size ? [`${detail.size[1]} × ${detail.size[0]} px`, this.spacingWords(detail)] : []), detail.inverted ? "stored inverted (MONOCHROME1), shown air dark" : null];
    fill(this.head,
      button("Worklist", "back", () => this.host.close(), { class: "back" }),
      h("div", { class: "who" }, h("h2", {}, title(detail)), h("p", { class: "quiet" }, facts.filter(Boolean).join(" · "))),
      h("span", { class: `state ${detail.state}` }, h("span", { "aria-hidden": "true" }, shape), ` ${word}`));
  }

  private spacingWords(detail: Detail): string {
    if (!detail.spacing) return "pixel spacing unknown: sizes in px only";
    const [row, column] = detail.spacing.map((one) => one.toFixed(3));
    return row === column ? `${row} mm per px` : `${row} × ${column} mm per px`;
  }

  private drawTools(): void {
    const tool = (name: Tool, words: string, key: string, drawing: string): HTMLElement => this.key(words, drawing, key, () => (name === "draw" ? this.act("draw") : this.use(name)), this.tool === name);
    const layer = (name: keyof Layers, words: string, key: string, drawing: string, there: boolean, why: string): HTMLElement => this.key(words, drawing, key, () => this.toggle(name), there && this.layers[name], there ? "" : why);
    const image = this.result?.images[0], masks = Object.keys(image?.outlines ?? {});
    fill(this.tools,
      h("div", { class: "set", role: "group", "aria-label": "Pointer" }, tool("window", "Window", "W", "window"), tool("pan", "Move", "P", "pan"), tool("zoom", "Zoom", "Z", "zoom"), tool("draw", "Draw", "D", "draw")),
      h("div", { class: "set", role: "group", "aria-label": "Picture" }, this.key("Invert", "invert", "I", () => this.invert(), this.pane.view?.inverted ?? false), button("Reset", "reset", () => this.act("reset"), { id: "tool-reset", title: "Reset (R)" })),
      h("div", { class: "set", role: "group", "aria-label": "Marks" },
        layer("boxes", "Boxes", "B", "box", true, ""),
        layer("outlines", "Outlines", "O", "outline", masks.some((one) => one !== "lungs"), "This pipeline outlined nothing here"),
        layer("lungs", "Lungs", "L", "lungs", masks.includes("lungs"), "This pipeline outlines no lungs"),
        layer("heat", "Heat map", "H", "heat", this.result !== null, "There is no result yet"),
        layer("readers", "Readers", "U", "draw", readerBoxes(this.feedback).length > 0, "No reader has drawn here")),
      h("div", { class: "set" }, this.key("Prior", "beside", "S", () => void this.beside(), this.other !== null, this.detail?.prior ? "" : "No earlier image of this patient is held")));
  }

  private key(words: string, drawing: string, key: string, go: () => void, pressed: boolean, why = ""): HTMLElement {
    return button(words, drawing, go, { id: `tool-${words.toLowerCase().replace(" ", "-")}`, "aria-pressed": String(pressed), title: why || `${words} (${key})`, disabled: why !== "" });
  }

  private drawPanel(): void {
    const detail = this.detail!;
    if (detail.state === "refused" || detail.state === "failed") return fill(this.panel, this.notAnalysed(detail), this.record(detail), this.notice());
    const result = this.result;
    if (!result) return fill(this.panel, this.waiting(), this.record(detail), this.notice());
    const points = pointsOf(this.host.status, this.pipeline, result);
    const from = this.thresholds.get(this.pipeline) ?? floorOf(result);
    this.threshold = new Threshold(ofBoxes(points), floorOf(result), from, (value) => {
      this.thresholds.set(this.pipeline, value);
      this.drawFindings();
      this.drawMarks();
    });
    this.drawFindings();
    this.drawSaid();
    fill(this.panel, this.chooser(detail), this.body.verdict, this.threshold.root, this.body.findings, this.draw.root,
      h("section", {}, h("h2", {}, "Scores"), ...scoreBars(result, points, this.pipeline)),
      this.warnings(result), h("section", {}, h("h2", {}, "Readers"), this.body.said, commentForm((comment) => this.say("comment", null, { comment }))),
      this.downloads(result), this.record(detail), this.notice());
  }

  private chooser(detail: Detail): HTMLElement {
    const pipelines = [...new Set([...Object.keys(detail.results), ...this.host.status.pipelines.map((one) => one.name)])];
    const options = pipelines.map((name) => h("option", { value: name, selected: name === this.pipeline }, `${name}${name in detail.results ? "" : " (analyse with it)"}`));
    const select = h("select", { id: "pipeline", onchange: () => void this.choosePipeline(select.value) }, ...options);
    const about = this.host.status.pipelines.find((one) => one.name === this.pipeline)?.about;
    return h("div", {}, h("div", { class: "row chooser" }, h("label", { for: "pipeline" }, "Pipeline"), select), about ? h("p", { class: "quiet" }, about) : null);
  }

  private drawFindings(): void {
    const all = this.all(), shown = this.shown(), from = this.threshold?.current ?? 0;
    const outlined = this.outlined(shown), found = shown.length + outlined.length > 0;
    const boxes = shown.length ? `${many(shown.length, "target finding")} at or above ${two(from)}` : outlined.length ? `No box at or above ${two(from)}` : `${NOTHING} (${two(from)})`;
    const words = [boxes, outlined.length ? `outlined: ${outlined.map(labelText).join(", ")}` : ""].filter(Boolean).join("; ");
    fill(this.body.verdict, h("p", { class: `statement ${found ? "found" : "none"}`, role: "status" }, h("span", { "aria-hidden": "true", class: "shape" }, found ? "◆" : "◇"), words),
      h("p", { class: "quiet" }, shown.length ? hidden(all.length, shown.length) : ["This does not rule out disease.", hidden(all.length, 0)].filter(Boolean).join(" ")));
    const open = !all.length || all.some((one) => !verdictOn(this.feedback, one.id)), judged = this.feedback.some((one) => one.finding === null && one.verdict === "accept");
    const actions = { choose: (one: Finding) => this.choose(one.id), accept: (one: Finding) => void this.say("accept", one), reject: (one: Finding) => void this.say("reject", one), redraw: (one: Finding) => this.startDrawing(one) };
    fill(this.body.findings, h("section", {}, h("h2", {}, "Findings"),
      h("ol", { class: "findings" }, ...shown.map((one, at) => findingCard(one, at + 1, verdictOn(this.feedback, one.id), one.id === this.chosen, this.detail?.spacing ?? null, actions))),
      open && !judged ? button(all.length ? "Accept all of it" : "Agree: nothing to mark", "accept", () => void this.say("accept", null), { id: "accept-all", class: "small" }) : null,
      button("Draw a finding that was missed", "draw", () => this.startDrawing(null), { id: "draw-missed", class: "small" })));
  }

  /** Findings with an outline and no box, such as a segmenter's: what is outlined was found. */
  private outlined(shown: Finding[]): string[] {
    const outlines = this.result?.images[0]?.outlines ?? {};
    return Object.keys(outlines).filter((name) => !ANATOMY.has(name) && outlines[name] && !shown.some((one) => one.label === name));
  }

  private drawSaid(): void {
    fill(this.body.said, feedbackList(this.feedback, this.all()));
  }

  private drawMarks(): void {
    const image = this.result?.images[0], size = this.detail?.size;
    const readers = readerBoxes(this.feedback);
    if (!size) return this.pane.show(null, this.layers);
    const rejected = new Set(this.all().map((one) => one.id).filter((id) => verdictOn(this.feedback, id)?.verdict === "reject"));
    this.pane.show({ findings: this.shown(), rejected, chosen: this.chosen, outlines: image?.outlines ?? {}, readers, draft: this.draft, size: [size[1], size[0]] }, this.layers);
  }

  private warnings(result: Result): HTMLElement | null {
    const image = result.images[0], words = [...notWritten(image?.warnings ?? []), ...Object.entries(image?.declined ?? {}).map(([name, why]) => `${name} was not asked: ${why}`)];
    return words.length ? h("section", { class: "warnings" }, h("h2", {}, "Warnings"), h("ul", {}, ...words.map((one) => h("li", {}, `⚠ ${sentence(one)}`)))) : null;
  }

  private downloads(result: Result): HTMLElement {
    const written = Object.keys(result.images[0]?.files ?? {});
    const link = ([kind, words]: [string, string]): HTMLElement =>
      kind === "json" || kind === "png" || written.length === 0 || written.some((one) => one === kind)
        ? h("a", { href: api.file(this.id, kind, this.pipeline), download: "", class: "button small" }, words)
        : h("span", { class: "quiet" }, `no ${words}`);
    return h("section", {}, h("h2", {}, "Download"), h("div", { class: "downloads" }, ...FILES.map(link)));
  }

  private record(detail: Detail): HTMLElement {
    const priority = h("select", { id: "priority", onchange: () => void this.ask(api.priority(this.id, priority.value as Detail["priority"]), "Priority changed") }, ...Object.entries(PRIORITIES).map(([name, { word }]) => h("option", { value: name, selected: name === detail.priority }, word)));
    const deliveries = detail.deliveries.map((one) => h("li", {}, `${one.object} to ${one.destination}: ${one.state}${one.reason ? `, ${one.reason}` : ""} `, one.state === "dead" ? button("Send again", "reset", () => void this.ask(api.retryDelivery(one.id), "It is sent again"), { class: "small" }) : null));
    return h("section", {}, h("h2", {}, "Record"), h("div", { class: "row" }, h("label", { for: "priority" }, "Priority"), priority),
      deliveries.length ? h("ul", { class: "plain" }, ...deliveries) : null,
      h("details", {}, h("summary", {}, "History"), h("ol", { class: "plain" }, ...detail.history.map((one) => h("li", {}, h("span", { class: "quiet" }, `${clock(one.at)} `), one.what)))));
  }

  private notAnalysed(detail: Detail): HTMLElement {
    const [code, words] = reasonParts(detail.reason), refused = detail.state === "refused";
    const { shape } = STATES[detail.state];
    return h("section", { class: `not-analysed ${detail.state}` },
      h("p", { class: "statement", role: "status" }, h("span", { "aria-hidden": "true", class: "shape" }, shape), refused ? "Refused: this image was not analysed" : "Failed: this image was not analysed"),
      h("p", {}, words), code ? h("p", { class: "quiet" }, `Reason: ${code}`) : null,
      h("p", {}, h("b", {}, "What to do. "), ADVICE[code] ?? (refused ? "Check the file at its source and send it again." : "Try again; if it fails again, tell an administrator.")),
      h("p", { class: "quiet" }, "Nothing is said about disease: an image that was not analysed may show any."),
      button("Try again", "reset", () => void this.ask(api.retry(this.id), "It is analysed again"), { class: "primary" }));
  }

  private waiting(): HTMLElement {
    return h("section", { class: "waiting" }, h("p", { class: "statement", role: "status" }, h("span", { class: "spin", "aria-hidden": "true" }), this.detail?.state === "received" ? "Received; waiting to be analysed" : "Being analysed"), h("p", { class: "quiet" }, "This page shows the result as soon as it is there."));
  }

  private notice(): HTMLElement {
    return h("p", { class: "notice-end" }, NOTICE);
  }

  private lost(error: Error): void {
    fill(this.panel, h("section", { class: "not-analysed failed" }, h("p", { class: "statement", role: "status" }, "This image cannot be opened"), h("p", {}, error.message), button("Try again", "reset", () => void this.refresh(), { class: "primary" }), button("Back to the worklist", "back", () => this.host.close())));
  }

  // --- What a reader does -------------------------------------------------------------------

  private use(tool: Tool): void {
    if (tool !== "draw" && !this.draw.root.hidden) this.stopDrawing();
    this.tool = tool;
    this.pane.stage.dataset.tool = tool;
    this.drawTools();
  }

  private invert(): void {
    for (const pane of [this.pane, this.other]) if (pane?.view) pane.view.inverted = !pane.view.inverted;
    this.drawTools();
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
      const heat = await api.heatmap(this.id, pipeline);
      if (this.gone || pipeline !== this.pipeline) return;
      this.pane.marks.setHeat(heat);
      fill(this.legend, ...heatLegend(heat));
    } catch (error) {
      const { status, message } = error as Problem;
      this.pane.marks.setHeat(null);
      fill(this.legend, h("span", { class: "spin", "aria-hidden": "true" }), "The heat map is being made: parts of the image are hidden, one after the other. It comes here.");
      if (status === 404 && !ask) return;
      if (status === 404) return api.askHeatmap(this.id, pipeline).then(() => this.readHeat(false), (failed: Error) => this.noHeat(failed.message));
      this.noHeat(message);
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
      await this.ask(api.analyse(this.id, name), `Asked ${name}; its result comes here`);
      return;
    }
    this.pipeline = name;
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
    this.draw.root.scrollIntoView({ block: "nearest" });
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
    this.drawMarks();
  }

  private async saveBox(box: Box, label: string, comment: string): Promise<void> {
    if (await this.say(this.draw.finding ? "redraw" : "add", this.draw.finding, { boxes: [box], label, comment: comment || null })) this.stopDrawing();
  }

  private async say(verdict: Verdict, finding: Finding | null, more: Partial<Feedback> = {}): Promise<boolean> {
    try {
      const empty = { boxes: null, label: finding?.label ?? null, comment: null };
      await api.say(this.id, { ...empty, verdict, pipeline: this.pipeline || null, finding: finding?.id ?? null, ...more });
      this.host.say(`${sayVerdict(verdict)}${finding ? `: ${labelText(finding.label)} ${two(finding.score)}` : ""}. Saved with your name and the time.`, "good");
      await this.readFeedback();
      this.host.changed();
      return true;
    } catch (error) {
      this.host.say(`It was not saved. ${(error as Error).message}`, "bad");
      return false;
    }
  }

  private async readFeedback(): Promise<void> {
    if (!this.detail || document.hidden) return;
    try {
      const feedback = await api.feedback(this.id);
      if (this.gone || JSON.stringify(feedback) === JSON.stringify(this.feedback)) return;
      this.feedback = feedback;
      this.drawTools();
      this.drawFindings();
      this.drawSaid();
      this.drawMarks();
    } catch { /* the line at the top says that the service is away; the next round tries again */ }
  }

  private async ask(asked: Promise<unknown>, done: string): Promise<void> {
    try {
      await asked;
      this.host.say(done, "good");
      this.host.changed();
      await this.refresh();
    } catch (error) {
      this.host.say((error as Error).message, "bad");
    }
  }

  private async beside(): Promise<void> {
    if (this.other) {
      this.other.destroy();
      this.other.root.remove();
      this.other = null;
    } else if (this.detail?.prior) {
      this.other = new Pane({ tool: () => (this.tool === "draw" ? "window" : this.tool), draft: () => undefined, chosen: () => undefined }, () => undefined);
      this.panes.append(this.other.root);
      void this.showPrior(this.other, this.detail.prior);
    }
    this.panes.classList.toggle("two", this.other !== null);
    this.drawTools();
  }

  private async showPrior(pane: Pane, id: string): Promise<void> {
    try {
      const prior = await api.image(id);
      const result = prior.results[this.pipeline] ?? Object.values(prior.results)[0], image = result?.images[0];
      await pane.load(prior, `Prior, ${dicomDate(prior.study_date) ?? "date unknown"}`);
      if (prior.size) pane.show({ findings: image?.findings ?? [], rejected: new Set(), chosen: null, outlines: image?.outlines ?? {}, readers: readerBoxes(prior.feedback), draft: null, size: [prior.size[1], prior.size[0]] }, this.layers);
    } catch (error) {
      this.host.say(`The prior cannot be shown. ${(error as Error).message}`, "bad");
      void this.beside();
    }
  }

  private ready(there: boolean): void {
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

/** Height of a pixel in its widths; the spacing is known once the image was analysed. */
const shapeOf = ({ spacing }: Detail): number => (spacing ? spacing[0] / spacing[1] : 1);
const area = ([x1, y1, x2, y2]: Box): number => (x2 - x1) * (y2 - y1);
