// The words of the page, so that a thing is called the same everywhere.
import type { Box, Priority, State, Summary, Time } from "./api";

export const NOTICE = "Research use, not a medical device: a qualified reader decides.";
export const NOTHING = "No target finding above the threshold";
// Masks that everybody has: no findings.
export const ANATOMY = new Set(["lungs", "lungs_full"]);

/** Shape beside word, so that nothing rests on colour. */
export const STATES: Record<State, { shape: string; word: string }> = {
  received: { shape: "○", word: "received" },
  checked: { shape: "◐", word: "to be analysed" },
  analysed: { shape: "●", word: "analysed" },
  refused: { shape: "■", word: "refused" },
  failed: { shape: "▲", word: "failed" },
};

const KEPT = { shape: "□", word: "kept only" };

/** How an image stands. */
export const stateOf = ({ state, planned }: Pick<Summary, "state" | "planned">): { shape: string; word: string } => (state === "checked" && !planned ? KEPT : STATES[state]);

export const PRIORITIES: Record<Priority, { shape: string; word: string }> = {
  routine: { shape: "", word: "routine" }, high: { shape: "▴", word: "high" }, stat: { shape: "▴▴", word: "stat" },
};

/** What a reader should do about an image that was not analysed. */
export const ADVICE: Record<string, string> = {
  "not-a-chest-radiograph": "If this is a frontal chest radiograph, ask an administrator for a pipeline without that gate.",
  unreadable: "Check the file at its source. If it was cut short on its way, send it again.",
  unsupported: "Send it uncompressed or as JPEG, JPEG 2000 or JPEG-LS.",
  "over-limit": "It is larger than this service takes. An administrator can raise the limit.",
  conflict: "Two different objects have one SOPInstanceUID. Clear up at the sender which of them is right.",
  "own-result": "Results of hilum are kept and never analysed.",
  timeout: "Try again; if it fails again, tell an administrator.",
};

/** Reasons that another try does not change. */
export const SETTLED = new Set(["conflict", "own-result"]);

/** Scores that a model needs beside its findings; beside a picture they would read as a verdict. */
export const NOT_SHOWN = new Set(["normal", "not-normal"]);

/** Scores that are no finding of the vocabulary and no class of a model. */
const SUMS: Record<string, string> = { positive: "Positive classes together", none: "No box: 1 − the best box" };

/** A score in words: a finding, a sum, or what a model calls its class. */
export const scoreText = (name: string): string => LABELS[name]?.[0] ?? SUMS[name] ?? `Class “${name.replace(/[-_]/g, " ")}”`;

// As core/labels.py names and colours them.
const LABELS: Record<string, [string, string]> = {
  opacity: ["Lung opacity", "#ffb000"], "ground-glass": ["Ground-glass opacity", "#ffd25a"],
  consolidation: ["Consolidation", "#ff783c"], pneumothorax: ["Pneumothorax", "#5ab4ff"],
  effusion: ["Pleural effusion", "#aa8cff"], lungs: ["Lungs", "#46d2c8"],
};
export const READER_COLOUR = "#ffffff";

export const labelText = (name: string): string => LABELS[name]?.[0] ?? sentence(name.replace(/[-_]/g, " "));
export const labelColour = (name: string): string => LABELS[name]?.[1] ?? "#ffb000";
export const labels = (): string[] => Object.keys(LABELS).filter((name) => name !== "lungs");
export const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
export const two = (value: number): string => value.toFixed(2);
export const percent = (share: number | null): string => (share === null ? "–" : `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`);
export const many = (count: number, one: string, more = `${one}s`): string => `${count} ${count === 1 ? one : more}`;

/** "code: what came. What to do." in its two parts. */
export function reasonParts(reason: string | null): [string, string] {
  const [, code, words] = /^([a-z][a-z-]*): (.*)$/s.exec(reason ?? "") ?? [];
  return code ? [code, sentence(words ?? "")] : ["", sentence(reason ?? "no reason was given")];
}

export function date(time: Time): Date | null {
  if (time === null || time === undefined || time === "") return null;
  return new Date(typeof time === "number" ? time * 1000 : time);
}
export const clock = (time: Time): string => date(time)?.toLocaleString([], { dateStyle: "medium", timeStyle: "short" }) ?? "–";

/** Today's times without their date. */
export function shortClock(time: Time): string {
  const when = date(time);
  if (!when) return "–";
  return when.toDateString() === new Date().toDateString() ? when.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }) : when.toLocaleDateString([], { day: "numeric", month: "short" });
}

/** DICOM's YYYYMMDD as YYYY-MM-DD; anything else as it is. */
export const dicomDate = (text: string | null): string | null => text?.replace(/^(\d{4})(\d{2})(\d{2})$/, "$1-$2-$3") || null;

/** A PN: its alphabetic, ideographic and phonetic groups (PS3.5 6.2.1), parts by spaces. */
const personName = (name: string): string => name.split("=").map((group) => group.replace(/\^+/g, " ").trim()).filter(Boolean).join(" · ");

export const title = (image: Pick<Summary, "name" | "patient" | "id">): string =>
  personName(image.patient?.name ?? "") || image.patient?.id || image.name?.split("/").pop() || `Image ${image.id.slice(0, 8)}`;

/** Where a box lies, in px of the stored matrix. */
export const place = ([x1, y1, x2, y2]: Box): string => `x ${Math.round(x1)}–${Math.round(x2)}, y ${Math.round(y1)}–${Math.round(y2)} px`;

/** How large a box is, a line each: mm only where the spacing is known. */
export function extent([x1, y1, x2, y2]: Box, spacing: [number, number] | null): string[] {
  const px = `${Math.round(x2 - x1)} × ${Math.round(y2 - y1)} px`;
  return spacing ? [px, `${Math.round((x2 - x1) * spacing[1])} × ${Math.round((y2 - y1) * spacing[0])} mm by the stored spacing`] : [px];
}
