// Pointer, wheel and touch on a radiograph: the chosen tool with the first button or one finger,
// two fingers zoom and move, the wheel zooms at the pointer, the other buttons move and window.
import type { Box } from "./api";
import type { Point2, Viewport } from "./viewport";

export type Tool = "window" | "pan" | "zoom" | "draw";

export interface Hands {
  tool: () => Tool;
  draft: (box: Box | null, done: boolean) => void;
  chosen: (at: Point2) => void; // a click that moved nothing
  hover: (at: Point2 | null) => void;
}

const STILL = 4; // px that a click may move

export function listen(host: HTMLElement, view: () => Viewport | null, hands: Hands): void {
  const down = new Map<number, Point2>();
  let from: Point2 | null = null, used: Tool = "window", travelled = 0;
  const at = (event: PointerEvent | WheelEvent): Point2 => {
    const box = host.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  host.addEventListener("contextmenu", (event) => event.preventDefault());
  host.addEventListener("wheel", (event) => {
    event.preventDefault();
    view()?.magnify(Math.exp(-event.deltaY / 400), at(event));
  }, { passive: false });

  host.addEventListener("pointerdown", (event) => {
    host.setPointerCapture(event.pointerId);
    down.set(event.pointerId, at(event));
    travelled = 0;
    used = event.button === 1 ? "pan" : event.button === 2 ? "zoom" : hands.tool();
    from = down.size === 1 && used === "draw" ? (view()?.toImage(at(event)) ?? null) : null;
    if (down.size === 2 && used === "draw") hands.draft(null, false);
  });

  host.addEventListener("pointermove", (event) => {
    const now = at(event), viewport = view();
    if (viewport) hands.hover(viewport.toImage(now));
    const before = down.get(event.pointerId);
    if (!before || !viewport) return;
    const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    travelled += Math.abs(dx) + Math.abs(dy);
    if (down.size === 2) pinch(viewport, down, event.pointerId, now);
    else if (from && used === "draw") hands.draft(boxOf(from, viewport.toImage(now)), false);
    else if (used === "pan") viewport.pan(dx, dy);
    else if (used === "zoom") viewport.magnify(Math.exp(-dy / 150));
    else if (used === "window") viewport.changeWindow(-dy / 1200, dx / 300);
    down.set(event.pointerId, now);
  });

  const up = (event: PointerEvent): void => {
    const viewport = view();
    if (viewport && from && down.size === 1) hands.draft(travelled > STILL ? boxOf(from, viewport.toImage(at(event))) : null, true);
    else if (viewport && down.size === 1 && travelled <= STILL && event.button === 0) hands.chosen(viewport.toImage(at(event)));
    down.delete(event.pointerId);
    from = null;
  };
  host.addEventListener("pointerup", up);
  host.addEventListener("pointercancel", (event) => {
    down.delete(event.pointerId);
    from = null;
  });
  host.addEventListener("pointerleave", () => hands.hover(null));
}

function pinch(viewport: Viewport, down: Map<number, Point2>, moved: number, now: Point2): void {
  const other = [...down].find(([id]) => id !== moved)?.[1], before = down.get(moved);
  if (!other || !before) return;
  const distance = (one: Point2): number => Math.hypot(one[0] - other[0], one[1] - other[1]) || 1;
  viewport.magnify(distance(now) / distance(before), [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2]);
  viewport.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
}

const boxOf = (one: Point2, two: Point2): Box =>
  [Math.min(one[0], two[0]), Math.min(one[1], two[1]), Math.max(one[0], two[0]), Math.max(one[1], two[1])].map((edge) => Math.round(edge * 100) / 100) as Box;
