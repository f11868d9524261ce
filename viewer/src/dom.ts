// Elements by hand. Everything that comes from an input is set as text, never as markup.

type Child = Node | string | null | undefined | false;
type Attributes = Record<string, string | number | boolean | null | undefined | ((event: never) => void)>;

/** An element: `h("button", {class: "primary", onclick: go}, "Go")`. False and null leave out. */
export function h<K extends keyof HTMLElementTagNameMap>(name: K, attributes: Attributes = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  assign(made, attributes);
  made.append(...kept(children));
  return made;
}

/** The same for what is drawn. */
export function svg(name: string, attributes: Attributes = {}, ...children: Child[]): SVGElement {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  assign(made, attributes);
  made.append(...kept(children));
  return made;
}

function assign(made: Element, attributes: Attributes): void {
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key.slice(2), value as EventListener);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, String(value));
  }
}

function kept(children: Child[]): (Node | string)[] {
  return children.filter((child): child is Node | string => child !== null && child !== undefined && child !== false);
}

/** New contents; the element that had the focus gets it back where its `id` is there again. */
export function fill(parent: Element, ...children: Child[]): void {
  const focused = document.activeElement instanceof HTMLElement && parent.contains(document.activeElement) ? document.activeElement.id : "";
  parent.replaceChildren(...kept(children));
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

/** Into the browser's downloads, as a link to it would have it. */
export function save(file: File): void {
  const href = URL.createObjectURL(file);
  h("a", { href, download: file.name }).click();
  window.setTimeout(() => URL.revokeObjectURL(href), SAVED_MS);
}

const SAVED_MS = 60_000; // the browser has begun to read it by then

const ICONS: Record<string, string> = {
  window: "M12 3a9 9 0 1 0 0 18a9 9 0 1 0 0-18M12 3v18M12 8h7M12 12h9M12 16h7",
  pan: "M12 3v18M3 12h18M9 6l3-3 3 3M9 18l3 3 3-3M6 9l-3 3 3 3M18 9l3 3-3 3",
  zoom: "M10.500 4a6.500 6.500 0 1 0 0 13a6.500 6.500 0 1 0 0-13M15.500 15.500L21 21M10.500 7.500v6M7.500 10.500h6",
  invert: "M4 4h16v16H4zM4 20L20 4M9 9h0M7 13l6-6",
  reset: "M4 4v6h6M4.500 10a8 8 0 1 1-.5 4",
  box: "M4 5h16v14H4z",
  outline: "M12 4c5 0 8 3 8 7s-2 9-7 9-9-3-9-8 3-8 8-8z",
  lungs: "M10.500 4c-4 2-7 7-7 13 0 3 1.500 4 3 4 2.500 0 4-2.500 4-6zM13.500 4c4 2 7 7 7 13 0 3-1.500 4-3 4-2.500 0-4-2.500-4-6z",
  heat: "M12 3c1 4 5 6 5 11a5 5 0 0 1-10 0c0-2 1-3 2-4 0 2 1 3 2 3 1.500 0 2-4 1-10z",
  beside: "M3 5h8v14H3zM13 5h8v14h-8z",
  draw: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
  back: "M15 5l-7 7 7 7",
  accept: "M4 12.500l5 5L20 6.500",
  reject: "M6 6l12 12M18 6L6 18",
  upload: "M12 16V4M7 9l5-5 5 5M4 16v4h16v-4",
  folder: "M3 6h7l2 3h9v10H3z",
  sample: "M5 3h14v18H5zM9 8c-1 2-1.500 4-1.500 7M15 8c1 2 1.500 4 1.500 7M12 6v11",
  download: "M12 4v12M7 11l5 5 5-5M4 20h16",
  up: "M6 15l6-6 6 6", down: "M6 9l6 6 6-6",
};

/** A line drawing for a button that has words too. */
export function icon(name: keyof typeof ICONS): SVGElement {
  return svg("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true", focusable: "false" }, svg("path", { d: ICONS[name] ?? "" }));
}

/** A button of icon and words. */
export function button(words: string, drawing: string | null, onclick: () => void, attributes: Attributes = {}): HTMLButtonElement {
  return h("button", { type: "button", onclick, ...attributes }, drawing ? icon(drawing) : null, h("span", {}, words));
}
