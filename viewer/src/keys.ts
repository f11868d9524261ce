// Single keys, and the list of them that `?` shows. They can be switched off.
import { button, fill, h } from "./dom";

/** Key -> action, with the words of the list. */
const KEYS: [string, string, string][] = [
  ["j", "next-image", "Next image of the worklist"], ["k", "previous-image", "Image before"], ["/", "search", "Search the worklist"],
  ["w", "window", "Pointer changes window and level"], ["p", "pan", "Pointer moves the image"], ["z", "zoom", "Pointer zooms"],
  ["+", "in", "Larger"], ["-", "out", "Smaller"], ["i", "invert", "Invert"], ["r", "reset", "Reset contrast and place"],
  ["b", "boxes", "Boxes on or off"], ["o", "outlines", "Outlines on or off"], ["l", "lungs", "Lungs on or off"], ["h", "heat", "Heat map on or off"], ["u", "readers", "Boxes drawn by readers on or off"],
  ["s", "beside", "Prior side by side"], ["[", "less", "Lower threshold"], ["]", "more", "Higher threshold"],
  ["n", "next", "Choose the next finding"], ["a", "accept", "Accept the chosen finding"], ["x", "reject", "Reject it"], ["e", "redraw", "Redraw it"],
  ["d", "draw", "Draw a finding that was missed"], ["c", "comment", "Comment"], ["t", "retry", "Try again what was refused or has failed"], ["Escape", "escape", "Stop drawing, or back to the worklist"], ["?", "help", "This list"],
];
const SWITCH = "hilum-single-keys";

const on = (): boolean => localStorage.getItem(SWITCH) !== "off";

/** Calls `act` for each key that stands for something, but for those typed into a field. */
export function listenForKeys(act: (action: string) => boolean): void {
  document.addEventListener("keydown", (event) => {
    const target = event.target as HTMLElement;
    const typing = target.matches("input:not([type=range], [type=checkbox]), textarea, select") || document.querySelector("dialog[open]") !== null;
    if (event.ctrlKey || event.metaKey || event.altKey || (typing && event.key !== "Escape") || document.querySelector("dialog[open]")) return;
    const key = event.key === "=" ? "+" : event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const action = KEYS.find(([one]) => one === key)?.[1];
    if (!action || (!on() && key !== "Escape")) return;
    if (typing && event.key === "Escape") return target.blur();
    if (act(action)) event.preventDefault();
  });
}

export class Help {
  readonly root = h("dialog", { class: "help", "aria-labelledby": "help-title" });

  constructor() {
    const single = h("input", { type: "checkbox", id: "single-keys", checked: on(), onchange: () => localStorage.setItem(SWITCH, single.checked ? "on" : "off") });
    const close = (): void => this.root.close();
    fill(this.root,
      h("div", { class: "row" }, h("h2", { id: "help-title" }, "Keyboard"), button("Close", null, close, { class: "small" })),
      h("label", {}, single, " Single keys are on"),
      h("div", { class: "keys", tabindex: 0, role: "group", "aria-label": "List of keys" }, h("dl", {}, ...KEYS.map(([key, , words]) => h("div", {}, h("dt", {}, h("kbd", {}, key === "Escape" ? "Esc" : key)), h("dd", {}, words)))),
        h("p", { class: "quiet" }, "On the radiograph: arrow keys move it, with Shift they change window and level. The wheel or two fingers zoom; the right button zooms, the middle one moves.")));
    this.root.addEventListener("click", (event) => event.target === this.root && close());
  }

  open(): void {
    this.root.showModal();
  }
}
