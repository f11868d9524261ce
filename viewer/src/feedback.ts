// What readers say of findings: accept, reject, redraw, add, comment; with who and when.
import type { Box, Feedback, Finding } from "./api";
import { button, fill, h } from "./dom";
import { READER_COLOUR, clock, extent, labelColour, labelText, labels, place, sentence, two } from "./words";

const VERDICTS: Record<Feedback["verdict"], { shape: string; word: string }> = {
  accept: { shape: "✓", word: "accepted" }, reject: { shape: "✕", word: "rejected" },
  redraw: { shape: "▭", word: "redrawn" }, add: { shape: "+", word: "added" }, comment: { shape: "❝", word: "commented" },
};
const JUDGING = new Set(["accept", "reject", "redraw"]);

/** The last verdict on a finding, of it alone or of the whole image. */
export const verdictOn = (feedback: Feedback[], finding: string): Feedback | undefined =>
  feedback.filter((one) => JUDGING.has(one.verdict) && (one.finding === finding || one.finding === null)).at(-1);

/** Boxes that readers drew and nobody has judged anew since. */
export function readerBoxes(feedback: Feedback[]): { box: Box; by: string }[] {
  const anew = feedback.map((one) => one.finding === null && (one.verdict === "reject" || one.verdict === "redraw")).lastIndexOf(true);
  const standing = feedback.filter((one, at) => (one.finding ? one.verdict === "redraw" && verdictOn(feedback, one.finding) === one : at === anew || (one.verdict === "add" && at > anew)));
  return standing.flatMap((one) => (one.boxes ?? []).map((box) => ({ box, by: one.by })));
}

export interface FindingActions {
  choose: (finding: Finding) => void;
  accept: (finding: Finding) => void;
  reject: (finding: Finding) => void;
  redraw: (finding: Finding) => void;
}

export function findingCard(finding: Finding, number: number, verdict: Feedback | undefined, chosen: boolean, spacing: [number, number] | null, actions: FindingActions): HTMLElement {
  const swatch = h("i", { class: "swatch", "aria-hidden": "true" });
  swatch.style.borderColor = labelColour(finding.label);
  const name = `${labelText(finding.label)} ${number}`;
  const act = (words: string, drawing: string, go: (finding: Finding) => void, is: string): HTMLElement =>
    button(words, drawing, () => go(finding), { id: `${is}-${finding.id}`, class: "small", "aria-label": `${words} ${name}`, "aria-pressed": verdict ? String(verdict.verdict === is) : "false" });
  return h("li", { class: `finding${chosen ? " chosen" : ""}`, "data-finding": finding.id },
    h("button", { type: "button", id: `choose-${finding.id}`, class: "choose", "aria-pressed": String(chosen), onclick: () => actions.choose(finding) },
      swatch, h("span", { class: "what" }, labelText(finding.label)), h("b", {}, two(finding.score)),
      ...[place(finding.box_px), ...extent(finding.box_px, spacing)].map((words) => h("span", { class: "where" }, words))),
    verdict ? h("p", { class: "verdict" }, `${VERDICTS[verdict.verdict].shape} ${VERDICTS[verdict.verdict].word} by ${verdict.by}, ${clock(verdict.at)}`) : null,
    h("div", { class: "actions" }, act("Accept", "accept", actions.accept, "accept"), act("Reject", "reject", actions.reject, "reject"), act("Redraw", "draw", actions.redraw, "redraw")));
}

export function feedbackList(feedback: Feedback[], findings: Finding[]): HTMLElement {
  if (!feedback.length) return h("p", { class: "quiet" }, "Nobody has said anything of this image yet.");
  const number = new Map(findings.map((finding, at) => [finding.id, `${labelText(finding.label)} ${at + 1}`]));
  const entry = (one: Feedback): HTMLElement => {
    const missed = `a missed ${labelText(one.label ?? "opacity").toLowerCase()}`;
    const what = one.finding ? (number.get(one.finding) ?? "a finding of another result") : { add: missed, comment: "" }[one.verdict as string] ?? "the whole image";
    const { shape, word } = VERDICTS[one.verdict];
    return h("li", {},
      h("p", {}, h("span", { "aria-hidden": "true" }, `${shape} `), h("b", {}, one.by), ` ${one.verdict === "redraw" ? "redrew" : word} ${what}`),
      ...(one.boxes ?? []).map((box) => h("p", { class: "where" }, place(box))),
      one.comment ? h("p", { class: "comment" }, one.comment) : null,
      h("p", { class: "quiet" }, clock(one.at)));
  };
  return h("ul", { class: "said" }, ...[...feedback].reverse().map(entry));
}

const typed = new Map<string, string>(); // comments by image, until they are saved

/** Keeps what is typed, also while another image is looked at. */
export function commentForm(image: string, say: (comment: string) => Promise<boolean>): HTMLElement {
  const words = h("textarea", { id: "comment", rows: 2, maxlength: 2000, required: true, placeholder: "For the next reader", oninput: () => typed.set(image, words.value) });
  const save = h("button", { type: "submit" }, "Save the comment");
  words.value = typed.get(image) ?? "";
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    const comment = words.value.trim();
    if (!comment || save.disabled) return;
    save.disabled = true; // it may have to wait, and is to be said once
    if ((await say(comment)) && words.value.trim() === comment) typed.set(image, (words.value = ""));
    save.disabled = false;
  };
  return h("form", { class: "comment-form", onsubmit: (event: Event) => void submit(event) }, h("label", { for: "comment" }, "Comment"), words, save);
}

/** The box being drawn, by pointer or by numbers, and what it is. */
export class DrawForm {
  readonly root = h("form", { class: "draw-form", hidden: true, "aria-label": "Draw a box" });
  private readonly numbers: HTMLInputElement[];
  private readonly label = h("select", { id: "draw-label" }, ...labels().map((name) => h("option", { value: name }, labelText(name))));
  private readonly comment = h("input", { id: "draw-comment", type: "text", maxlength: 2000 });
  private readonly heading = h("h3", {});
  private readonly save = h("button", { type: "submit", class: "primary" }, "Save the box");
  finding: Finding | null = null;

  constructor(changed: (box: Box | null) => void, saved: (box: Box, label: string, comment: string) => void, cancelled: () => void) {
    const field = (name: string, at: number): HTMLElement => h("label", {}, `${name} `, this.numbers[at]!);
    this.numbers = ["left", "top", "right", "bottom"].map((name) => h("input", { type: "number", min: 0, step: "any", id: `draw-${name}`, "data-edge": name, oninput: () => { changed(this.box); this.check(); } }));
    const swatch = h("i", { class: "swatch dashed", "aria-hidden": "true" });
    swatch.style.borderColor = READER_COLOUR;
    fill(this.root, this.heading,
      h("p", { class: "quiet" }, swatch, "Drag on the radiograph, or type the edges in px."),
      h("div", { class: "edges" }, field("Left", 0), field("Top", 1), field("Right", 2), field("Bottom", 3)),
      h("label", { for: "draw-label" }, "What it is"), this.label, h("label", { for: "draw-comment" }, "Comment, if any"), this.comment,
      h("div", { class: "actions" }, this.save, button("Cancel", null, cancelled)));
    this.root.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.box) saved(this.box, this.label.value, this.comment.value.trim());
    });
  }

  open(finding: Finding | null): void {
    this.finding = finding;
    this.heading.textContent = finding ? `Redraw: ${labelText(finding.label)} ${two(finding.score)}` : "Draw a finding that was missed";
    this.label.value = finding?.label ?? "opacity";
    this.comment.value = "";
    this.set(null);
    this.root.hidden = false;
  }

  close(): void {
    this.root.hidden = true;
    this.finding = null;
  }

  set(box: Box | null): void {
    this.numbers.forEach((input, at) => (input.value = box ? String(box[at]) : ""));
    this.check();
  }

  get box(): Box | null {
    const [x1, y1, x2, y2] = this.numbers.map((input) => (input.value === "" ? NaN : Number(input.value)));
    return x2! > x1! && y2! > y1! ? [x1!, y1!, x2!, y2!] : null;
  }

  private check(): void {
    this.save.disabled = !this.box;
  }
}

export const sayVerdict = (verdict: Feedback["verdict"]): string => sentence(VERDICTS[verdict].word);
