// Scores of image and study as bars with the thresholds that stand beside them.
import type { Point, Result } from "./api";
import { h } from "./dom";
import { ofScore } from "./threshold";
import { NOT_SHOWN, scoreText, two } from "./words";

export function scoreBars(result: Result, points: Point[], pipeline: string): HTMLElement[] {
  const image = shown(result.images[0]?.scores ?? {}), study = shown(result.studies[0]?.scores ?? {});
  const out: HTMLElement[] = [h("h3", {}, `Of this image, by “${pipeline}”`)];
  out.push(...image.map(([name, value]) => bar(name, value, ofScore(points, name))));
  if (!image.length) out[0] = h("p", { class: "quiet" }, "This pipeline gives boxes and no image score.");
  if (study.length) out.push(h("h3", {}, `Of the whole study, by “${pipeline}”`), ...study.map(([name, value]) => bar(name, value, ofScore(points, `study:${name}`))));
  return out;
}

const shown = (scores: Record<string, number>): [string, number][] => Object.entries(scores).filter(([name]) => !NOT_SHOWN.has(name)).sort((a, b) => b[1] - a[1]);

function bar(name: string, value: number, points: Point[]): HTMLElement {
  const fillOf = h("span", { class: "fill" });
  fillOf.style.width = `${100 * value}%`;
  const ticks = points.map((point) => {
    const tick = h("span", { class: "tick", title: `${point.name}: from ${two(point.threshold)}` });
    tick.style.left = `${100 * point.threshold}%`;
    return tick;
  });
  const reached = points.filter((point) => value >= point.threshold).at(-1);
  const missed = points.find((point) => value < point.threshold);
  const beside = reached ?? missed;
  const words = beside ? `${reached ? "at or above" : "below"} “${beside.name}” ${two(beside.threshold)}: ${beside.aim.replace(">=", "≥")}` : "no operating point for this score";
  return h("div", { class: "score" }, h("span", { class: "score-name" }, scoreText(name)), h("span", { class: "track", "aria-hidden": "true" }, fillOf, ...ticks), h("span", { class: "score-value" }, two(value)), h("span", { class: "score-words" }, words));
}
