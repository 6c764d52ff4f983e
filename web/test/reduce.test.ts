import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applyEvents, BadEvent, emptyState } from '../src/lib/reduce';

const ev = (event: string, doc: unknown, id = '') => ({ event, id, data: typeof doc === 'string' ? doc : JSON.stringify(doc) });
const snapshot = ev('snapshot', {
  nodes: [{ id: 'n1', name: 'hill' }, { id: 'n2', name: 'dale' }],
  deployments: [{ id: 'd1', name: 'm' }], replicas: [{ id: 'r1', deployment: 'm', state: 'pending' }],
}, '10');

test('a snapshot fills the state, deltas replace whole objects', () => {
  const a = applyEvents(emptyState, [snapshot], 5);
  assert.equal(a.loaded, true);
  assert.deepEqual([...a.nodes.keys()], ['n1', 'n2']);
  const b = applyEvents(a, [ev('replica', { id: 'r1', deployment: 'm', state: 'ready' }, '11')], 9);
  assert.equal(b.replicas.get('r1')?.doc.state, 'ready');
  assert.equal(b.replicas.get('r1')?.at, 9);
  assert.equal(b.revision, '11');
  assert.equal(a.replicas.get('r1')?.doc.state, 'pending', 'the old state is untouched');
  assert.equal(b.nodes, a.nodes, 'maps nobody touched keep their identity');
});

test('deleted objects go, unknown ones come', () => {
  const a = applyEvents(emptyState, [snapshot], 0);
  const b = applyEvents(a, [
    ev('node', { id: 'n2', name: 'dale', deleted: true }), ev('node', { id: 'n3', name: 'fern' }),
    ev('deployment', { name: 'm', deleted: true }), ev('replica', { id: 'r1', deleted: true }),
  ], 0);
  assert.deepEqual([...b.nodes.keys()], ['n1', 'n3']);
  assert.equal(b.deployments.size, 0);
  assert.equal(b.replicas.size, 0);
});

test('a snapshot in the middle of a batch wins over what came before it, not over what follows', () => {
  const b = applyEvents(emptyState, [snapshot, ev('node', { id: 'old' }), snapshot, ev('node', { id: 'new' })], 0);
  assert.deepEqual([...b.nodes.keys()], ['n1', 'n2', 'new']);
});

test('events of later versions are passed over', () => {
  const a = applyEvents(emptyState, [snapshot], 0);
  assert.equal(applyEvents(a, [ev('weather', 'not even json')], 0), a);
});

for (const [name, e] of Object.entries({
  'broken JSON': ev('node', '{"id":'), 'a list': ev('node', []), 'no id': ev('replica', { state: 'ready' }),
  'nodes not a list': ev('snapshot', { nodes: {} }), 'null': ev('snapshot', 'null'),
})) {
  test(`bad event: ${name}`, () => assert.throws(() => applyEvents(emptyState, [e], 0), BadEvent));
}
