// What cannot be had now, since the service does not answer or says to come later: it is asked
// again by itself, later each time, and nothing that a reader sent is lost. Knows no element.

/** An answer that is no success, in the words of the service (RFC 9457). */
export class Problem extends Error {
  constructor(readonly status: number, words: string, readonly after_s = 0) {
    super(words);
  }
}

export const NO_ANSWER = 0; // as a status
const LATER = new Set([NO_ANSWER, 429, 503]);
const FIRST_MS = 1000, LONGEST_MS = 20_000;

export interface Wait {
  problem: Problem;
  change: boolean; // it was to change something: who closes the page loses it
  again: () => void;
}

const waits = new Set<Wait>();
let told: (waits: Wait[]) => void = () => undefined;

/** Tells what waits, whenever that changes. */
export function onWaits(tell: (waits: Wait[]) => void): void {
  told = tell;
  told([...waits]);
}

/** All that waits is asked for now. */
export const askNow = (): void => [...waits].forEach(({ again }) => again());

/** What `ask` answers; as long as it cannot be had, it is asked again. */
export async function patiently<T>(ask: () => Promise<T>, change: boolean, signal: AbortSignal | null | undefined): Promise<T> {
  let wait: Wait | null = null;
  try {
    for (let tries = 0; ; tries += 1) {
      try {
        return await ask();
      } catch (error) {
        if (!(error instanceof Problem && LATER.has(error.status)) || signal?.aborted) throw error;
        wait ??= { change, problem: error, again: () => undefined };
        wait.problem = error;
        waits.add(wait);
        told([...waits]);
        await pause(wait, Math.max(1000 * error.after_s, Math.min(FIRST_MS * 2 ** tries, LONGEST_MS)), signal);
      }
    }
  } finally {
    if (wait && waits.delete(wait)) told([...waits]);
  }
}

/** Not all pages at the same moment: up to a quarter longer. */
function pause(wait: Wait, ms: number, signal: AbortSignal | null | undefined): Promise<void> {
  return new Promise((go, stop) => {
    const timer = window.setTimeout(go, ms * (1 + Math.random() / 4));
    wait.again = () => {
      window.clearTimeout(timer);
      go();
    };
    signal?.addEventListener("abort", () => {
      window.clearTimeout(timer);
      stop(signal.reason);
    }, { once: true });
  });
}
