// Files and folders into the service: dropped, chosen, or the sample.
import { api, type Receipt } from "./api";
import { button, fill, h } from "./dom";
import { many } from "./words";

const FILES = 20, BYTES = 64 * 2 ** 20; // at most, in one request

export interface IntakeHost {
  say: (words: string, kind?: "good" | "bad") => void;
  received: (ids: string[]) => void;
  pipelines: string[];
}

export class Intake {
  readonly root = h("section", { class: "intake", "aria-label": "Add images" });
  private readonly progress = h("div", { class: "progress", role: "status" });
  private readonly refused = h("div", { class: "refused-files" });
  private readonly pipeline: HTMLSelectElement;
  private sending = false;

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
    window.addEventListener("beforeunload", (event) => this.sending && event.preventDefault()); // the rest would not be sent
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
    try {
      this.took(await api.sample());
    } catch (error) {
      this.host.say((error as Error).message, "bad");
    }
  }

  async send(files: File[], refused: Receipt["refused"] = []): Promise<void> {
    if (!files.length) return this.showRefused(refused);
    if (this.sending) return this.host.say("Wait until the files before are sent.", "bad");
    this.sending = true;
    const total = files.length, ids: string[] = [];
    let sent = 0, duplicates = 0;
    fill(this.refused);
    try {
      for (const part of parts(files)) {
        fill(this.progress, h("progress", { max: total, value: sent, "aria-label": "Files sent" }), ` ${sent} of ${many(total, "file")} sent`);
        const receipt = await this.part(part);
        sent += part.length;
        ids.push(...receipt.images.map((one) => one.id));
        duplicates += receipt.images.filter((one) => one.duplicate).length;
        refused.push(...receipt.refused);
      }
    } finally {
      this.sending = false;
    }
    const again = duplicates ? `, ${duplicates} of ${ids.length} held before` : "";
    fill(this.progress, ids.length ? `${many(ids.length, "image")} received${again}.` : "");
    this.showRefused(refused);
    this.host.received(ids);
  }

  /** One request; where it is not taken, each of its files is said to be refused. */
  private async part(files: File[]): Promise<Receipt> {
    try {
      return await api.upload(files, this.pipeline.value || null);
    } catch (error) {
      return { images: [], refused: files.map((file) => ({ name: file.webkitRelativePath || file.name, problem: (error as Error).message })) };
    }
  }

  private took(receipt: Receipt): void {
    this.showRefused(receipt.refused);
    this.host.received(receipt.images.map((one) => one.id));
  }

  private showRefused(refused: Receipt["refused"]): void {
    if (!refused.length) return fill(this.refused);
    const reasons = new Map<string, string[]>(); // a folder has many files of one reason
    for (const { name, problem } of refused) reasons.set(problem, [...(reasons.get(problem) ?? []), name]);
    fill(this.refused, h("p", {}, h("span", { "aria-hidden": "true" }, "■ "), `${many(refused.length, "file")} not taken:`),
      h("ul", { tabindex: 0, "aria-label": "Files not taken" }, ...[...reasons].map(([problem, names]) => h("li", {}, h("b", {}, names.join(", ")), `: ${problem}`))),
      button("Dismiss", null, () => fill(this.refused), { class: "small" }));
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
