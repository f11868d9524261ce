// The REST API as the page uses it: types and calls. Knows no element.
import { NO_ANSWER, Problem, patiently } from "./patience";

export { Problem };

export type State = "received" | "checked" | "analysed" | "refused" | "failed";
export type Priority = "routine" | "high" | "stat";
export type Time = number | string | null;
export type Box = [number, number, number, number];
export type Verdict = "accept" | "reject" | "redraw" | "add" | "comment";

export interface Summary {
  id: string; study: string | null; name: string | null; state: State; reason: string | null; planned: boolean;
  received: Time; analysed: Time; origin: string; modality: string | null; view: string | null;
  priority: Priority; score: number | null; finding: boolean | null;
  patient: { id: string | null; name: string | null } | null; study_date: string | null;
  pipeline: string | null; deliveries: { waiting: number; delivered: number; dead: number };
  feedback: number; prior: string | null;
}

export interface Finding { id: string; label: string; score: number; box_px: Box }

export interface PointJson { threshold: number; reason: string; chosen_on: string; score: string; achieved: Record<string, number>; assumes: string }

/** A document of schema hilum.findings/1 with one image. */
export interface Result {
  pipeline: { name: string; version: string; operating_points: Record<string, PointJson>; calibrated_on: string; fingerprint: string };
  images: {
    width: number; height: number; scores: Record<string, number>; findings: Finding[]; warnings: string[];
    outlines: Record<string, string>; masks: Record<string, string>; files: Record<string, string>; declined: Record<string, string>;
  }[];
  studies: { scores: Record<string, number> }[];
}

export interface Feedback {
  by: string; at: Time; verdict: Verdict; pipeline: string | null; finding: string | null;
  boxes: Box[] | null; label: string | null; comment: string | null;
}

export interface Delivery { id: string; destination: string; object: string; state: string; reason: string | null }

export interface Detail extends Omit<Summary, "deliveries" | "feedback"> {
  size: [number, number] | null; spacing: [number, number] | null; inverted: boolean; warnings: string[];
  results: Record<string, Result>; history: { at: Time; what: string }[];
  feedback: Feedback[]; deliveries: Delivery[];
}

export interface Point {
  name: string; threshold: number; aim: string; meaning?: string | null; false_marks_per_100?: number | null;
  score?: string; chosen_on?: string; sensitivity?: number | null; precision?: number | null;
}

export interface Status {
  version: string; notice: string;
  pipelines: { name: string; about: string; default: boolean; outputs: string[]; operating_points: Point[]; problem: string | null }[];
  disk: { used: number; limit: number | null } | null; user: { name: string; role: string } | null;
}

export interface Receipt {
  images: { id: string; state: State; name: string | null; duplicate: boolean }[];
  refused: { name: string; problem: string }[];
}

/** What a score rests on: how far hiding a part of the image lowers it. */
export interface Heat { bundle: string; method: string; score: string; value: number; strongest: number; positions: number; map: number[][] }

/** What an administrator is shown. */
export interface Administration {
  users: { name: string; role: string; configured: boolean }[]; provider: string | null;
  rules: { when: Record<string, string>; pipelines: string[]; shadow: string[]; destinations: string[]; priority: Priority; reached: boolean }[];
  destinations: {
    name: string; address: string; objects: string[]; deidentified: boolean; verified_by: string;
    deliveries: { waiting: number; delivered: number; dead: number }; last_delivered: Time; waits_s: number | null; reason: string | null;
  }[];
  dead_letters: { id: string; image: string; destination: string; object: string; reason: string | null; changed: Time }[];
}

export interface Shadow {
  studies: number; needed: number; shift: { p05: number | null; median: number | null; p95: number | null }; fingerprint: string | null;
  finding_only_shown: number; finding_only_shadow: number; accepted: { by: string; at: Time } | null;
}

export interface Monitor {
  refusal_rate: number | null; failure_rate: number | null;
  drift: { ready: boolean; reference: number; needed: number; block: number; blocks: { number: number; alarms: string[] }[]; alarm: boolean };
  agreement: Record<string, { accepted: number | null; interval: [number, number] | null }>; shadow: Record<string, Shadow>;
}

export interface Trail { whole: boolean; entries: number | null; head: string | null; problem: string | null }

export interface Pixels { rows: number; columns: number; values: Uint16Array }

const BASE = "api/v1";
const SESSION = "/session";
const AGAIN_MS = 3000;
export const UNREADABLE = -1, TOO_LARGE = 413; // as a status

let whenExpired: (() => Promise<void>) | null = null;

/** What every call does first where the session has ended: `ask` for the log-in, then the call goes on. */
export function onExpiry(ask: () => Promise<void>): void {
  whenExpired = ask;
}

/** Patiently; where the session has ended, after the log-in. */
async function answer(path: string, init: RequestInit = {}, send = once): Promise<Response> {
  try {
    return await patiently(() => send(path, init), (init.method ?? "GET") !== "GET", init.signal);
  } catch (error) {
    if ((error as Problem).status !== 401 || !whenExpired || path === SESSION) throw error;
    await whenExpired();
    return answer(path, init, send);
  }
}

async function once(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  const csrf = /(?:^|;\s*)hilum_csrf=([^;]+)/.exec(document.cookie)?.[1];
  if (csrf) headers.set("X-Hilum-CSRF", decodeURIComponent(csrf));
  let response: Response;
  try {
    response = await fetch(`${BASE}${path}`, { ...init, headers });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new Problem(NO_ANSWER, "The service does not answer. Is `hilum serve` still running?");
  }
  if (!response.ok) throw new Problem(response.status, await wordsOf(response), Number(response.headers.get("Retry-After")) || 0);
  return response;
}

async function wordsOf(response: Response): Promise<string> {
  try {
    const { title, detail } = (await response.json()) as { title?: string; detail?: string };
    const words = [detail, title].find((one) => typeof one === "string" && one);
    if (words) return words;
  } catch { /* no JSON: the status says it */ }
  return `${response.status} ${response.statusText}`;
}

const json = async <T>(path: string, init?: RequestInit): Promise<T> => (await answer(path, init)).json() as Promise<T>;

/** Bytes that were chosen and can be read no more fail as if the service were away. */
async function readable(files: File[]): Promise<void> {
  await Promise.all(files.map((file) => file.slice(0, 1).arrayBuffer())).catch(() => {
    throw new Problem(UNREADABLE, "It has changed or gone since it was chosen. Choose it again.");
  });
}

const fileAt = (id: string, kind: string, pipeline: string): string => `/images/${id}/files/${kind}?pipeline=${encodeURIComponent(pipeline)}`;

const sent = (method: string, body: unknown): RequestInit => ({ method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const api = {
  /** Pipelines that cannot be used are not offered; `hilum serve --check` says why. */
  status: () => json<Status>("/status").then((one) => ({ ...one, pipelines: one.pipelines.filter(({ problem }) => problem === null) })),
  images: (query: URLSearchParams, signal?: AbortSignal) => json<{ items: Summary[]; total: number; page: number; per_page: number }>(`/images?${query}`, { signal: signal ?? null }),
  image: (id: string, signal?: AbortSignal) => json<Detail>(`/images/${id}`, { signal: signal ?? null }),
  feedback: (id: string) => json<Feedback[] | { items: Feedback[] }>(`/images/${id}/feedback`).then((got) => (Array.isArray(got) ? got : got.items)),
  say: (id: string, feedback: Omit<Feedback, "by" | "at">) => json<Feedback>(`/images/${id}/feedback`, sent("POST", feedback)),
  sample: () => json<Receipt>("/sample", { method: "POST" }),
  analyse: (id: string, pipeline: string) => answer(`/images/${id}/analyse`, sent("POST", { pipeline })),
  retry: (id: string) => answer(`/images/${id}/retry`, { method: "POST" }),
  retryDelivery: (id: string) => answer(`/deliveries/${id}/retry`, { method: "POST" }),
  priority: (id: string, priority: Priority) => answer(`/images/${id}`, sent("PATCH", { priority })),
  administration: () => json<Administration>("/admin"),
  monitor: () => json<Monitor>("/monitor"),
  verifyTrail: () => json<Trail>("/admin/audit/verify", { method: "POST" }),
  newReference: () => answer("/monitor/reference", { method: "POST" }),
  acceptShadow: (pipeline: string) => answer(`/monitor/shadow/${encodeURIComponent(pipeline)}/accept`, { method: "POST" }),
  withdrawShadow: (pipeline: string) => answer(`/monitor/shadow/${encodeURIComponent(pipeline)}/accept`, { method: "DELETE" }),
  session: () => json<{ name: string; role: string }>(SESSION),
  ways: () => json<{ password: boolean; provider: string | null }>("/session/ways"),
  providerLogIn: `${BASE}/session/oidc`,
  logIn: (name: string, password: string) => once(SESSION, sent("POST", { name, password })), // who waits here is to know
  logOut: () => answer(SESSION, { method: "DELETE" }),
  picture: (id: string, width: number) => `${BASE}/images/${id}/picture?width=${width}`,
  pictureLater: (id: string, width: number) => answer(`/images/${id}/picture?width=${width}`).then((response) => response.blob()),
  file: (id: string, kind: string, pipeline: string) => BASE + fileAt(id, kind, pipeline),
  /** What `file` leads to, with the name that the service gives it. */
  async download(id: string, kind: string, pipeline: string): Promise<File> {
    const response = await answer(fileAt(id, kind, pipeline)), name = /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition") ?? "")?.[1];
    return new File([await response.blob()], name ?? kind);
  },
  /** null: not made yet. */
  async heatmap(id: string, pipeline: string, signal?: AbortSignal): Promise<Heat | null> {
    const response = await answer(`/images/${id}/heatmap?pipeline=${encodeURIComponent(pipeline)}`, { signal: signal ?? null });
    return response.status === 204 ? null : ((await response.json()) as Heat);
  },
  askHeatmap: (id: string, pipeline: string) => answer(`/images/${id}/heatmap?pipeline=${encodeURIComponent(pipeline)}`, { method: "POST" }),
  async upload(files: File[], pipeline: string | null, signal: AbortSignal): Promise<Receipt> {
    const form = new FormData();
    for (const file of files) form.append("files", file, file.webkitRelativePath || file.name);
    if (pipeline) form.append("pipeline", pipeline);
    const send = async (path: string, init: RequestInit = {}): Promise<Response> => (await readable(files), once(path, init));
    return (await answer("/images", { method: "POST", body: form, signal }, send)).json() as Promise<Receipt>;
  },
  /** Grey values 0 to 65535, air dark, row by row, as the radiograph was read. */
  async pixels(id: string, signal: AbortSignal): Promise<Pixels> {
    const response = await answer(`/images/${id}/pixels`, { signal });
    const rows = Number(response.headers.get("X-Rows")), columns = Number(response.headers.get("X-Columns"));
    const values = new Uint16Array(await response.arrayBuffer());
    if (!rows || !columns || values.length !== rows * columns) throw new Problem(0, `Pixels came incomplete: ${values.length} for ${columns} × ${rows}. Open the image again.`);
    return { rows, columns, values };
  },
  /** Calls back at each change of an image, for as long as the page is seen (a browser has six
   * connections to a host, for all its tabs); `open` tells whether the line stands. */
  events(changed: (change: { id: string; state: State }) => void, open: (stands: boolean) => void): void {
    let source: EventSource | null = null;
    const stop = (): void => source?.close();
    const listen = (): void => {
      stop();
      if (document.hidden) return;
      const line = (source = new EventSource(`${BASE}/events`));
      line.addEventListener("image", (event) => changed(JSON.parse((event as MessageEvent<string>).data)));
      line.addEventListener("open", () => open(true));
      line.addEventListener("error", () => {
        open(false);
        if (line.readyState === EventSource.CLOSED) window.setTimeout(again, AGAIN_MS);
      });
    };
    // A line that was refused stays closed. Where the session has ended, this asks for the log-in.
    const again = (): void => void json("/images?per_page=1").then(listen, () => window.setTimeout(again, AGAIN_MS));
    document.addEventListener("visibilitychange", () => (document.hidden ? stop() : listen()));
    listen();
  },
};
