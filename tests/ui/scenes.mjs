// Made-up clusters for the mock server: documents exactly as docs/api.md has them.
const MiB = 2 ** 20;
const GiB = 2 ** 30;

function node(id, name, o = {}) {
  return {
    id, name, addr: `10.0.0.${id.replace(/\D/g, '') || 1}:7001`, state: 'ready', reason: '', version: '0.1.0',
    engine: 'llama.cpp b11669 cuda', ram_bytes: 64 * GiB, ram_free_bytes: 58 * GiB, n_cpus: 32, seen_ms: 400, devices: [], ...o,
  };
}

function gpus(nodeId, name, total, bandwidth, n, o = {}) {
  return Array.from({ length: n }, (_, index) => ({
    uuid: `GPU-${nodeId}-${index}`, index, name, kind: 'gpu', backend: 'cuda', total_bytes: total * GiB,
    free_bytes: total * GiB - 410 * MiB, claimed_bytes: 0, bandwidth_bytes_per_s: bandwidth * 1e9, hbm: bandwidth > 900,
    util_percent: 0, temp_c: 38, power_w: 27, ...o,
  }));
}

/** Spreads n_layers over the devices [node, index, n] in order; bytes per layer as given. */
function assignment(nodes, mainName, devices, o) {
  const main = nodes.find((n) => n.name === mainName);
  let first = o.n_cpu_layers ?? 0;
  const parts = devices.map(([name, index, count], i) => {
    const n = nodes.find((x) => x.name === name);
    const d = index === null ? null : n.devices[index];
    const output = i === devices.length - 1;
    const part = {
      node_id: n.id, node: name, uuid: d ? d.uuid : '', index: index ?? 0, device_name: d ? d.name : 'CPU',
      backend: d ? 'cuda' : 'cpu', first_layer: first, n_layers: count, output, free_bytes: d ? d.free_bytes : n.ram_free_bytes,
      weights_bytes: Math.round(count * o.layer + (output ? o.output : 0)), kv_bytes: Math.round(count * o.kv),
      compute_bytes: o.compute ?? 420 * MiB, runtime_bytes: d ? 600 * MiB : 0,
    };
    first += count;
    return part;
  });
  return {
    plan_id: o.plan, engine: 'llama.cpp', main_id: main.id, main_node: main.name, n_layers: first, n_blocks: first,
    n_cpu_layers: o.n_cpu_layers ?? 0, n_cpu_moe: o.n_cpu_moe ?? 0, ctx: o.ctx * (o.slots ?? 1), n_slots: o.slots ?? 1,
    ubatch: 512, kv: o.kvType ?? 'f16', host_weights_bytes: o.host ?? 650 * MiB,
    host_kv_bytes: Math.round((o.n_cpu_layers ?? 0) * o.kv), host_compute_bytes: 24 * MiB, tok_s: o.tok, parts,
  };
}

function replica(id, deployment, a, o = {}) {
  const state = o.state ?? 'ready';
  const live = state === 'ready';
  return {
    id, deployment, name: `${deployment}/${o.index ?? 0}`, index: o.index ?? 0, generation: 1, state,
    reason: o.reason ?? { code: '', message: '' }, since_ms: o.since ?? 7_512_000, restarts: o.restarts ?? 0, backoff_ms: 0,
    ctx: a?.ctx ?? 0, n_slots: a?.n_slots ?? 1, assignment: a,
    members: [...new Map((a?.parts ?? []).map((p) => [p.node_id, p.node]))].map(([node_id, name]) => ({
      node_id, node: name, state: o.member ?? (live ? (node_id === a.main_id ? 'ready' : 'up') : 'starting'), percent: o.percent ?? 0, message: '',
    })),
    measured: live ? a.parts.map((p, part) => ({
      part, weights_bytes: p.weights_bytes, kv_bytes: p.kv_bytes, compute_bytes: Math.round(p.compute_bytes * (0.93 + (part % 3) * 0.06)),
    })) : [],
    tok_s: o.tok ?? 0, requests: o.requests ?? 0,
  };
}

const deployment = (name, o = {}) => ({
  id: `d-${name}`, name, revision: 1, model: {},
  spec: { name, model: `/models/${name}.gguf`, ctx: 8192, n_slots: 1, kv: 'f16', replicas: 1, policy: 'tiered', ...o },
});

/** Free memory as the drivers would report it, with our loaded models in it. */
function settle(nodes, replicas) {
  for (const r of replicas) {
    if (!r.assignment || r.state === 'assigned' || r.state === 'pending') continue;
    const share = r.state === 'ready' ? 1 : 0.4;
    for (const p of r.assignment.parts) {
      const n = nodes.find((x) => x.id === p.node_id);
      const used = Math.round((p.weights_bytes + p.kv_bytes + p.compute_bytes + p.runtime_bytes) * share);
      const d = n.devices.find((x) => x.uuid === p.uuid);
      if (d) {
        d.free_bytes = Math.max(0, d.free_bytes - used);
        d.claimed_bytes += used;
        Object.assign(d, { util_percent: 34 + ((p.first_layer * 7) % 50), temp_c: 58 + (p.first_layer % 20), power_w: 214 });
      } else n.ram_free_bytes = Math.max(0, n.ram_free_bytes - used);
    }
    const main = nodes.find((x) => x.id === r.assignment.main_id);
    main.ram_free_bytes -= r.assignment.host_weights_bytes + r.assignment.host_compute_bytes;
  }
}

function mixed() {
  const nodes = [
    node('n1', 'host01-3090', { devices: gpus('n1', 'RTX 3090', 24, 936, 8) }),
    node('n2', 'host02-3090', { devices: gpus('n2', 'RTX 3090', 24, 936, 8), state: 'drained', reason: 'psu swap (anna)' }),
    node('n3', 'host03-3090', { devices: gpus('n3', 'RTX 3090', 24, 936, 8), ram_bytes: 1500 * GiB, ram_free_bytes: 1440 * GiB, n_cpus: 128 }),
    node('n4', 'host01-v100', { devices: gpus('n4', 'V100', 32, 900, 2), ram_bytes: 1500 * GiB, ram_free_bytes: 1461 * GiB, state: 'lost', seen_ms: 94_000, reason: 'no heartbeat' }),
    node('n5', 'host01-a40', { devices: gpus('n5', 'A40', 48, 696, 2), ram_bytes: 1500 * GiB, ram_free_bytes: 1472 * GiB }),
    node('n6', 'host01-a100', { devices: gpus('n6', 'A100 SXM4 80GB', 80, 2039, 8), ram_bytes: 1500 * GiB, ram_free_bytes: 1391 * GiB, n_cpus: 256 }),
    node('n7', 'host02-a100', { devices: gpus('n7', 'A100 SXM4 40GB', 40, 1555, 2), ram_bytes: 1500 * GiB, ram_free_bytes: 1466 * GiB }),
    node('n8', 'host05-4080', { devices: gpus('n8', 'RTX 4080', 16, 717, 8), ram_bytes: 125 * GiB, ram_free_bytes: 110 * GiB }),
  ];
  nodes[0].devices[6].free_bytes -= 9.5 * GiB; // somebody else's job
  nodes[0].devices[7].free_bytes -= 3.2 * GiB;
  const r1 = replica('r-1', 'deepseek-r1-671b', assignment(nodes, 'host01-a100',
    [['host01-a40', 0, 6], ['host01-a40', 1, 6], ['host02-a100', 0, 5],
      ...[10, 10, 10, 10].map((n, i) => ['host01-a100', i, n]), ['host01-a100', 4, 4]],
    { plan: 'p-7c1fa9e2', layer: 6.5 * GiB, output: 0.9 * GiB, kv: 140 * MiB, ctx: 16384, slots: 1, tok: 11.8, compute: 1.6 * GiB, host: 0.9 * GiB }),
  { tok: 11.3, requests: 1 });
  const qwen = [0, 1].map((index) => replica(`r-2${index}`, 'qwen3-32b', assignment(nodes, 'host03-3090',
    [['host03-3090', index * 2, 33], ['host03-3090', index * 2 + 1, 31]],
    { plan: `p-31b${index}07ac`, layer: 292 * MiB, output: 610 * MiB, kv: 64 * MiB, ctx: 8192, slots: 4, tok: 31.6 }),
  { index, tok: 30.9 - index, requests: 2 }));
  const loading = replica('r-3', 'llama-3.3-70b', assignment(nodes, 'host05-4080',
    [['host05-4080', 0, 27], ['host05-4080', 1, 27], ['host05-4080', 2, 26]],
    { plan: 'p-90aa12de', layer: 430 * MiB, output: 820 * MiB, kv: 32 * MiB, ctx: 8192, tok: 16.4 }),
  { state: 'starting', member: 'loading', percent: 37, since: 21_000 });
  const small = replica('r-4', 'gemma-3-4b', assignment(nodes, 'host03-3090', [['host03-3090', 1, 34]],
    { plan: 'p-5512bb01', layer: 62 * MiB, output: 550 * MiB, kv: 4 * MiB, ctx: 32768, slots: 2, tok: 118, compute: 260 * MiB }),
  { tok: 121.4 });
  const pending = replica('r-5', 'qwq-32b-fp16', null, {
    state: 'pending', since: 184_000,
    reason: { code: 'NO_PLACEMENT', message: 'no placement: 64 layers of 1010 MiB needed, 52 fit; nearest: host03-3090, 5.9 GiB short' },
  });
  const failed = replica('r-6', 'phi-4', null, {
    state: 'failed', restarts: 3, since: 9_000,
    reason: { code: 'UNAVAILABLE', message: 'llama-server on host01-a40 ended with status 1: failed to open /models/phi-4.gguf: No such file or directory' },
  });
  const replicas = [r1, ...qwen, loading, small, pending, failed];
  settle(nodes, replicas);
  const deployments = [
    deployment('deepseek-r1-671b', { ctx: 16384 }), deployment('qwen3-32b', { replicas: 2, n_slots: 4 }), deployment('llama-3.3-70b'),
    deployment('gemma-3-4b', { ctx: 32768, n_slots: 2 }), deployment('qwq-32b-fp16'), deployment('phi-4'),
  ];
  return { nodes, deployments, replicas };
}

/** Three machines without any GPU and a model of a few MB over all of them. */
function three() {
  const nodes = ['hill', 'dale', 'fern'].map((name, i) => node(`n${i + 1}`, name, {
    engine: 'llama.cpp b11669 cpu', ram_bytes: 24 * GiB, ram_free_bytes: 19 * GiB, n_cpus: 2,
  }));
  const replicas = [replica('r-1', 'tiny', assignment(nodes, 'hill', [['dale', null, 3], ['fern', null, 3]],
    { plan: 'p-00aa', layer: 0.6 * MiB, output: 0.3 * MiB, kv: 0.1 * MiB, ctx: 2048, tok: 410, compute: 9 * MiB, host: 1.4 * MiB, n_cpu_layers: 2 }), { tok: 384.2 })];
  settle(nodes, replicas);
  return { nodes, deployments: [deployment('tiny', { ctx: 2048 })], replicas };
}

function one() {
  const nodes = [node('n1', 'hill', { devices: gpus('n1', 'RTX 3090', 24, 936, 1) })];
  const replicas = [replica('r-1', 'qwen3-4b', assignment(nodes, 'hill', [['hill', 0, 36]],
    { plan: 'p-10', layer: 64 * MiB, output: 300 * MiB, kv: 16 * MiB, ctx: 8192, tok: 140 }), { tok: 137.5 })];
  settle(nodes, replicas);
  return { nodes, deployments: [deployment('qwen3-4b')], replicas };
}

/** 40 nodes with 46 GPUs and a model over 30 of them. */
function big() {
  const kinds = [['RTX 3060', 12, 360], ['RTX 3090', 24, 936], ['Tesla T4', 16, 320], ['RTX 4070', 12, 504]];
  const nodes = Array.from({ length: 40 }, (_, i) => {
    const [name, total, bandwidth] = kinds[i % kinds.length];
    const id = `n${i + 1}`;
    return node(id, `lab-${String(i + 1).padStart(2, '0')}`, { devices: gpus(id, name, total, bandwidth, i < 6 ? 2 : 1) });
  });
  const devices = nodes.slice(0, 24).flatMap((n) => n.devices.map((d) => [n.name, d.index, 4]));
  const replicas = [replica('r-1', 'llama-3.1-405b', assignment(nodes, 'lab-01', devices,
    { plan: 'p-405', layer: 1.7 * GiB, output: 1.6 * GiB, kv: 30 * MiB, ctx: 8192, tok: 1.9 }), { tok: 1.8 })];
  settle(nodes, replicas);
  return { nodes, deployments: [deployment('llama-3.1-405b')], replicas };
}

/** Names as an attacker would choose them: they must stay text. */
function hostile() {
  const s = one();
  s.nodes[0].name = '<img src=x onerror=alert(1)>';
  s.nodes[0].reason = '"><script>alert(1)</script>';
  s.nodes[0].devices[0].name = '<svg onload=alert(1)>'.repeat(8);
  return s;
}

export const scenes = { mixed, three, one, big, hostile, empty: () => ({ nodes: [], deployments: [], replicas: [] }) };
