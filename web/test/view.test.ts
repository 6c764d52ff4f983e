import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applyEvents, emptyState } from '../src/lib/reduce';
import { assignColors, makeView, measuredError, N_COLORS, sumBytes } from '../src/lib/view';
import type { Assignment, Node, Part, Replica } from '../src/lib/wire';
// @ts-expect-error: plain JavaScript, shared with the browser tests
import { scenes } from '../../tests/ui/scenes.mjs';

const GiB = 2 ** 30;
const viewOf = (doc: unknown) => makeView(applyEvents(emptyState, [{ event: 'snapshot', id: '1', data: JSON.stringify(doc) }], 0));

function node(id: string, name: string, gpus: number, o: Partial<Node> = {}): Node {
  return {
    id, name, state: 'ready', ram_bytes: 64 * GiB, ram_free_bytes: 60 * GiB, ...o,
    devices: Array.from({ length: gpus }, (_, index) => ({
      uuid: `${id}-g${index}`, index, name: 'RTX', total_bytes: 24 * GiB, free_bytes: 23 * GiB,
    })),
  };
}
function part(n: Node, gpu: number | null, first: number, count: number, weights: number): Part {
  return {
    node_id: n.id, node: n.name, uuid: gpu === null ? '' : `${n.id}-g${gpu}`, index: gpu ?? 0, first_layer: first, n_layers: count,
    weights_bytes: weights, kv_bytes: GiB, compute_bytes: GiB, runtime_bytes: gpu === null ? 0 : GiB,
  };
}
const assignment = (main: Node, parts: Part[], o: Partial<Assignment> = {}): Assignment => ({
  main_id: main.id, main_node: main.name, n_layers: 10, ctx: 4096, n_slots: 2, parts, ...o,
});
const replica = (a: Assignment | null, o: Partial<Replica> = {}): Replica => ({
  id: 'r1', deployment: 'm', index: 0, state: 'ready', assignment: a, ...o,
});

test('every byte of a device is in its bar once', () => {
  for (const name of ['mixed', 'three', 'one', 'big', 'hostile']) {
    for (const rack of viewOf(scenes[name]()).racks) {
      for (const b of rack.bars) {
        const sum = b.segments.reduce((n, s) => n + s.bytes, 0);
        assert.equal(sum, b.total + b.over, `${name} ${b.label}`);
        assert.ok(b.segments.every((s) => s.bytes > 0), `${name} ${b.label}: no empty segment`);
      }
    }
  }
});

test('stages keep the order of the assignment, with CPU layers first', () => {
  const [hill, dale] = [node('n1', 'hill', 2), node('n2', 'dale', 1)];
  const a = assignment(hill, [part(dale, 0, 2, 3, GiB), part(hill, 1, 5, 3, GiB), part(hill, 0, 8, 2, GiB)],
    { n_cpu_layers: 2, host_weights_bytes: 3 * GiB, host_kv_bytes: GiB });
  const v = viewOf({ nodes: [hill, dale], deployments: [], replicas: [replica(a)] });
  const stages = v.models[0]!.replicas[0]!.stages;
  assert.deepEqual(stages.map((s) => [s.n, s.deviceKey, s.first, s.count]), [
    [1, 'n1/ram', 0, 2], [2, 'n2/n2-g0', 2, 3], [3, 'n1/n1-g1', 5, 3], [4, 'n1/n1-g0', 8, 2],
  ]);
  assert.equal(v.models[0]!.replicas[0]!.bytes, 4 * GiB + 3 * 4 * GiB);
});

test('other processes are live use beyond ours; measured bytes replace planned ones', () => {
  const hill = node('n1', 'hill', 1);
  hill.devices[0]!.free_bytes = 4 * GiB;
  const r = replica(assignment(hill, [part(hill, 0, 0, 10, 10 * GiB)]), {
    measured: [{ part: 0, weights_bytes: 10 * GiB, kv_bytes: GiB, compute_bytes: 2 * GiB }],
  });
  const bar = viewOf({ nodes: [hill], deployments: [], replicas: [r] }).racks[0]!.bars[0]!;
  const by = Object.fromEntries(bar.segments.map((s) => [s.kind, s.bytes / GiB]));
  assert.deepEqual(by, { weights: 10, kv: 1, compute: 2, runtime: 1, other: 6, free: 4 });
  assert.equal(measuredError(bar.stages[0]!), 13 / 12 - 1);
  assert.equal(sumBytes(bar.stages[0]!.planned), 13 * GiB);
});

test('claims of a model still loading are shown; claims beyond the device are over-commitment', () => {
  const hill = node('n1', 'hill', 1);
  const r = replica(assignment(hill, [part(hill, 0, 0, 10, 25 * GiB)]), { state: 'starting' });
  const bar = viewOf({ nodes: [hill], deployments: [], replicas: [r] }).racks[0]!.bars[0]!;
  assert.equal(bar.stages[0]!.loading, true);
  assert.equal(bar.over, 4 * GiB);
  assert.equal(bar.used, 28 * GiB);
  assert.equal(bar.free, 0);
});

test('memory is drawn as long as it is claimed, also of a failed replica whose engines still stop', () => {
  const hill = node('n1', 'hill', 1);
  const a = assignment(hill, [part(hill, 0, 0, 1, GiB)]);
  for (const [state, given, stages] of [
    ['failed', a, 1], ['lost', a, 1], ['draining', a, 1], ['failed', null, 0], ['pending', null, 0], ['gone', a, 0]] as const) {
    const v = viewOf({ nodes: [hill], deployments: [{ name: 'm' }], replicas: [replica(given, { state })] });
    assert.equal(v.racks[0]!.bars[0]!.stages.length, stages, state);
  }
});

for (const [want, wanted, states] of [
  ['ready', 1, ['ready']], ['ready', 2, ['ready', 'ready']], ['degraded', 2, ['ready', 'failed']], ['starting', 2, ['pending', 'starting']],
  ['pending', 1, ['pending']], ['pending', 1, []], ['stopped', 0, []], ['failed', 1, ['failed']], ['draining', 0, ['draining']],
] as const) {
  test(`${wanted} wanted, [${states.join(' ')}] is ${want}`, () => {
    const v = viewOf({
      nodes: [], deployments: [{ name: 'm', spec: { replicas: wanted } }],
      replicas: states.map((state, index) => replica(null, { id: `r${index}`, index, state })),
    });
    assert.equal(v.models[0]!.state, want);
  });
}

test('progress is that of the slowest member; the reason of a waiting replica is shown', () => {
  const hill = node('n1', 'hill', 1);
  const r = replica(assignment(hill, [part(hill, 0, 0, 10, GiB)]), {
    state: 'starting', members: [
      { node_id: 'n1', state: 'loading', percent: 70 }, { node_id: 'n2', state: 'loading', percent: 30 }, { node_id: 'n3', state: 'up', percent: 0 }],
  });
  const wait = replica(null, { id: 'r2', deployment: 'w', state: 'pending', reason: { code: 'NO_PLACEMENT', message: '5.9 GiB short' } });
  const v = viewOf({ nodes: [hill], deployments: [{ name: 'm' }, { name: 'w' }], replicas: [r, wait] });
  assert.equal(v.models[0]!.percent, 30);
  assert.equal(v.models[0]!.phase, 'loading');
  assert.deepEqual(v.models[1]!.reason, { code: 'NO_PLACEMENT', message: '5.9 GiB short' });
});

test('the page stands documents of another version with fields missing', () => {
  const v = viewOf({
    nodes: [{ id: 'n1', name: 'bare' }], deployments: [{ name: 'm' }],
    replicas: [{ id: 'r', deployment: 'm', index: 0, state: 'ready', assignment: { main_id: 'n1', parts: [{ node_id: 'gone' }] } }],
  });
  assert.equal(v.racks.length, 1);
  assert.equal(v.racks[0]!.bars.length, 0);
  assert.equal(v.totals.gpus, 0);
});

test('colours: alike whatever the order, even when there are more models than colours', () => {
  const names = Array.from({ length: 20 }, (_, i) => `model-${i}`);
  const a = assignColors(names);
  assert.deepEqual([...assignColors([...names].reverse()).entries()], [...a.entries()]);
  const uses = new Array<number>(N_COLORS).fill(0);
  for (const c of a.values()) uses[c]!++;
  assert.ok(Math.max(...uses) - Math.min(...uses) <= 1, `spread evenly: ${uses}`);
});
