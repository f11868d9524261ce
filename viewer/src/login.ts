// The log-in: a page of its own before anything is shown, and over the page once the session has ended.
import { api, type Problem } from "./api";
import { fill, h } from "./dom";
import { NOTICE } from "./words";

function form(done: () => void | Promise<void>, user = ""): HTMLElement {
  const name = h("input", { id: "name", autocomplete: "username", required: true, value: user }), password = h("input", { id: "password", type: "password", autocomplete: "current-password", required: true, autofocus: user !== "" });
  const says = h("p", { class: "problem", role: "alert" });
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    fill(says);
    try {
      await api.logIn(name.value, password.value);
      await done();
    } catch (error) {
      const { status, message } = error as Problem;
      fill(says, status === 401 ? "Name or password is wrong. Try again, or ask an administrator." : message);
    }
  };
  // Where there is no provider, or the service does not say, the form alone is there.
  const elsewhere = h("p", {});
  void api.ways().then(({ provider }) => provider && fill(elsewhere, h("a", { href: api.providerLogIn, class: "button" }, `Log in at ${provider}`)), (error: Error) => fill(says, error.message));
  return h("form", { onsubmit: (event: Event) => void submit(event) }, h("p", { class: "quiet" }, NOTICE), h("label", { for: "name" }, "Name"), name, h("label", { for: "password" }, "Password"), password, says, h("button", { type: "submit", class: "primary" }, "Log in"), elsewhere);
}

export const logIn = (done: () => void): HTMLElement => h("main", { class: "login" }, h("h1", {}, "hilum"), form(done));

/** Over the page, which it hides and keeps with all that was typed; for the user whose session ended. */
export class LogInAgain {
  readonly root = h("dialog", { class: "again", "aria-labelledby": "again-title" });
  private waiting: Promise<void> | null = null;

  constructor(private readonly user: string) {
    this.root.addEventListener("close", () => this.waiting && this.root.showModal()); // Escape is no log-in
  }

  readonly ask = (): Promise<void> => (this.waiting ??= new Promise((go) => {
    const done = (): void => {
      if (!this.waiting) return;
      this.waiting = null;
      window.removeEventListener("focus", elsewhere);
      this.root.close();
      go();
    };
    // Somebody else sees nothing of what this user typed.
    const believed = async (): Promise<void> => ((await api.session()).name === this.user ? done() : location.reload());
    const elsewhere = (): void => void believed().catch(() => undefined); // nobody has logged in beside: asked still
    window.addEventListener("focus", elsewhere);
    fill(this.root, h("h2", { id: "again-title" }, "Your session has ended"), h("p", {}, `Log in again as ${this.user}: what you have typed is kept.`), form(believed, this.user));
    this.root.showModal();
  }));
}
