// The worklist: what was received, how it stands; filtered and sorted by the service.
import { api, type Summary } from "./api";
import { button, fill, h } from "./dom";
import { NOTHING, PRIORITIES, STATES, dicomDate, many, reasonParts, shortClock, title, two } from "./words";

const PER_PAGE = 50;

export class Worklist {
  readonly root = h("nav", { class: "worklist", "aria-label": "Worklist" });
  private readonly list = h("ul", { class: "images" });
  private readonly count = h("p", { class: "quiet", role: "status" });
  private readonly pager = h("div", { class: "pager" });
  private readonly search = h("input", { type: "search", id: "search", placeholder: "Name, patient, description", oninput: () => this.later() });
  private readonly state = select("state", ["every state", ""], ...Object.entries(STATES).map(([key, { shape, word }]): [string, string] => [`${shape} ${word}`, key]));
  private readonly priority = select("priority-filter", ["every priority", ""], ...Object.entries(PRIORITIES).map(([key, { shape, word }]): [string, string] => [`${shape} ${word}`.trim(), key]));
  private readonly sort = select("sort", ["newest first", "received"], ["highest score first", "score"], ["by priority", "priority"]);
  private page = 1;
  private timer = 0;
  private reading: AbortController | null = null;
  private items: Summary[] = [];
  private current: string | null = null;

  constructor(private readonly failed: (error: Error) => void) {
    const field = (words: string, input: HTMLElement): HTMLElement => h("div", { class: "field" }, h("label", { for: input.id }, words), input);
    for (const one of [this.state, this.priority, this.sort]) one.addEventListener("change", () => { this.page = 1; void this.read(); });
    fill(this.root, h("h2", {}, "Worklist"),
      h("div", { class: "filters" }, field("Search", this.search), field("State", this.state), field("Priority", this.priority), field("Sort", this.sort)),
      this.count, this.list, this.pager);
    fill(this.list, h("li", { class: "empty" }, "Loading the worklist …"));
  }

  /** Read again soon; many changes at once are one reading. */
  later(ms = 250): void {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.read(), ms);
  }

  async read(): Promise<void> {
    this.reading?.abort();
    this.reading = new AbortController();
    const { signal } = this.reading;
    const query = new URLSearchParams({ sort: this.sort.value, descending: "true", page: String(this.page), per_page: String(PER_PAGE) });
    for (const [name, value] of [["state", this.state.value], ["priority", this.priority.value], ["q", this.search.value.trim()]]) if (value) query.set(name!, value);
    try {
      const { items, total } = await api.images(query, signal);
      this.items = items;
      this.draw(total);
    } catch (error) {
      if (!signal.aborted) this.failed(error as Error);
    }
  }

  select(id: string | null): void {
    this.current = id;
    for (const link of this.list.querySelectorAll("a")) link.toggleAttribute("aria-current", link.dataset.image === id);
    this.list.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
  }

  /** The image before or behind in the list. */
  neighbour(step: number): string | null {
    const at = this.items.findIndex((one) => one.id === this.current);
    return this.items[at < 0 ? 0 : at + step]?.id ?? null;
  }

  private draw(total: number): void {
    const filtered = Boolean(this.search.value.trim() || this.state.value || this.priority.value);
    this.count.textContent = total ? many(total, "image") : "";
    fill(this.list, ...this.items.map((one) => this.row(one)), this.items.length ? null : this.empty(filtered));
    const pages = Math.max(1, Math.ceil(total / PER_PAGE));
    const turn = (words: string, to: number): HTMLElement => button(words, null, () => { this.page = to; void this.read(); }, { class: "small", disabled: to < 1 || to > pages });
    fill(this.pager, ...(pages > 1 ? [turn("Before", this.page - 1), h("span", {}, `page ${this.page} of ${pages}`), turn("Next", this.page + 1)] : []));
    this.select(this.current);
  }

  private empty(filtered: boolean): HTMLElement {
    if (!filtered) return h("li", { class: "empty" }, h("b", {}, "No images yet."), " Drop a radiograph, send one by DICOM, or try the sample.");
    const all = (): void => {
      this.search.value = this.state.value = this.priority.value = "";
      void this.read();
    };
    return h("li", { class: "empty" }, h("b", {}, "Nothing fits these filters."), " ", button("Show all", null, all, { class: "link" }));
  }

  private row(image: Summary): HTMLElement {
    const { shape, word } = STATES[image.state], priority = PRIORITIES[image.priority];
    const facts = [shortClock(image.received), image.view ?? image.modality, dicomDate(image.study_date), image.origin].filter(Boolean);
    return h("li", {}, h("a", { href: `#/image/${image.id}`, class: `image ${image.state}`, "data-image": image.id },
      thumbnail(image),
      h("span", { class: "text" },
        h("span", { class: "first" }, h("b", { class: "name" }, title(image)), image.priority === "routine" ? null : h("span", { class: `priority ${image.priority}` }, h("span", { "aria-hidden": "true" }, priority.shape), ` ${priority.word}`)),
        h("span", { class: "answer" }, ...answer(image)),
        h("span", { class: "facts" }, h("span", { class: `state ${image.state}` }, h("span", { "aria-hidden": "true" }, shape), ` ${word}`), ...facts.map((fact) => h("span", { class: "fact" }, fact))),
        h("span", { class: "facts" }, ...extras(image)))));
  }
}

function answer(image: Summary): (Node | string)[] {
  if (image.state === "refused" || image.state === "failed") return [reasonParts(image.reason)[1]];
  if (image.state !== "analysed") return ["waiting for its result"];
  const score = image.score === null ? "" : ` · score ${two(image.score)}`;
  if (image.finding === null) return [`analysed${score}`];
  return [h("span", { "aria-hidden": "true", class: image.finding ? "shape found" : "shape" }, image.finding ? "◆" : "◇"), image.finding ? `target finding${score}` : `${NOTHING.toLowerCase()}${score}`];
}

function extras(image: Summary): string[] {
  const { waiting, dead } = image.deliveries;
  return [image.feedback ? many(image.feedback, "remark") : "", waiting ? `${waiting} to deliver` : "", dead ? `▲ ${dead} not delivered` : "", image.prior ? "has a prior" : ""].filter(Boolean).map((one, at) => (at ? ` · ${one}` : one));
}

function thumbnail(image: Summary): HTMLElement {
  if (image.state === "received") return h("span", { class: "thumb" });
  const picture = h("img", { class: "thumb", alt: "", loading: "lazy", decoding: "async", width: 56, height: 56, src: api.picture(image.id, 128) });
  picture.addEventListener("error", () => picture.replaceWith(h("span", { class: "thumb" })));
  return picture;
}

function select(id: string, ...options: [string, string][]): HTMLSelectElement {
  return h("select", { id }, ...options.map(([words, value]) => h("option", { value }, words)));
}
