// The administrator's page: destinations, rules, pipelines in shadow, monitoring, users, audit trail.
import { api, type Administration, type Monitor, type Problem, type Shadow } from "./api";
import { button, fill, h, icon } from "./dom";
import { clock, many, percent, sentence, two } from "./words";

type Say = (words: string, kind?: "good" | "bad" | "") => void;

export class Admin {
  readonly root = h("section", { class: "admin", "aria-labelledby": "admin-title" });

  constructor(private readonly say: Say) {
    fill(this.root, head(), h("p", { class: "quiet", role: "status" }, "Asking the service …"));
    void this.read();
  }

  private async read(): Promise<void> {
    try {
      const [known, monitor] = await Promise.all([api.administration(), api.monitor()]);
      fill(this.root, head(),
        part("Destinations", ...this.destinations(known)),
        part("Rules in force", h("p", { class: "quiet" }, "The first rule that fits an image decides. They stand in the configuration."), h("ol", { class: "rules" }, ...known.rules.map(rule))),
        part("Pipelines in shadow", ...this.shadows(monitor.shadow)),
        part("Monitoring", ...this.monitoring(monitor)),
        part("Users", ...users(known)),
        part("Audit trail", ...this.trail()));
    } catch (error) {
      fill(this.root, head(), h("p", { class: "problem", role: "alert" }, (error as Problem).message), button("Try again", "reset", () => void this.read()));
    }
  }

  /** Do it, say what came of it, and show how things stand now. */
  private async act(act: () => Promise<unknown>, done: string): Promise<void> {
    try {
      await act();
      this.say(done, "good");
    } catch (error) {
      this.say((error as Problem).message, "bad");
    }
    await this.read();
  }

  private destinations({ destinations, dead_letters }: Administration): (HTMLElement | null)[] {
    if (!destinations.length) return [h("p", { class: "quiet" }, "None: results stay here. ", h("code", {}, "[destinations.NAME]"), " of the configuration says where they go.")];
    return [
      ...destinations.map((one) => card(one.name, one.address,
        ["Sent", `${one.objects.join(", ")}${one.deidentified ? ", without identity" : ""}; ${VERIFIED[one.verified_by] ?? one.verified_by}`],
        ["Deliveries", h("span", {}, `● ${one.deliveries.delivered} delivered · ○ ${one.deliveries.waiting} waiting`, one.deliveries.dead ? h("span", { class: "bad" }, ` · ▲ ${many(one.deliveries.dead, "dead letter")}`) : null)],
        ["Last delivered", clock(one.last_delivered)],
        one.waits_s === null ? null : ["Oldest that waits", `${duration(one.waits_s)}${one.reason ? `: ${one.reason}` : ""}`])),
      dead_letters.length ? h("h4", {}, "Dead letters") : null,
      dead_letters.length ? h("ul", { class: "letters" }, ...dead_letters.map((one) => h("li", { class: "row" },
        h("span", {}, h("a", { href: `#/image/${one.image}` }, `${one.object} of image ${one.image.slice(0, 8)}`), ` for ${one.destination}, ${clock(one.changed)}: ${one.reason ?? "no reason was given"}`),
        button("Send again", null, () => void this.act(() => api.retryDelivery(one.id), "It is sent again."), { class: "small", "aria-label": `Send ${one.object} of image ${one.image.slice(0, 8)} again` })))) : null,
    ];
  }

  private shadows(shadows: Record<string, Shadow>): HTMLElement[] {
    const names = Object.keys(shadows);
    if (!names.length) return [h("p", { class: "quiet" }, "None. ", h("code", {}, "shadow"), " of a rule names pipelines that are analysed beside the shown one until their score shift is accepted.")];
    return names.map((name) => {
      const one = shadows[name]!, { median, p05, p95 } = one.shift;
      const shift = median === null || p05 === null || p95 === null ? "not known yet" : `${signed(median)} in the median, ${signed(p05)} to ${signed(p95)} (5th to 95th percentile)`;
      const made = card(name, one.accepted ? `accepted by ${one.accepted.by}, ${clock(one.accepted.at)}: it is shown` : "in shadow: analysed, never shown or sent",
        ["Local studies", `${one.studies}${one.studies < one.needed ? ` of ${one.needed} that a report needs` : ""}`], ["Shift of scores", shift],
        ["Findings", `${one.finding_only_shown} by the shown pipeline alone, ${one.finding_only_shadow} by this one alone`]);
      made.append(one.accepted
        ? button("Back into shadow", null, () => void this.act(() => api.withdrawShadow(name), `${name} is in shadow again.`), { class: "small" })
        : button("Accept this report", "accept", () => void this.act(() => api.acceptShadow(name), `${name} is shown from now on.`), { class: "small", disabled: !one.fingerprint || one.studies < one.needed }));
      return made;
    });
  }

  private monitoring({ refusal_rate, failure_rate, drift, agreement }: Monitor): HTMLElement[] {
    const newest = drift.blocks[drift.blocks.length - 1];
    const state = !drift.ready ? `the reference is being made: ${drift.reference} of ${drift.needed} studies`
      : newest?.alarms.length ? `▲ ${newest.alarms.join("; ")}` : newest ? "● no alarm in the newest block" : `no block of ${drift.block} studies after the reference yet`;
    return [
      card("Images", null, ["Refused", percent(refusal_rate)], ["Failed", percent(failure_rate)]),
      h("div", { class: "card" }, h("h4", {}, "Drift"), h("p", { class: newest?.alarms.length ? "bad" : "" }, sentence(state)),
        button("Begin a new reference", null, () => void this.act(() => api.newReference(), "The studies from here on are the reference."), { class: "small", title: "After a change that was meant, such as another vendor" })),
      ...Object.entries(agreement).map(([name, one]) => card(`Readers about ${name}`, null, ["Accepted", one.accepted === null ? "nobody has said yet" : `${percent(one.accepted)}${one.interval ? ` (95 %: ${percent(one.interval[0])} to ${percent(one.interval[1])})` : ""}`])),
    ];
  }

  private trail(): HTMLElement[] {
    const says = h("p", { role: "status", class: "trail" });
    const verify = async (): Promise<void> => {
      fill(says, "Going through the trail …");
      try {
        const { whole, entries, head, problem } = await api.verifyTrail();
        says.classList.toggle("bad", !whole);
        fill(says, whole ? `● ${many(entries ?? 0, "entry", "entries")}, whole. Note this end elsewhere: ${head}` : `▲ ${problem}`);
      } catch (error) {
        fill(says, (error as Problem).message);
      }
    };
    return [h("p", { class: "quiet" }, "Receipt, analysis, delivery, log-ins and changes, each chained to the one before. ", h("code", {}, "hilum audit export"), " writes it for an audit repository."), button("Verify the trail", "accept", () => void verify(), { class: "small", id: "verify" }), says];
  }
}

const VERIFIED: Record<string, string> = { qido: "found again by QIDO-RS", find: "found again by C-FIND", commitment: "committed by the archive", answer: "believed by its answer" };

const head = (): HTMLElement => h("div", { class: "row" }, h("h2", { id: "admin-title" }, "Administration"), h("a", { href: "#/", class: "button small back" }, icon("back"), "Worklist"));

const part = (title: string, ...children: (HTMLElement | null)[]): HTMLElement => h("div", { class: "part" }, h("h3", {}, title), ...children);

function card(title: string, more: string | null, ...facts: ([string, string | HTMLElement] | null)[]): HTMLElement {
  return h("div", { class: "card" }, h("h4", {}, title), more ? h("p", { class: "quiet" }, more) : null,
    h("dl", {}, ...facts.filter((one) => one !== null).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))));
}

function rule({ when, pipelines, shadow, destinations, priority, reached }: Administration["rules"][number]): HTMLElement {
  const conditions = Object.entries(when).map(([name, pattern]) => `${name} ${pattern}`).join(", ");
  const does = [pipelines.length ? `analysed by ${pipelines.join(", ")}` : "kept, not analysed", shadow.length ? `in shadow ${shadow.join(", ")}` : "", destinations.length ? `sent to ${destinations.join(", ")}` : "sent nowhere", priority === "routine" ? "" : `priority ${priority}`];
  return h("li", {}, h("b", {}, conditions || "Everything else"), ` → ${does.filter(Boolean).join("; ")}`, reached ? null : h("span", { class: "bad" }, " ▲ never reached"));
}

function users({ users, provider }: Administration): HTMLElement[] {
  const words = provider ? `Log-in at ${provider}: its users are not listed. ` : users.length ? "" : "None: whoever reaches this machine's own address is an administrator. ";
  return [
    h("p", { class: "quiet" }, words, h("code", {}, "hilum users add NAME --role reader"), " adds one, ", h("code", {}, "hilum users remove NAME"), " ends their sessions."),
    h("ul", { class: "users" }, ...users.map((one) => h("li", {}, h("b", {}, one.name), ` ${one.role}${one.configured ? ", of the configuration" : ""}`))),
  ];
}

const signed = (value: number): string => `${value < 0 ? "−" : "+"}${two(Math.abs(value))}`;

function duration(seconds: number): string {
  const [size, word] = ([[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]] as const).find(([size]) => seconds >= size) ?? [1, "second"];
  return many(Math.floor(seconds / size), word);
}
