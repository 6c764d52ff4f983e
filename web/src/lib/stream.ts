// The one event stream of the page: fetch with the key, parse, coalesce, reconnect with back-off.
import { SseParser, type SseEvent } from './sse';

export type StreamStatus =
  | { kind: 'connecting' }
  | { kind: 'live' }
  | { kind: 'down'; why: string; retryAt: number }
  | { kind: 'refused'; status: number };

export interface StreamOpts {
  url: string;
  key: string;
  onEvents: (events: SseEvent[]) => void; // throws when the bytes are no events of ours
  onStatus: (s: StreamStatus) => void;
  onByte: (at: number) => void;
  fetch?: typeof fetch;
  random?: () => number;
}

/** Updates are applied at most four times a second; more is only noise to the eye. */
export const COALESCE_MS = 250;
/** The server sends at least a comment each 15 s; two missed and a bit mean that nobody is there. */
export const SILENCE_MS = 35_000;
export const BACKOFF_MAX_MS = 15_000;

export function backoffMs(attempt: number, random: number): number {
  const base = Math.min(BACKOFF_MAX_MS, 500 * 2 ** Math.min(attempt, 10));
  return Math.round(base * (0.75 + random / 2));
}

export class EventStream {
  private attempt = 0;
  private lastId = '';
  private stopped = false;
  private why = '';
  private abort: AbortController | null = null;
  private queue: SseEvent[] = [];
  private flushTimer: ReturnType<typeof setTimeout> | null = null;
  private silenceTimer: ReturnType<typeof setTimeout> | null = null;
  private wake: (() => void) | null = null;

  constructor(private readonly o: StreamOpts) {}

  async start(): Promise<void> {
    while (!this.stopped) {
      this.o.onStatus({ kind: 'connecting' });
      const why = await this.once();
      this.clearTimers();
      if (this.stopped) return;
      if (why === 401 || why === 403) {
        this.stopped = true;
        return this.o.onStatus({ kind: 'refused', status: why });
      }
      const wait = backoffMs(this.attempt++, (this.o.random ?? Math.random)());
      this.o.onStatus({ kind: 'down', why: String(why), retryAt: performance.now() + wait });
      await new Promise<void>((done) => {
        this.wake = done;
        setTimeout(done, wait);
      });
    }
  }

  stop(): void {
    this.stopped = true;
    this.abort?.abort();
    this.clearTimers();
    this.wake?.();
  }

  retryNow(): void {
    this.wake?.();
  }

  /** One connection, to its end. Gives the reason: an HTTP status or a sentence. */
  private async once(): Promise<number | string> {
    this.abort = new AbortController();
    this.why = '';
    const headers: Record<string, string> = { authorization: `Bearer ${this.o.key}`, accept: 'text/event-stream' };
    if (this.lastId !== '') headers['last-event-id'] = this.lastId;
    try {
      this.watchSilence();
      const res = await (this.o.fetch ?? fetch)(this.o.url, { headers, signal: this.abort.signal, cache: 'no-store' });
      if (!res.ok || !res.body) {
        await res.body?.cancel();
        return res.status === 401 || res.status === 403 ? res.status : `HTTP ${res.status}`;
      }
      this.o.onStatus({ kind: 'live' });
      await this.read(res.body.getReader());
      return 'closed';
    } catch (e) {
      if (this.abort.signal.aborted && this.why) return this.why;
      // What fetch throws when there is no answer; each browser has its own sentence for it.
      if (e instanceof TypeError) return 'unreachable';
      return e instanceof Error ? e.message : String(e);
    }
  }

  private async read(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
    const parser = new SseParser((e) => this.queue.push(e), this.lastId);
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      this.watchSilence();
      this.o.onByte(performance.now());
      parser.feed(value);
      // The first events are shown at once, the rest in batches.
      if (this.queue.some((e) => e.event === 'snapshot')) this.flush(parser);
      else if (this.queue.length > 0 && this.flushTimer === null) {
        this.flushTimer = setTimeout(() => this.flush(parser), COALESCE_MS);
      }
    }
    this.flush(parser);
  }

  private flush(parser: SseParser): void {
    if (this.flushTimer !== null) clearTimeout(this.flushTimer);
    this.flushTimer = null;
    const events = this.queue;
    this.queue = [];
    if (events.length === 0 || this.stopped) return;
    try {
      this.o.onEvents(events);
      this.lastId = parser.lastId;
      this.attempt = 0;
    } catch (e) {
      // Not our protocol, or a delta that does not apply: forget the position and ask for a snapshot.
      this.lastId = '';
      this.cut(e instanceof Error ? e.message : String(e));
    }
  }

  private watchSilence(): void {
    if (this.silenceTimer !== null) clearTimeout(this.silenceTimer);
    this.silenceTimer = setTimeout(() => this.cut('silent'), SILENCE_MS);
  }

  private cut(why: string): void {
    this.why = why;
    this.abort?.abort();
  }

  private clearTimers(): void {
    if (this.flushTimer !== null) clearTimeout(this.flushTimer);
    if (this.silenceTimer !== null) clearTimeout(this.silenceTimer);
    this.flushTimer = this.silenceTimer = null;
    this.queue = [];
  }
}
