import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SSE_MAX_EVENT, SseParser, type SseEvent } from '../src/lib/sse';

const STREAM = [
  '\uFEFF: hello\r\n\r\n',
  'id: 7\nevent: snapshot\ndata: {"a":\ndata: "节点"}\n\n',
  'data:no space\rdata\r\r',
  'retry: 1500\nevent: node\ndata:  two spaces\n\n',
  'event: empty\n\n', // no data: not dispatched, and its name does not stick
  'unknown: x\nid: 9\r\ndata: last 🎛️\r\n\r\n',
  'data: never finished',
].join('');

const WANT: SseEvent[] = [
  { event: 'snapshot', id: '7', data: '{"a":\n"节点"}' },
  { event: 'message', id: '7', data: 'no space\n' },
  { event: 'node', id: '7', data: ' two spaces' },
  { event: 'message', id: '9', data: 'last 🎛️' },
];

function parse(chunks: Uint8Array[]) {
  const events: SseEvent[] = [];
  const p = new SseParser((e) => events.push(e));
  for (const c of chunks) p.feed(c);
  return { events, p };
}

test('events are the same for every split of the bytes in two', () => {
  const bytes = new TextEncoder().encode(STREAM);
  for (let i = 0; i <= bytes.length; i++) {
    assert.deepEqual(parse([bytes.slice(0, i), bytes.slice(i)]).events, WANT, `split at ${i}`);
  }
});

test('events are the same one byte at a time', () => {
  const bytes = new TextEncoder().encode(STREAM);
  const { events, p } = parse([...bytes].map((b) => Uint8Array.of(b)));
  assert.deepEqual(events, WANT);
  assert.equal(p.retry, 1500);
  assert.equal(p.lastId, '9');
});

test('the position given at the start stays until an id comes', () => {
  const p = new SseParser(() => {}, '41');
  p.feed(new TextEncoder().encode('data: x\n\n'));
  assert.equal(p.lastId, '41');
  p.feed(new TextEncoder().encode('id: 4\0 2\ndata: x\n\n'));
  assert.equal(p.lastId, '41', 'an id with NUL is ignored');
});

test('an event without end is refused, not collected', () => {
  const p = new SseParser(() => {});
  const chunk = new Uint8Array(SSE_MAX_EVENT / 4).fill(97);
  assert.throws(() => {
    for (let i = 0; i < 6; i++) p.feed(chunk);
  }, /too large/);
});
