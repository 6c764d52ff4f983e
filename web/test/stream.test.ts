import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SseEvent } from '../src/lib/sse';
import { BACKOFF_MAX_MS, backoffMs, EventStream, type StreamStatus } from '../src/lib/stream';

interface Call { headers: Record<string, string> }

/** A server that answers each connection with the next script: a status, or chunks and then the end. */
function rig(scripts: (number | string[])[], onEvents: (e: SseEvent[]) => void = () => {}) {
  const calls: Call[] = [];
  const states: StreamStatus[] = [];
  const batches: SseEvent[][] = [];
  let done!: () => void;
  const ended = new Promise<void>((ok) => (done = ok));
  const stream = new EventStream({
    url: 'http://x/events', key: 'sk-1', random: () => 0.5, onByte: () => {},
    onEvents: (e) => { batches.push(e); onEvents(e); },
    onStatus: (s) => {
      states.push(s);
      if (s.kind === 'refused') done();
      if (s.kind !== 'down') return;
      if (calls.length >= scripts.length) { stream.stop(); done(); }
      else queueMicrotask(() => stream.retryNow());
    },
    fetch: (async (_url: string, init: { headers: Record<string, string>; signal: AbortSignal }) => {
      calls.push({ headers: init.headers });
      const script = scripts[calls.length - 1]!;
      if (typeof script === 'number') return new Response('', { status: script });
      return new Response(new ReadableStream({
        async start(c) {
          init.signal.addEventListener('abort', () => { try { c.error(new Error('aborted')); } catch { /* ended */ } });
          for (const s of script) {
            c.enqueue(new TextEncoder().encode(s));
            await new Promise((ok) => setTimeout(ok, 1));
          }
          try { c.close(); } catch { /* aborted */ }
        },
      }));
    }) as unknown as typeof fetch,
  });
  void stream.start();
  return { calls, states, batches, ended };
}

test('sends the key, resumes from the last id, and shows a snapshot at once', async () => {
  const r = rig([['id: 5\nevent: snapshot\nda', 'ta: {}\n\nid: 6\nevent: node\ndata: {}\n\n'], [': hi\n\n'], 401]);
  await r.ended;
  assert.equal(r.calls[0]!.headers.authorization, 'Bearer sk-1');
  assert.equal(r.calls[0]!.headers['last-event-id'], undefined);
  assert.equal(r.calls[1]!.headers['last-event-id'], '6');
  assert.deepEqual(r.batches.flat().map((e) => e.event), ['snapshot', 'node']);
  assert.deepEqual(r.states.at(-1), { kind: 'refused', status: 401 });
});

test('a refused key ends it; a server error does not', async () => {
  const r = rig([503, 403]);
  await r.ended;
  assert.equal(r.calls.length, 2);
  assert.deepEqual(r.states.filter((s) => s.kind === 'down').map((s) => s.why), ['HTTP 503']);
});

test('many deltas in a burst come as few batches', async () => {
  const burst = Array.from({ length: 50 }, (_, i) => `id: ${i}\nevent: node\ndata: {}\n\n`);
  const r = rig([burst, 401]);
  await r.ended;
  assert.equal(r.batches.flat().length, 50);
  assert.ok(r.batches.length <= 2, `${r.batches.length} batches`);
});

test('bytes that are no events of ours: connects again, for a whole snapshot', async () => {
  let bad = true;
  const r = rig([['id: 7\nevent: snapshot\ndata: x\n\n', ': wait\n\n', ': wait\n\n'], 401], () => {
    if (bad) { bad = false; throw new Error('no JSON'); }
  });
  await r.ended;
  assert.equal(r.calls.length, 2);
  assert.equal(r.calls[1]!.headers['last-event-id'], undefined);
  assert.deepEqual(r.states.filter((s) => s.kind === 'down').map((s) => s.why), ['no JSON']);
});

test('waits grow, keep apart, and have a bound', () => {
  assert.ok(backoffMs(0, 0) >= 300 && backoffMs(0, 1) <= 700);
  assert.ok(backoffMs(3, 0.5) > backoffMs(1, 0.5));
  assert.ok(backoffMs(1000, 1) <= BACKOFF_MAX_MS * 1.25);
  assert.notEqual(backoffMs(4, 0.1), backoffMs(4, 0.9));
});
