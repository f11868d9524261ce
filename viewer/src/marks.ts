// What is drawn over a radiograph: boxes, outlines, a reader's boxes, the heat map. Image pixels
// in, screen out; every mark carries words or a shape beside its colour.
import type { Box, Finding, Heat } from "./api";
import { fill, svg } from "./dom";
import { READER_COLOUR, labelColour, labelText, two } from "./words";

type Point2 = [number, number];

export interface Layers { boxes: boolean; outlines: boolean; lungs: boolean; heat: boolean; readers: boolean }

export interface Content {
  findings: Finding[]; // those to be seen
  rejected: Set<string>;
  chosen: string | null;
  outlines: Record<string, string>;
  readers: { box: Box; by: string }[];
  draft: Box | null;
  size: Point2; // width, height
}

export class Marks {
  readonly layer = svg("svg", { class: "marks", "aria-hidden": "true" });
  readonly heat = document.createElement("canvas");
  private content: Content | null = null;
  private layers: Layers = { boxes: true, outlines: true, lungs: false, heat: false, readers: true };

  constructor(private readonly toHost: (point: Point2) => Point2) {
    Object.assign(this.heat, { className: "heat", width: 0 }); // nothing to show yet
    this.heat.hidden = true;
  }

  show(content: Content | null, layers: Layers): void {
    this.content = content;
    this.layers = layers;
    this.place();
  }

  /** Again where the image now lies. */
  place(): void {
    const content = this.content;
    if (!content) return fill(this.layer);
    const [left, top] = this.toHost([0, 0]), [right, bottom] = this.toHost(content.size);
    const scale: Point2 = [(right - left) / content.size[0], (bottom - top) / content.size[1]];
    const moved = `translate(${left} ${top}) scale(${scale[0]} ${scale[1]})`;
    fill(this.layer, svg("g", { transform: moved }, ...this.outlines(content), ...this.boxes(content)), svg("g", {}, ...this.tags(content)));
    this.heat.hidden = !this.layers.heat || !this.heat.width;
    Object.assign(this.heat.style, { left: `${left}px`, top: `${top}px`, width: `${right - left}px`, height: `${bottom - top}px` });
  }

  /** A map of the whole image, as colour whose opacity grows with it; what hardly moves a score stays pale. */
  setHeat(heat: Heat | null): void {
    const map = heat?.map ?? [], height = map.length, width = map[0]?.length ?? 0;
    Object.assign(this.heat, { width, height });
    if (heat && width) {
      const share = Math.min(1, heat.strongest / FULL_COLOUR) / 255;
      const data = new ImageData(width, height);
      map.flat().forEach((value, at) => data.data.set(inferno(value * share), 4 * at));
      this.heat.getContext("2d")!.putImageData(data, 0, 0);
    }
    this.place();
  }

  private outlines({ outlines }: Content): SVGElement[] {
    const shown = Object.entries(outlines).filter(([name, path]) => path && this.layers[name === "lungs" ? "lungs" : "outlines"]);
    return shown.flatMap(([name, d]) => [
      svg("path", { d, class: "halo" }),
      svg("path", { d, class: name === "lungs" ? "line dotted" : "line", stroke: labelColour(name), "data-mask": name }),
    ]);
  }

  private boxes(content: Content): SVGElement[] {
    const out: SVGElement[] = [];
    if (this.layers.boxes)
      for (const { id, label, box_px } of content.findings) {
        const kind = `line box${content.rejected.has(id) ? " rejected" : ""}${content.chosen === id ? " chosen" : ""}`;
        out.push(rectangle(box_px, "halo"), rectangle(box_px, kind, labelColour(label), { "data-finding": id }));
      }
    if (this.layers.readers)
      for (const { box } of content.readers) out.push(rectangle(box, "halo"), rectangle(box, "line reader", READER_COLOUR, { "data-reader": "" }));
    if (content.draft) out.push(rectangle(content.draft, "halo"), rectangle(content.draft, "line reader draft", READER_COLOUR, { "data-draft": "" }));
    return out;
  }

  private tags(content: Content): SVGElement[] {
    const out: SVGElement[] = [], taken: { x: number; y: number; width: number }[] = [];
    const tag = (box: Box, words: string, colour: string, below = false): void => {
      const [left, top] = this.toHost([box[0], below ? box[3] : box[1]]);
      const all = this.layer.clientWidth || 1e6, width = CHARACTER * words.length, x = Math.max(4, Math.min(left, all - width));
      let y = below ? top + LINE : top > 20 ? top - 6 : top + LINE;
      // Boxes that begin at one place: their words stand under one another.
      while (taken.some((one) => Math.abs(one.y - y) < LINE && x < one.x + one.width && one.x < x + width)) y += LINE;
      taken.push({ x, y, width });
      out.push(svg("text", { x, y, fill: colour }, words));
    };
    if (this.layers.boxes)
      for (const { id, label, score, box_px } of content.findings)
        tag(box_px, `${labelText(label)} ${two(score)}${content.rejected.has(id) ? " · rejected" : ""}`, labelColour(label));
    if (this.layers.readers) for (const { box, by } of content.readers) tag(box, `drawn by ${by}`, READER_COLOUR, true);
    return out;
  }
}

function rectangle([x1, y1, x2, y2]: Box, kind: string, stroke = "#000", more: Record<string, string> = {}): SVGElement {
  return svg("rect", { x: x1, y: y1, width: x2 - x1, height: y2 - y1, class: kind, stroke, ...more });
}

const CHARACTER = 8, LINE = 16; // px on the screen
const FULL_COLOUR = 0.05; // a loss of the score from which the strongest place has its full colour
const STOPS = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]] as const; // inferno

function inferno(value: number): [number, number, number, number] {
  const at = value * (STOPS.length - 1), low = Math.min(STOPS.length - 2, Math.floor(at)), share = at - low;
  const mix = (channel: 0 | 1 | 2): number => STOPS[low]![channel] * (1 - share) + STOPS[low + 1]![channel] * share;
  return [mix(0), mix(1), mix(2), Math.round(255 * Math.min(0.75, value))];
}
