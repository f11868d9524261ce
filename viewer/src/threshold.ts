// The threshold of boxes, tied to the operating points of the pipeline and what they mean.
import type { Point, PointJson, Result, Status } from "./api";
import { button, fill, h } from "./dom";
import { many, sentence, two } from "./words";

const BOX = "box";
const NO_DATA = new Set(["", "no data"]);

/** All operating points of a pipeline: those of the service, and those its result was made with. */
export function pointsOf(status: Status, pipeline: string, result: Result | null): Point[] {
  const told = status.pipelines.find((one) => one.name === pipeline)?.operating_points ?? [];
  const made = Object.entries(result?.pipeline.operating_points ?? {}).map(([name, point]) => fromJson(name, point));
  const points = made.map((point) => ({ ...point, ...defined(told.find((one) => one.name === point.name)) }));
  return [...points, ...told.filter((one) => !made.some((point) => point.name === one.name))].sort((a, b) => a.threshold - b.threshold);
}

const defined = (point: Point | undefined): Partial<Point> =>
  Object.fromEntries(Object.entries(point ?? {}).filter(([, value]) => value !== null && value !== undefined));

function fromJson(name: string, { threshold, reason, chosen_on, score, achieved }: PointJson): Point {
  const marks = achieved.fp_per_image;
  return { name, threshold, aim: reason, chosen_on, score, sensitivity: achieved.sensitivity ?? null, precision: achieved.precision ?? null, false_marks_per_100: marks === undefined ? null : 100 * marks };
}

export const ofBoxes = (points: Point[]): Point[] => points.filter((point) => (point.score ?? BOX) === BOX);
export const ofScore = (points: Point[], name: string): Point[] => points.filter((point) => point.score === name);

/** The threshold that the result was made with: what is below was not kept. */
export function floorOf(result: Result): number {
  const own = Object.values(result.pipeline.operating_points).find((point) => point.score === BOX);
  const lowest = Math.min(1, ...(result.images[0]?.findings ?? []).map((finding) => finding.score));
  return Math.min(own?.threshold ?? 0, lowest);
}

/** How many are false: of 100 studies, or where that was not recorded, of 100 boxes. */
function falseMarks({ false_marks_per_100: marks, precision }: Point): string {
  if (marks !== null && marks !== undefined) return `${Math.round(marks)} false marks per 100 studies`;
  if (precision !== null && precision !== undefined) return `of 100 boxes that it shows ${Math.round(100 * (1 - precision))} are false`;
  return "false marks per 100 studies were not recorded";
}

/** What an operating point of boxes is good for, in a sentence of plain words. */
export function meaning(point: Point): string {
  if ((point.sensitivity ?? point.false_marks_per_100 ?? null) === null && NO_DATA.has(point.chosen_on ?? "")) return "Given by the pipeline, chosen on no data: how much it finds and misses is not known.";
  const found = point.sensitivity === null || point.sensitivity === undefined ? null : `finds ${Math.round(100 * point.sensitivity)} of 100 annotated boxes`;
  const marks = falseMarks(point);
  const where = point.chosen_on ? ` Measured where it was chosen: ${point.chosen_on}; expect less elsewhere.` : "";
  return `${sentence([found, marks].filter(Boolean).join(", "))}.${where}`;
}

export class Threshold {
  readonly root = h("section", { class: "threshold", "aria-label": "Threshold of boxes" });
  private readonly input: HTMLInputElement;
  private readonly value = h("output", {});
  private readonly words = h("p", { class: "meaning", id: "threshold-meaning" });
  private readonly back: HTMLButtonElement;

  constructor(private readonly points: Point[], private readonly floor: number, private now: number, private readonly moved: (value: number) => void) {
    const low = Math.floor(100 * floor) / 100, lost = points.filter((point) => !this.kept(point));
    this.input = h("input", { type: "range", id: "threshold", min: low, max: 1, step: 0.01, "aria-describedby": "threshold-meaning", oninput: () => this.set(Number(this.input.value)) });
    this.back = button("Back to the operating point", null, () => this.set(floor), { class: "link" });
    fill(this.root,
      h("div", { class: "row" }, h("label", { for: "threshold" }, "Show boxes from a score of"), this.value),
      h("div", { class: "slider" }, this.input),
      h("div", { class: "points", role: "group", "aria-label": "Operating points of boxes" }, ...points.map((point) => this.tick(point))),
      lost.length ? h("p", { class: "quiet" }, `Boxes below ${two(floor)} were not kept, so ${lost.map((point) => `“${point.name}”`).join(" and ")} cannot be shown.`) : null,
      this.words, this.back);
    this.draw();
  }

  get current(): number {
    return this.now;
  }

  set(value: number): void {
    this.now = Math.max(this.floor, Math.min(1, value));
    this.draw();
    this.moved(this.now);
  }

  private kept(point: Point): boolean {
    return point.threshold >= this.floor - 1e-9;
  }

  private tick(point: Point): HTMLElement {
    const kept = this.kept(point);
    const words = `${point.name} ${two(point.threshold)}${kept ? "" : " · not kept"}`;
    return button(words, null, () => this.set(point.threshold), { disabled: !kept, title: `${point.aim}. ${meaning(point)}`, "data-threshold": point.threshold });
  }

  private draw(): void {
    const at = this.points.filter((point) => point.threshold <= this.now + 1e-9).at(-1);
    const exact = at && Math.abs(at.threshold - this.now) < 0.005;
    this.input.value = String(Math.max(Number(this.input.min), this.now));
    this.value.textContent = two(this.now);
    this.input.setAttribute("aria-valuetext", `${two(this.now)}${exact ? `, operating point ${at.name}` : ""}`);
    const name = at ? `“${at.name}”${at.aim === at.name ? "" : ` (${at.aim})`}` : "";
    this.words.textContent = exact ? `Operating point ${name}: ${meaning(at)}` : at ? `Above ${name}: fewer boxes, fewer found and fewer false than there. There: ${meaning(at)}` : "No operating point of this pipeline lies here.";
    for (const one of this.root.querySelectorAll<HTMLElement>("[data-threshold]")) one.setAttribute("aria-pressed", String(Math.abs(Number(one.dataset.threshold) - this.now) < 0.005));
    this.back.hidden = Math.abs(this.now - this.floor) < 0.005;
  }
}

/** "2 boxes hidden by the threshold", where that is so. */
export const hidden = (all: number, shown: number): string => (all > shown ? `${many(all - shown, "box", "boxes")} below the threshold ${all - shown === 1 ? "is" : "are"} hidden.` : "");
