// The page: head, worklist, and the image whose address is open. Knows no drawing.
import { Admin } from "./admin";
import { api, onExpiry, type Problem, type Status } from "./api";
import { button, fill, h, icon } from "./dom";
import { Intake } from "./intake";
import { Help, listenForKeys } from "./keys";
import { LogInAgain, logIn } from "./login";
import { NO_ANSWER, askNow, onWaits, type Wait } from "./patience";
import { View } from "./view";
import { NOTICE, many } from "./words";
import { Worklist } from "./worklist";

const app = document.getElementById("app")!;
const TOAST_MS = 5000;
const AGAIN = " The page asks again by itself.";

class Page {
  private readonly main = h("main", { class: "page" });
  private readonly right = h("div", { class: "right" });
  private readonly toast = h("p", { class: "toast", role: "status" });
  private readonly away = h("div", { class: "away", role: "alert", hidden: true });
  private readonly help = new Help();
  private readonly worklist = new Worklist((error) => this.say(error.message, "bad"));
  private readonly intake: Intake;
  private view: View | null = null;
  private timer = 0;
  private waits: Wait[] = [];
  private line = true; // stands

  constructor(private readonly status: Status) {
    const user = status.user, again = new LogInAgain(user?.name ?? "");
    onExpiry(again.ask);
    this.intake = new Intake({ say: (words, kind) => this.say(words, kind), received: (ids, show) => this.received(ids, show), pipelines: status.pipelines.map((one) => one.name) });
    fill(app,
      h("a", { class: "skip", href: "#content", onclick: (event: Event) => { event.preventDefault(); document.getElementById("content")?.focus(); } }, "Skip to the radiograph"),
      h("header", { class: "top" },
        h("a", { class: "brand", href: "#/" }, h("img", { src: "./icon.svg", alt: "", width: 28, height: 28 }), h("h1", {}, "hilum")),
        h("p", { class: "notice" }, h("span", { "aria-hidden": "true" }, "⚠ "), NOTICE),
        this.disk(),
        user ? h("p", { class: "quiet user" }, user.name) : null,
        user?.role === "admin" ? h("a", { href: "#/admin", class: "button small", id: "admin" }, "Admin") : null,
        user && user.name !== "local" ? button("Log out", null, () => void api.logOut().finally(() => location.reload()), { class: "small" }) : null,
        button("Keys", null, () => this.help.open(), { class: "small", title: "Keyboard (?)", id: "help" })),
      this.away, this.main, this.toast, this.help.root, again.root, h("div", { class: "drop-veil", "aria-hidden": "true" }, icon("upload"), h("span", {}, "Drop to analyse")));
    fill(this.main, h("div", { class: "left" }, this.intake.root, this.worklist.root), this.right);
    this.right.id = "content";
    this.right.tabIndex = -1;
  }

  start(): void {
    window.addEventListener("hashchange", () => this.route());
    listenForKeys((action) => this.act(action));
    this.route();
    void this.worklist.read();
    let missed = false; // what came while nothing was listened to
    api.events(
      ({ id }) => {
        this.worklist.later();
        if (this.view?.id === id) void this.view.refresh();
      },
      (stands) => {
        if (stands && !this.line) askNow();
        if (stands && missed) this.readAgain();
        missed = true;
        this.line = stands;
        this.drawAway();
      },
    );
    onWaits((waits) => {
      this.waits = waits;
      this.drawAway();
    });
    window.addEventListener("online", askNow);
    window.addEventListener("beforeunload", (event) => this.sent() && event.preventDefault()); // it would be lost
  }

  private route(): void {
    const id = /^#\/image\/([0-9a-f]+)$/.exec(location.hash)?.[1] ?? null;
    if (this.view?.id === id && id) return;
    const admin = location.hash === "#/admin" && this.status.user?.role === "admin";
    this.view?.destroy();
    this.view = id ? new View({ status: this.status, say: (words, kind) => this.say(words, kind), close: () => this.close(), changed: () => this.worklist.later() }, id) : null;
    document.body.classList.toggle("viewing", id !== null || admin);
    document.getElementById("admin")?.setAttribute("aria-current", admin ? "page" : "false");
    fill(this.right, admin ? new Admin((words, kind) => this.say(words, kind)).root : this.view?.root ?? welcome());
    this.worklist.select(id);
    if (id || admin) window.scrollTo(0, 0);
    // Where the list made room for the image, the keyboard goes on there.
    if (!(document.activeElement as HTMLElement | null)?.checkVisibility()) this.right.focus({ preventScroll: true });
  }

  /** At once: a key that comes before the event of the address counts from this image. */
  private go(id: string): void {
    location.hash = `#/image/${id}`;
    this.route();
  }

  private close(): void {
    const id = this.view?.id;
    location.hash = "#/";
    window.setTimeout(() => document.querySelector<HTMLElement>(`[data-image="${id}"]`)?.focus());
  }

  private readAgain(): void {
    void this.worklist.read();
    void this.view?.refresh();
  }

  private act(action: string): boolean {
    const step = { "next-image": 1, "previous-image": -1 }[action];
    if (step) {
      void this.worklist.neighbour(step).then((id) => (id ? this.go(id) : this.say(step > 0 ? "This is the last image of the list" : "This is the first image of the list")));
    } else if (action === "search") document.getElementById("search")?.focus();
    else if (action === "help") this.help.open();
    else return this.view?.act(action) ?? false;
    return true;
  }

  private received(ids: string[], show: boolean): void {
    this.worklist.later(0);
    if (ids.length === 1 && show) location.hash = `#/image/${ids[0]}`;
    else if (ids.length) this.say(`${many(ids.length, "image")} received; ${ids.length === 1 ? "its result comes" : "their results come"} into the worklist.`, "good");
  }

  private disk(): HTMLElement | null {
    const { used, limit } = this.status.disk ?? { used: 0, limit: null };
    if (!limit || used < 0.8 * limit) return null;
    return h("p", { class: "warned" }, `▲ Disk ${Math.round((100 * used) / limit)} % full: at the limit nothing more is taken`);
  }

  /** How much that was sent waits to be taken. */
  private sent(): number {
    return this.waits.filter(({ change }) => change).length;
  }

  /** Says that the service is away or asks to wait, and what becomes of what was sent. */
  private drawAway(): void {
    const broken = !this.line || this.waits.some(({ problem }) => problem.status === NO_ANSWER), asked = this.waits[0]?.problem.message, sent = this.sent();
    this.away.hidden = !broken && !asked;
    if (this.away.hidden) return fill(this.away);
    const words = broken ? "The service does not answer. What is shown may be old." : `The service asks to wait: ${asked}.`;
    const kept = sent ? ` ${many(sent, "thing")} that you sent ${sent === 1 ? "is" : "are"} kept here and sent again: leave the page open.` : "";
    if (this.away.firstChild?.textContent === words + AGAIN + kept) return; // else it would be read out anew
    fill(this.away, h("p", {}, words + AGAIN + kept), button("Ask now", "reset", askNow, { id: "ask-now", class: "small" }));
  }

  private say(words: string, kind: "good" | "bad" | "" = ""): void {
    window.clearTimeout(this.timer);
    this.toast.className = `toast shown ${kind}`;
    this.toast.textContent = `${{ good: "✓ ", bad: "▲ ", "": "" }[kind]}${words}`;
    this.timer = window.setTimeout(() => (this.toast.className = "toast"), kind === "bad" ? 2 * TOAST_MS : TOAST_MS);
  }
}

function welcome(): HTMLElement {
  const step = (words: string, more: string): HTMLElement => h("li", {}, h("b", {}, words), ` ${more}`);
  return h("section", { class: "welcome" }, h("h2", {}, "Drop a chest radiograph anywhere on this page"),
    h("ol", {}, step("It is read,", "and refused with a reason where it is no frontal chest radiograph."), step("It is analysed", "by this service; the page asks no other machine."), step("You decide.", "Accept, reject or redraw what was found; others see who said what.")),
    h("p", { class: "quiet" }, "No file at hand? “Try a sample” shows a radiograph that comes with hilum."));
}

async function begin(): Promise<void> {
  const says = h("div", { class: "begin", role: "status" });
  fill(app, h("main", { class: "login" }, h("h1", {}, "hilum"), says));
  onWaits(([wait]) => fill(says, ...(wait ? [h("p", { class: "problem" }, wait.problem.message + AGAIN), button("Ask now", "reset", askNow, { id: "ask-now", class: "primary" })] : [h("p", { class: "quiet" }, "Asking the service …")])));
  try {
    const status = await api.status();
    if (!status.user) return fill(app, logIn(() => location.reload()));
    new Page(status).start();
  } catch (error) {
    if ((error as Problem).status === 401) return fill(app, logIn(() => location.reload()));
    fill(says, h("p", { class: "problem" }, (error as Error).message), button("Try again", "reset", () => void begin(), { class: "primary" }));
  }
}

void begin();
