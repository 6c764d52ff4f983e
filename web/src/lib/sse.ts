// Server-sent events, parsed by ourselves: EventSource cannot send an Authorization header.
// Pure: bytes in, events out, in any split (also within a UTF-8 character or between CR and LF).

export interface SseEvent {
  event: string;
  data: string;
  id: string;
}

/** One event may not be larger than this; a snapshot of a big cluster is some MB. */
export const SSE_MAX_EVENT = 64 << 20;

export class SseParser {
  private readonly decoder = new TextDecoder('utf-8');
  private line = '';
  private skipLf = false;
  private event = '';
  private data: string[] = [];
  private size = 0;
  /** The id of the last dispatched event: sent as Last-Event-ID on reconnect. */
  lastId: string;
  private id: string;
  /** Wait before a reconnect that the server asked for, ms. */
  retry: number | undefined;

  /** `lastId`: the position so far; events without an id keep it. */
  constructor(private readonly onEvent: (e: SseEvent) => void, lastId = '') {
    this.id = this.lastId = lastId;
  }

  feed(bytes: Uint8Array): void {
    let text = this.decoder.decode(bytes, { stream: true });
    if (this.skipLf && text.length > 0) {
      if (text[0] === '\n') text = text.slice(1);
      this.skipLf = false;
    }
    let start = 0;
    for (let i = 0; i < text.length; i++) {
      const c = text[i];
      if (c !== '\n' && c !== '\r') continue;
      this.endLine(this.line + text.slice(start, i));
      this.line = '';
      if (c === '\r') {
        if (i + 1 >= text.length) this.skipLf = true;
        else if (text[i + 1] === '\n') i++;
      }
      start = i + 1;
    }
    this.line += text.slice(start);
    if (this.line.length + this.size > SSE_MAX_EVENT) throw new Error('event too large');
  }

  private endLine(line: string): void {
    if (line === '') return this.dispatch();
    const colon = line.indexOf(':');
    if (colon === 0) return; // a comment: the heartbeat
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? '' : line.slice(colon + 1);
    if (value.startsWith(' ')) value = value.slice(1);
    if (field === 'data') {
      this.data.push(value);
      this.size += value.length;
    } else if (field === 'event') this.event = value;
    else if (field === 'id' && !value.includes('\0')) this.id = value;
    else if (field === 'retry' && /^\d+$/.test(value)) this.retry = Number(value);
  }

  private dispatch(): void {
    this.lastId = this.id;
    if (this.data.length > 0) {
      this.onEvent({ event: this.event || 'message', data: this.data.join('\n'), id: this.id });
    }
    this.event = '';
    this.data = [];
    this.size = 0;
  }
}
