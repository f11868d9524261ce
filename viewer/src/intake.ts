// Files and folders into the service: dropped, chosen, or the sample.
import { TOO_LARGE, UNREADABLE, api, type Problem, type Receipt } from "./api";
import { button, fill, h } from "./dom";
import { many } from "./words";

const FILES = 20, BYTES = 64 * 2 ** 20; // at most, in one request
const OF_ONE = new Set([TOO_LARGE, UNREADABLE]); // problems of one file, which keep those beside it out

export interface IntakeHost {
  say: (words: string, kind?: "good" | "bad") => void;
  received: (ids: string[], show: boolean) => void; // `show`: the reader has gone nowhere else since
  pipelines: string[];
}

export class Intake {
  readonly root = h("section", { class: "intake", "aria-label": "Add images" });
  private readonly progress = h("div", { class: "progress", role: "status" });
  private readonly refused = h("div", { class: "refused-files" });
  private readonly pipeline: HTMLSelectElement;
  private readonly line: { files: File[]; pipeline: string | null }[] = []; // to be sent, in this order
  private sending: AbortController | null = null;
  private total = 0;
  private sent = 0;
  private untaken: Receipt["refused"] = [];

  constructor(private readonly host: IntakeHost) {
    const files = this.chooser("Choose files", false), folder = this.chooser("Choose a folder", true);
    const choice = (words: string, value: string): HTMLElement => h("option", { value }, words);
    this.pipeline = h("select", { id: "analyse-with" }, choice("what the rules say", ""), ...host.pipelines.map((name) => choice(name, name)));
    fill(this.root,
      h("p", { class: "drop-words" }, "Drop DICOM, PNG, JPEG, zip, or a folder"),
      h("div", { class: "actions" }, button("Files", "upload", () => files.click(), { id: "choose-files", class: "small" }), button("Folder", "folder", () => folder.click(), { class: "small" }), button("Try a sample", "sample", () => void this.sample(), { id: "sample", class: "small" })),
      h("div", { class: "row", hidden: host.pipelines.length < 2 }, h("label", { for: "analyse-with" }, "Analyse with"), this.pipeline),
      files, folder, this.progress, this.refused);
    this.takeDrops(document.body);
    window.addEventListener("beforeunload", (event) => this.sending && event.preventDefault()); // the rest would be lost
  }

  private chooser(words: string, folder: boolean): HTMLInputElement {
    const input = h("input", { type: "file", multiple: true, hidden: true, "aria-label": words, webkitdirectory: folder, onchange: () => {
      void this.send([...(input.files ?? [])]);
      input.value = "";
    } });
    return input;
  }

  /** The whole page takes what is dropped, and shows so. */
  private takeDrops(page: HTMLElement): void {
    let inside = 0;
    const carries = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
    page.addEventListener("dragenter", (event) => {
      if (carries(event)) page.classList.toggle("dropping", ++inside > 0);
    });
    page.addEventListener("dragleave", () => page.classList.toggle("dropping", (inside = Math.max(0, inside - 1)) > 0));
    page.addEventListener("dragover", (event) => event.preventDefault());
    page.addEventListener("drop", (event) => {
      event.preventDefault();
      inside = 0;
      page.classList.remove("dropping");
      if (event.dataTransfer) void filesOf(event.dataTransfer).then(({ files, refused }) => this.send(files, refused));
    });
  }

  private async sample(): Promise<void> {
    const place = location.hash;
    try {
      const { images, refused } = await api.sample();
      this.showRefused(refused);
      this.host.received(images.map((one) => one.id), location.hash === place);
    } catch (error) {
      this.host.say((error as Error).message, "bad");
    }
  }

  /** Send files, behind those that are sent already. */
  async send(files: File[], refused: Receipt["refused"] = []): Promise<void> {
    if (!files.length) return this.showRefused(refused);
    this.line.push(...[...parts(files)].map((part) => ({ files: part, pipeline: this.pipeline.value || null })));
    this.total += files.length;
    if (this.sending) {
      this.drawProgress();
      return this.showRefused(refused, true);
    }
    this.showRefused(refused);
    this.sending = new AbortController();
    const ids: string[] = [], place = location.hash, received = await this.sendAll(ids, this.sending.signal);
    const again = received ? `, ${received} of them it held already` : "";
    [this.sending, this.total, this.sent] = [null, 0, 0];
    fill(this.progress, ids.length ? `${many(ids.length, "image")} received${again}.` : "");
    this.host.received(ids, location.hash === place);
  }

  /** All of the line; how many were there before. */
  private async sendAll(ids: string[], signal: AbortSignal): Promise<number> {
    let duplicates = 0;
    for (let next = this.line.shift(); next; next = this.line.shift()) {
      this.drawProgress();
      const receipt = await this.part(next.files, next.pipeline, signal);
      this.sent += next.files.length;
      ids.push(...receipt.images.map((one) => one.id));
      duplicates += receipt.images.filter((one) => one.duplicate).length;
      if (receipt.refused.length) this.showRefused(receipt.refused, true);
    }
    return duplicates;
  }

  private drawProgress(): void {
    fill(this.progress, h("progress", { max: this.total, value: this.sent, "aria-label": "Files sent" }),
      h("div", { class: "row" }, h("span", {}, `${this.sent} of ${many(this.total, "file")} sent`), button("Stop", null, () => this.sending?.abort(), { id: "stop-sending", class: "small" })));
  }

  /** One request; where it is not taken, each of its files is said to be refused. */
  private async part(files: File[], pipeline: string | null, signal: AbortSignal): Promise<Receipt> {
    try {
      signal.throwIfAborted();
      return await api.upload(files, pipeline, signal);
    } catch (error) {
      const { status, message } = error as Problem, refused = (problem: string): Receipt => ({ images: [], refused: files.map((file) => ({ name: file.webkitRelativePath || file.name, problem })) });
      if (signal.aborted) return refused("Stopped here. Send it again if it is not in the worklist.");
      if (!OF_ONE.has(status) || files.length === 1) return refused(message);
      const each: Receipt[] = [];
      for (const file of files) each.push(await this.part([file], pipeline, signal));
      return { images: each.flatMap((one) => one.images), refused: each.flatMap((one) => one.refused) };
    }
  }

  private showRefused(refused: Receipt["refused"], more = false): void {
    this.untaken = more ? [...this.untaken, ...refused] : refused;
    if (!this.untaken.length) return fill(this.refused);
    const reasons = new Map<string, string[]>(); // a folder has many files of one reason
    for (const { name, problem } of this.untaken) reasons.set(problem, [...(reasons.get(problem) ?? []), name]);
    fill(this.refused, h("p", {}, h("span", { "aria-hidden": "true" }, "■ "), `${many(this.untaken.length, "file")} not taken:`),
      h("ul", { tabindex: 0, "aria-label": "Files not taken" }, ...[...reasons].map(([problem, names]) => h("li", {}, h("b", {}, names.join(", ")), `: ${problem}`))),
      button("Dismiss", null, () => this.showRefused([]), { class: "small" }));
  }
}

function* parts(files: File[]): Generator<File[]> {
  let part: File[] = [], bytes = 0;
  for (const file of files) {
    if (part.length && (part.length === FILES || bytes + file.size > BYTES)) {
      yield part;
      [part, bytes] = [[], 0];
    }
    part.push(file);
    bytes += file.size;
  }
  yield part;
}

interface Dropped { files: File[]; refused: Receipt["refused"] }

/** All files that were dropped, those in folders too, and what of it the browser may not read. */
async function filesOf(data: DataTransfer): Promise<Dropped> {
  const entries = [...data.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  const out: Dropped = { files: [], refused: [] };
  if (!entries.length) out.files.push(...data.files);
  for (const entry of entries) await take(entry, out);
  return out;
}

async function take(entry: FileSystemEntry, out: Dropped): Promise<void> {
  try {
    if (entry.isFile) return void out.files.push(await new Promise<File>((done, failed) => (entry as FileSystemFileEntry).file(done, failed)));
    const reader = (entry as FileSystemDirectoryEntry).createReader();
    for (;;) { // a reader gives at most a hundred at a time
      const some = await new Promise<FileSystemEntry[]>((done, failed) => reader.readEntries(done, failed));
      if (!some.length) return;
      for (const one of some) await take(one, out);
    }
  } catch (error) {
    out.refused.push({ name: entry.fullPath, problem: (error as Error).message });
  }
}
