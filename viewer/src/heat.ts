// What a heat map is, and what it is not, in words beside its colours.
import type { Heat } from "./api";
import { h } from "./dom";
import { labelText, two } from "./words";

const WEAK = 0.02; // of the score: below, no place stands out

/** The legend of a map. */
export function heatLegend({ bundle, score, value, strongest, positions }: Heat): (Node | string)[] {
  const name = score === "box" ? "the score of the best box" : `the score “${labelText(score)}”`;
  const most = strongest < WEAK ? `No place alone moves it by ${two(WEAK)}: the map means little here.` : `At the brightest place by ${two(strongest)}.`;
  return [
    h("b", {}, "Heat map "), h("span", { class: "scale", "aria-hidden": "true" }), ` where hiding a part of the image lowers ${name} (${two(value)}, ${bundle}). ${most} `,
    h("span", { class: "quiet" }, `By occlusion at ${positions} places. It shows what moves this network, not where a disease is; a place without colour is not therefore healthy.`),
  ];
}
