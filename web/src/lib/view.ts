// What the Cluster page draws, derived from the state: racks, memory bars, models, pipelines. Pure.
//
// A bar accounts for every byte of a device once: our models' parts (measured where the engine has told,
// planned before), other processes (live use that is not ours), free. Ours comes first, in pipeline order.
import type { ClusterState, Seen } from './reduce';
import type { Deployment, Device, Measured, Node, Part, Replica } from './wire';

export const KINDS = ['weights', 'kv', 'compute', 'runtime'] as const;
export type Kind = (typeof KINDS)[number];
export type Bytes = Record<Kind, number>;
export const N_COLORS = 8;

/** One stage of a replica's pipeline: a stretch of layers on one device, in the order tokens pass them. */
export interface Stage {
  replicaId: string;
  model: string;
  replicaIndex: number;
  color: number;
  n: number; // 1-based place in the pipeline
  deviceKey: string;
  nodeId: string;
  nodeName: string;
  deviceName: string; // "hill:0" or "hill RAM"
  hardware: string;   // "RTX 3090"
  ram: boolean;
  first: number;
  count: number;
  output: boolean;
  planned: Bytes;
  measured: Bytes | null; // runtime is never measured apart: it stays the planned one
  loading: boolean;       // claimed, not yet in use
}

export interface Segment {
  kind: Kind | 'other' | 'free';
  bytes: number;
  stage: Stage | null;
}

export interface Bar {
  key: string; // node id / uuid, or node id / "ram"
  nodeId: string;
  label: string;
  short: string;
  hardware: string;
  cpus: number; // of the node, on its RAM bar
  ram: boolean;
  total: number;
  used: number;
  free: number;
  over: number; // bytes that do not exist: claims and other use exceed the device
  segments: Segment[];
  stages: Stage[];
  host: HostShare[];
  device: Device | null;
}

/** What a replica's main node keeps in RAM beside whole layers (embedding, experts, buffers). */
export interface HostShare {
  replicaId: string;
  model: string;
  color: number;
  planned: Bytes;
  experts: number;
  loading: boolean;
}

export interface Rack {
  node: Node;
  at: number;
  bars: Bar[];
  models: string[];
}

export interface Member {
  node: string;
  state: string;
  percent: number | null;
  message: string;
}

export interface ReplicaView {
  replica: Replica;
  at: number;
  stages: Stage[];
  members: Member[];
  percent: number | null;
  mainId: string;
  mainKey: string; // RAM of the node that runs the main process
  bytes: number;
}

export interface ModelView {
  name: string;
  color: number;
  state: string;
  ready: number;
  wanted: number;
  ctx: number;
  slots: number;
  tokS: number | null;
  predictedTokS: number | null;
  bytes: number;
  percent: number | null;
  phase: string;
  reason: { code: string; message: string } | null;
  replicas: ReplicaView[];
}

export interface View {
  racks: Rack[];
  models: ModelView[];
  totals: { nodes: number; ready: number; gpus: number; vram: number; vramUsed: number; ram: number; ramUsed: number };
}

const num = (v: unknown): number => (typeof v === 'number' && Number.isFinite(v) && v > 0 ? v : 0);
export const sumBytes = (b: Bytes): number => b.weights + b.kv + b.compute + b.runtime;

const byName = new Intl.Collator('en', { numeric: true }).compare;

function hash(s: string): number {
  let h = 2166136261;
  for (let i = 0; i < s.length; i++) h = Math.imul(h ^ s.charCodeAt(i), 16777619);
  return h >>> 0;
}

/** A colour per name that stays when others come and go, as far as eight colours allow. */
export function assignColors(names: readonly string[]): Map<string, number> {
  const colors = new Map<string, number>();
  const uses = new Array<number>(N_COLORS).fill(0);
  for (const name of [...names].sort(byName)) {
    const least = Math.min(...uses);
    let c = hash(name) % N_COLORS;
    while (uses[c]! > least) c = (c + 1) % N_COLORS;
    uses[c]!++;
    colors.set(name, c);
  }
  return colors;
}

const partBytes = (p: Part): Bytes => ({
  weights: num(p.weights_bytes), kv: num(p.kv_bytes), compute: num(p.compute_bytes), runtime: num(p.runtime_bytes),
});

function measuredBytes(m: Measured | null | undefined, runtime: number): Bytes | null {
  if (!m) return null;
  const b = { weights: num(m.weights_bytes), kv: num(m.kv_bytes), compute: num(m.compute_bytes), runtime };
  return b.weights + b.kv + b.compute > 0 ? b : null;
}

const LOADED = new Set(['ready', 'draining']);
/** An assignment comes with a replica exactly as long as its memory is claimed, also while it stops. */
const holds = (r: Replica): boolean => Boolean(r.assignment) && r.state !== 'pending' && r.state !== 'gone';

const deviceKey = (nodeId: string, uuid: string): string => `${nodeId}/${uuid || 'ram'}`;

/** The pipeline of a replica, in the order a token passes it. */
export function stagesOf(r: Replica, nodes: ClusterState['nodes'], color: number): Stage[] {
  const a = r.assignment;
  if (!a || !Array.isArray(a.parts)) return [];
  const loading = !LOADED.has(r.state);
  const stages: Stage[] = [];
  const add = (s: Omit<Stage, 'replicaId' | 'model' | 'replicaIndex' | 'color' | 'n' | 'loading'>) =>
    stages.push({
      ...s, replicaId: r.id, model: r.deployment, replicaIndex: r.index, color, n: stages.length + 1, loading,
    });
  if (num(a.n_cpu_layers) > 0) {
    const planned = {
      weights: num(a.host_weights_bytes), kv: num(a.host_kv_bytes), compute: num(a.host_compute_bytes), runtime: 0,
    };
    add({
      deviceKey: deviceKey(a.main_id, ''), nodeId: a.main_id, nodeName: a.main_node, ram: true,
      deviceName: `${a.main_node} RAM`, hardware: 'CPU', first: 0, count: num(a.n_cpu_layers), output: false,
      planned, measured: measuredBytes(r.host_measured, 0),
    });
  }
  a.parts.forEach((p, i) => {
    const planned = partBytes(p);
    const live = nodes.get(p.node_id)?.doc.devices?.find((d) => d.uuid === p.uuid);
    add({
      deviceKey: deviceKey(p.node_id, p.uuid), nodeId: p.node_id, nodeName: p.node, ram: p.uuid === '',
      deviceName: p.uuid === '' ? `${p.node} RAM` : `${p.node}:${p.index}`,
      hardware: live?.name || p.device_name || (p.uuid === '' ? 'CPU' : ''),
      first: num(p.first_layer), count: num(p.n_layers), output: p.output === true, planned,
      measured: measuredBytes(r.measured?.find((m) => m.part === i), planned.runtime),
    });
  });
  return stages;
}

function hostShare(r: Replica, color: number): HostShare | null {
  const a = r.assignment;
  if (!a) return null;
  const m = measuredBytes(r.host_measured, 0);
  const planned = m ?? {
    weights: num(a.host_weights_bytes), kv: num(a.host_kv_bytes), compute: num(a.host_compute_bytes), runtime: 0,
  };
  if (sumBytes(planned) === 0) return null;
  return {
    replicaId: r.id, model: r.deployment, color, planned, experts: num(a.n_cpu_moe),
    loading: !LOADED.has(r.state),
  };
}

function membersOf(r: Replica): Member[] {
  return (Array.isArray(r.members) ? r.members : []).map((m) => ({
    node: m.node ?? m.node_id, state: m.state ?? '', message: m.message ?? '',
    percent: typeof m.percent === 'number' ? m.percent : null,
  }));
}

function replicaView(seen: Seen<Replica>, nodes: ClusterState['nodes'], color: number): ReplicaView {
  const r = seen.doc;
  const stages = holds(r) ? stagesOf(r, nodes, color) : [];
  const members = membersOf(r);
  // Progress is that of the slowest member still fetching or loading: the group waits for it.
  const going = members.filter((m) => (m.state === 'fetching' || m.state === 'loading') && m.percent !== null);
  const mainId = r.assignment?.main_id ?? '';
  const host = holds(r) ? hostShare(r, color) : null;
  const hostIsStage = stages[0]?.ram === true && num(r.assignment?.n_cpu_layers) > 0;
  return {
    replica: r, at: seen.at, stages, members, mainId, mainKey: deviceKey(mainId, ''),
    percent: going.length > 0 && !LOADED.has(r.state) ? Math.min(...going.map((m) => m.percent!)) : null,
    bytes: stages.reduce((n, s) => n + sumBytes(s.measured ?? s.planned), 0) +
      (host && !hostIsStage ? sumBytes(host.planned) : 0),
  };
}

/** The word for a model from the states of its replicas: all well, partly well, else the furthest along. */
function modelState(wanted: number, replicas: ReplicaView[]): string {
  const count = (s: string) => replicas.filter((r) => r.replica.state === s).length;
  const ready = count('ready');
  if (ready > 0) return ready >= wanted ? 'ready' : 'degraded';
  for (const s of ['starting', 'fetching', 'assigned', 'failed', 'lost', 'pending', 'draining']) {
    if (count(s) > 0) return s;
  }
  return wanted === 0 ? 'stopped' : 'pending';
}

function phaseOf(state: string, replicas: ReplicaView[]): string {
  if (state === 'ready' || state === 'degraded') return '';
  for (const r of replicas) {
    const going = r.members.find((m) => m.state === 'loading') ?? r.members.find((m) => m.state === 'fetching');
    if (going && holds(r.replica)) return going.state;
  }
  return '';
}

function modelView(name: string, d: Deployment | undefined, replicas: ReplicaView[], color: number): ModelView {
  const wanted = typeof d?.spec?.replicas === 'number' ? d.spec.replicas : replicas.length;
  const state = modelState(wanted, replicas);
  const ready = replicas.filter((r) => r.replica.state === 'ready');
  const lead = ready[0] ?? replicas.find((r) => r.replica.assignment) ?? replicas[0];
  const a = lead?.replica.assignment;
  const reason = replicas.map((r) => r.replica).find((r) => r.state !== 'ready' && (r.reason?.message || r.reason?.code));
  const percents = replicas.map((r) => r.percent).filter((p): p is number => p !== null);
  const tok = ready.map((r) => num(r.replica.tok_s)).filter((t) => t > 0);
  const slots = num(lead?.replica.n_slots) || num(a?.n_slots) || num(d?.spec?.n_slots);
  return {
    name, color, state, ready: ready.length, wanted, replicas, slots,
    // ctx of a replica is the whole context; per slot is what a request may use.
    ctx: num(d?.spec?.ctx) || (a && num(a.n_slots) > 0 ? Math.floor(num(a.ctx) / a.n_slots) : 0),
    tokS: tok.length > 0 ? tok.reduce((x, y) => x + y, 0) / tok.length : null,
    predictedTokS: num(a?.tok_s) || null,
    bytes: replicas.reduce((n, r) => n + r.bytes, 0),
    percent: percents.length > 0 ? Math.min(...percents) : null,
    phase: phaseOf(state, replicas),
    reason: reason ? { code: reason.reason?.code ?? '', message: reason.reason?.message ?? '' } : null,
  };
}

function makeBar(node: Node, d: Device | null, stages: Stage[], host: HostShare[]): Bar {
  const total = d ? num(d.total_bytes) : num(node.ram_bytes);
  const liveFree = Math.min(total, d ? num(d.free_bytes) : num(node.ram_free_bytes));
  const segments: Segment[] = [];
  let ours = 0;
  const push = (b: Bytes, stage: Stage | null) => {
    for (const kind of KINDS) {
      if (b[kind] === 0) continue;
      segments.push({ kind, bytes: b[kind], stage });
      ours += b[kind];
    }
  };
  for (const s of stages) push(s.measured ?? s.planned, s);
  const other = Math.max(0, total - liveFree - ours);
  const free = Math.max(0, total - ours - other);
  if (other > 0) segments.push({ kind: 'other', bytes: other, stage: null });
  if (free > 0) segments.push({ kind: 'free', bytes: free, stage: null });
  return {
    key: deviceKey(node.id, d ? d.uuid : ''), nodeId: node.id, ram: d === null, total, free, used: ours + other,
    label: d ? `${node.name}:${d.index}` : `${node.name} RAM`, short: d ? String(d.index) : 'RAM',
    hardware: d ? d.name : '', cpus: d ? 0 : num(node.n_cpus), over: Math.max(0, ours - total), segments, stages, host, device: d,
  };
}

/** A host share is drawn as a stage without layers, so that the picture and the sums agree. */
function hostAsStage(h: HostShare, node: Node): Stage {
  return {
    replicaId: h.replicaId, model: h.model, replicaIndex: 0, color: h.color, n: 0, deviceKey: deviceKey(node.id, ''),
    nodeId: node.id, nodeName: node.name, deviceName: `${node.name} RAM`, hardware: 'CPU', ram: true, first: 0, count: 0,
    output: false, planned: h.planned, measured: null, loading: h.loading,
  };
}

function racksOf(state: ClusterState, replicas: ReplicaView[]): Rack[] {
  const byDevice = new Map<string, Stage[]>();
  const byHost = new Map<string, HostShare[]>();
  for (const r of replicas) {
    for (const s of r.stages) byDevice.set(s.deviceKey, [...(byDevice.get(s.deviceKey) ?? []), s]);
    const share = r.stages.length > 0 ? hostShare(r.replica, r.stages[0]!.color) : null;
    if (share && num(r.replica.assignment?.n_cpu_layers) === 0) {
      byHost.set(r.mainId, [...(byHost.get(r.mainId) ?? []), share]);
    }
  }
  return [...state.nodes.values()]
    // Racks of one size share a row: less empty floor, and a place that never changes with the load.
    .sort((x, y) => (y.doc.devices?.length ?? 0) - (x.doc.devices?.length ?? 0) || byName(x.doc.name, y.doc.name))
    .map(({ doc, at }) => {
      const node = { ...doc, devices: Array.isArray(doc.devices) ? doc.devices : [] };
      const devices = [...node.devices].sort((x, y) => x.index - y.index);
      const bars = devices.map((d) => makeBar(node, d, byDevice.get(deviceKey(node.id, d.uuid)) ?? [], []));
      const host = byHost.get(node.id) ?? [];
      const inRam = byDevice.get(deviceKey(node.id, '')) ?? [];
      if (num(node.ram_bytes) > 0) {
        const ram = makeBar(node, null, [...inRam, ...host.map((h) => hostAsStage(h, node))], host);
        bars.push({ ...ram, stages: inRam });
      }
      const models = new Set(bars.flatMap((b) => b.segments.map((s) => s.stage?.model).filter((m) => m !== undefined)));
      return { node, at, bars, models: [...models] };
    });
}

export function makeView(state: ClusterState): View {
  const names = new Set<string>(state.deployments.keys());
  for (const { doc } of state.replicas.values()) if (doc.state !== 'gone') names.add(doc.deployment);
  const colors = assignColors([...names]);
  const replicas = [...state.replicas.values()]
    .filter((s) => s.doc.state !== 'gone')
    .sort((x, y) => byName(x.doc.deployment, y.doc.deployment) || x.doc.index - y.doc.index)
    .map((s) => replicaView(s, state.nodes, colors.get(s.doc.deployment) ?? 0));
  const racks = racksOf(state, replicas);
  const models = [...names].sort(byName).map((name) =>
    modelView(name, state.deployments.get(name)?.doc, replicas.filter((r) => r.replica.deployment === name),
      colors.get(name) ?? 0));
  const sum = (f: (b: Bar) => number, ram: boolean) =>
    racks.reduce((n, r) => n + r.bars.filter((b) => b.ram === ram).reduce((m, b) => m + f(b), 0), 0);
  return {
    racks, models,
    totals: {
      nodes: racks.length, ready: racks.filter((r) => r.node.state === 'ready').length,
      gpus: racks.reduce((n, r) => n + r.node.devices.length, 0),
      vram: sum((b) => b.total, false), vramUsed: sum((b) => b.used, false),
      ram: sum((b) => b.total, true), ramUsed: sum((b) => b.used, true),
    },
  };
}

/** Relative error of a measurement against its plan, runtime left out; null while nothing is measured. */
export function measuredError(s: Stage): number | null {
  if (!s.measured) return null;
  const plan = s.planned.weights + s.planned.kv + s.planned.compute;
  const real = s.measured.weights + s.measured.kv + s.measured.compute;
  return plan > 0 ? real / plan - 1 : null;
}
