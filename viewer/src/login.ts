// The log-in, shown when the service asks for one.
import { api, type Problem } from "./api";
import { fill, h } from "./dom";
import { NOTICE } from "./words";

export function logIn(done: () => void): HTMLElement {
  const name = h("input", { id: "name", autocomplete: "username", required: true }), password = h("input", { id: "password", type: "password", autocomplete: "current-password", required: true });
  const says = h("p", { class: "problem", role: "alert" });
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    fill(says);
    try {
      await api.logIn(name.value, password.value);
      done();
    } catch (error) {
      const { status, message } = error as Problem;
      fill(says, status === 401 ? "Name or password is wrong. Try again, or ask an administrator." : message);
    }
  };
  // Where there is no provider, or the service does not say, the form alone is there.
  const elsewhere = h("p", {});
  void api.ways().then(({ provider }) => provider && fill(elsewhere, h("a", { href: api.providerLogIn, class: "button" }, `Log in at ${provider}`)), (error: Error) => fill(says, error.message));
  return h("main", { class: "login" }, h("form", { onsubmit: (event: Event) => void submit(event) }, h("h1", {}, "hilum"), h("p", { class: "quiet" }, NOTICE), h("label", { for: "name" }, "Name"), name, h("label", { for: "password" }, "Password"), password, says, h("button", { type: "submit", class: "primary" }, "Log in"), elsewhere));
}
