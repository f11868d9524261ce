// One radiograph on the screen with its marks: loads the pixels, says how that goes.
import { api, type Detail } from "./api";
import { button, fill, h } from "./dom";
import { listen, type Hands } from "./gestures";
import { Marks, type Content, type Layers } from "./marks";
import type { Point2, Viewport } from "./viewport";
import { title } from "./words";

export class Pane {
  private readonly host = h("div", { class: "host" });
  private readonly says = h("div", { class: "says" });
  private readonly readout = h("p", { class: "readout", "aria-hidden": "true" });
  private readonly caption = h("figcaption", { hidden: true });
  readonly stage = h("div", { class: "stage", tabindex: 0, role: "group" });
  readonly root = h("figure", { class: "pane" }, this.caption, this.stage);
  readonly marks = new Marks((point) => this.view?.toHost(point) ?? point);
  view: Viewport | null = null;
  private readonly leaving = new AbortController();
  private turn = 0; // the last load wins

  constructor(hands: Omit<Hands, "hover">, private readonly changed: () => void) {
    this.stage.append(this.host, this.marks.heat, this.marks.layer as Node, this.says, this.readout);
    listen(this.stage, () => this.view, { ...hands, hover: (at) => this.hover(at) });
    this.stage.addEventListener("keydown", (event) => this.arrows(event));
  }

  /** Gets and shows the pixels; whether there are any. */
  async load(detail: Detail): Promise<boolean> {
    const turn = ++this.turn;
    this.stage.setAttribute("aria-label", `Radiograph ${title(detail)}. Arrow keys move it, plus and minus zoom.`);
    fill(this.says, h("p", { class: "loading", role: "status" }, "Loading the radiograph …"));
    try {
      const [{ Viewport }, pixels] = await Promise.all([import("./viewport"), api.pixels(detail.id, this.leaving.signal)]);
      if (this.leaving.signal.aborted || turn !== this.turn) return false;
      this.view ??= new Viewport(this.host, () => this.moved());
      await this.view.show(detail.id, pixels, detail.spacing);
      fill(this.says);
      this.stage.dataset.ready = "yes";
      this.moved();
      return true;
    } catch (error) {
      if (!this.leaving.signal.aborted) this.failed(detail, error as Error);
      return false;
    }
  }

  /** The words in its corner. */
  call(words: string): void {
    fill(this.caption, words);
    this.caption.hidden = !words;
  }

  show(content: Content | null, layers: Layers): void {
    this.marks.show(this.view ? content : null, layers);
  }

  destroy(): void {
    this.leaving.abort();
    this.view?.destroy();
    this.view = null;
  }

  private failed(detail: Detail, error: Error): void {
    if (detail.state === "refused" || detail.state === "failed") return fill(this.says, h("p", { class: "quiet" }, "There is no picture of this image."));
    fill(this.says, h("p", {}, "The radiograph cannot be shown."), h("p", { class: "quiet" }, error.message), button("Try again", "reset", () => void this.load(detail)));
  }

  private moved(): void {
    this.marks.place();
    this.changed();
    const view = this.view;
    if (view) this.readout.textContent = `zoom ${view.zoom.toFixed(1)} · window ${part(view.window.upper - view.window.lower)} · level ${part((view.window.upper + view.window.lower) / 2)}`;
  }

  private hover(at: Point2 | null): void {
    const value = at && this.view?.grey(at);
    if (at && typeof value === "number") this.readout.textContent = `x ${Math.floor(at[0])}, y ${Math.floor(at[1])} px · grey ${value.toFixed(3)}`;
  }

  private arrows(event: KeyboardEvent): void {
    const step = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] }[event.key];
    if (!step || !this.view || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    if (event.shiftKey) this.view.changeWindow(step[1]! / 1600, -step[0]! / 600);
    else this.view.pan(step[0]!, step[1]!);
  }
}

const part = (value: number): string => (value / 65535).toFixed(2);
