// The worklist: what was received, how it stands; filtered and sorted by the service.
import { api, type Summary } from "./api";
import { button, fill, h } from "./dom";
import { NOTHING, PRIORITIES, STATES, dicomDate, many, reasonParts, shortClock, stateOf, title, two } from "./words";

const PER_PAGE = 50;

export class Worklist {
  readonly root = h("nav", { class: "worklist", "aria-label": "Worklist" });
  private readonly list = h("ul", { class: "images" });
  private readonly count = h("p", { class: "quiet", role: "status" });
  private readonly pager = h("div", { class: "pager" });
  private readonly search = h("input", { type: "search", id: "search", "aria-label": "Search", placeholder: "Patient, accession or file name", oninput: () => this.turnTo(1, 250) });
  private readonly state = select("state", "State", ["every state", ""], ...Object.entries(STATES).map(([key, { shape, word }]): [string, string] => [`${shape} ${word}`, key]));
  private readonly priority = select("priority-filter", "Priority", ["every priority", ""], ...Object.entries(PRIORITIES).map(([key, { shape, word }]): [string, string] => [`${shape} ${word}`.trim(), key]));
  private readonly sort = select("sort", "Sort", ["newest", "received"], ["highest score", "score"], ["most urgent", "priority"]);
  private page = 1;
  private pages = 1;
  private rows = new Map<string, { told: string; row: HTMLElement }>();
  private timer = 0;
  private asked: Promise<void> = Promise.resolve();
  private reading: AbortController | null = null;
  private items: Summary[] = [];
  private current: string | null = null;

  constructor(private readonly failed: (error: Error) => void) {
    for (const one of [this.state, this.priority, this.sort]) {
      keep(one); // a reload shows the same list
      one.addEventListener("change", () => this.turnTo(1));
    }
    fill(this.root, h("div", { class: "row" }, h("h2", {}, "Worklist"), this.count, this.sort),
      h("div", { class: "filters" }, this.search, this.state, this.priority), this.list, this.pager);
    fill(this.list, h("li", { class: "empty" }, "Loading the worklist …"));
  }

  /** Read again soon; many changes are one reading, and a stream of them cannot put it off. */
  later(ms = 250): void {
    this.timer ||= window.setTimeout(() => void this.asked.then(() => this.read()), ms);
  }

  private turnTo(page: number, ms = 0): void {
    this.page = page;
    this.list.scrollTop = 0;
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.read(), ms);
  }

  read(): Promise<void> {
    return (this.asked = this.ask());
  }

  private async ask(): Promise<void> {
    window.clearTimeout(this.timer);
    this.timer = 0;
    this.reading?.abort();
    this.reading = new AbortController();
    const { signal } = this.reading;
    const query = new URLSearchParams({ sort: this.sort.value, descending: "true", page: String(this.page), per_page: String(PER_PAGE) });
    for (const [name, value] of [["state", this.state.value], ["priority", this.priority.value], ["q", this.search.value.trim()]]) if (value) query.set(name!, value);
    try {
      const { items, total } = await api.images(query, signal);
      this.pages = Math.max(1, Math.ceil(total / PER_PAGE));
      if (this.page > this.pages) return this.turnTo(this.pages);
      this.items = items;
      this.draw(total);
    } catch (error) {
      if (!signal.aborted) this.failed(error as Error);
    }
  }

  select(id: string | null): void {
    this.current = id;
    this.mark()?.scrollIntoView({ block: "nearest" });
  }

  private mark(): HTMLElement | null {
    const links = [...this.list.querySelectorAll("a")], chosen = links.find((link) => link.dataset.image === this.current);
    for (const link of links) link.removeAttribute("aria-current");
    chosen?.setAttribute("aria-current", "true");
    return chosen ?? null;
  }

  /** The image before or behind in the list, on whichever of its pages. */
  async neighbour(step: number): Promise<string | null> {
    const at = this.items.findIndex((one) => one.id === this.current);
    const beside = this.items[at < 0 ? 0 : at + step];
    if (beside || this.page + step < 1 || this.page + step > this.pages) return beside?.id ?? null;
    this.page += step;
    await this.read();
    return this.items.at(step > 0 ? 0 : -1)?.id ?? null;
  }

  private draw(total: number): void {
    const filtered = Boolean(this.search.value.trim() || this.state.value || this.priority.value);
    this.count.textContent = total ? many(total, "image") : "";
    // A row stays the same element until something is new about its image: nothing flickers.
    this.rows = new Map(this.items.map((image) => {
      const told = JSON.stringify(image), known = this.rows.get(image.id);
      return [image.id, known?.told === told ? known : { told, row: this.row(image) }];
    }));
    fill(this.list, ...[...this.rows.values()].map(({ row }) => row), this.items.length ? null : this.empty(filtered));
    const turn = (id: string, words: string, to: number): HTMLElement => button(words, null, () => this.turnTo(to), { id, class: "small", disabled: to < 1 || to > this.pages });
    const first = (this.page - 1) * PER_PAGE + 1;
    fill(this.pager, ...(this.pages > 1 ? [turn("page-before", "Previous", this.page - 1), h("span", {}, `${first}–${first + this.items.length - 1} of ${total}`), turn("page-next", "Next", this.page + 1)] : []));
    this.mark();
  }

  private empty(filtered: boolean): HTMLElement {
    if (!filtered) return h("li", { class: "empty" }, h("b", {}, "No images yet."), " Drop a radiograph, send one by DICOM, or try the sample.");
    const all = (): void => {
      this.search.value = this.state.value = this.priority.value = "";
      this.turnTo(1);
    };
    return h("li", { class: "empty" }, h("b", {}, "Nothing fits these filters."), " ", button("Show all", null, all, { class: "link" }));
  }

  private row(image: Summary): HTMLElement {
    const { shape, word } = stateOf(image), priority = PRIORITIES[image.priority];
    const facts = [image.view ?? image.modality, dicomDate(image.study_date), image.origin === "prior" ? "fetched as a prior" : ""].filter(Boolean);
    return h("li", {}, h("a", { href: `#/image/${image.id}`, class: `image ${image.state}`, id: `row-${image.id}`, "data-image": image.id },
      thumbnail(image),
      h("span", { class: "text" },
        h("span", { class: "first" }, h("b", { class: "name", title: title(image) }, title(image)), image.priority === "routine" ? null : h("span", { class: `priority ${image.priority}` }, h("span", { "aria-hidden": "true" }, priority.shape), ` ${priority.word}`), h("span", { class: "quiet" }, shortClock(image.received))),
        h("span", { class: "answer" }, ...answer(image)),
        h("span", { class: "facts" }, h("span", { class: `state ${image.state}` }, h("span", { "aria-hidden": "true" }, shape), ` ${word}`), ...facts.map((fact) => h("span", { class: "fact" }, fact))),
        h("span", { class: "facts" }, ...extras(image)))));
  }
}

function answer(image: Summary): (Node | string)[] {
  if (image.state === "refused" || image.state === "failed") return [reasonParts(image.reason)[1]];
  if (image.state !== "analysed") return [image.planned ? "waiting for its result" : "not analysed, to be looked at"];
  const score = image.score === null ? "" : ` · score ${two(image.score)}`;
  if (image.finding === null) return [`analysed${score}`];
  return [h("span", { "aria-hidden": "true", class: image.finding ? "shape found" : "shape" }, image.finding ? "◆" : "◇"), image.finding ? `target finding${score}` : `${NOTHING.toLowerCase()}${score}`];
}

function extras(image: Summary): (Node | string)[] {
  const { waiting, dead } = image.deliveries;
  const parts = [image.feedback ? many(image.feedback, "remark") : "", waiting ? `${waiting} to deliver` : "", dead ? h("span", { class: "bad" }, `▲ ${dead} not delivered`) : "", image.prior ? "has a prior" : ""];
  return parts.filter(Boolean).flatMap((one, at) => (at ? [" · ", one] : [one]));
}

function thumbnail(image: Summary): HTMLElement {
  if (image.state === "received") return h("span", { class: "thumb" });
  const picture = h("img", { class: "thumb", alt: "", loading: "lazy", decoding: "async", width: 48, height: 48, src: api.picture(image.id, 128) });
  // Why it did not come, an element does not say: the service may only have asked to wait.
  const later = (): void => void api.pictureLater(image.id, 128).then((blob) => (picture.src = URL.createObjectURL(blob)), () => picture.replaceWith(h("span", { class: "thumb" })));
  picture.addEventListener("error", later, { once: true });
  picture.addEventListener("load", () => URL.revokeObjectURL(picture.src));
  return picture;
}

/** A choice stays for as long as the tab is there. */
function keep(choice: HTMLSelectElement): void {
  const name = `hilum-${choice.id}`, kept = sessionStorage.getItem(name);
  if ([...choice.options].some((one) => one.value === kept)) choice.value = kept!;
  choice.addEventListener("change", () => sessionStorage.setItem(name, choice.value));
}

function select(id: string, words: string, ...options: [string, string][]): HTMLSelectElement {
  return h("select", { id, "aria-label": words }, ...options.map(([words, value]) => h("option", { value }, words)));
}
