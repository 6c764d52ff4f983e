// Cluster state from the event stream: one snapshot, then whole objects per change. Pure.
import type { SseEvent } from './sse';
import type { Deployment, Node, Replica } from './wire';

/** A document and when it arrived (performance clock, ms): ages grow from there. */
export interface Seen<T> {
  doc: T;
  at: number;
}

export interface ClusterState {
  loaded: boolean; // a snapshot has been applied
  revision: string;
  nodes: ReadonlyMap<string, Seen<Node>>;
  deployments: ReadonlyMap<string, Seen<Deployment>>;
  replicas: ReadonlyMap<string, Seen<Replica>>;
}

export const emptyState: ClusterState = {
  loaded: false, revision: '', nodes: new Map(), deployments: new Map(), replicas: new Map(),
};

/** The server's bytes are not a document of this protocol; the caller reconnects for a fresh snapshot. */
export class BadEvent extends Error {}

type Doc = Record<string, unknown>;

function parse(e: SseEvent): Doc {
  let doc: unknown;
  try {
    doc = JSON.parse(e.data);
  } catch {
    throw new BadEvent(`event ${e.event} is not JSON`);
  }
  if (typeof doc !== 'object' || doc === null || Array.isArray(doc)) {
    throw new BadEvent(`event ${e.event} is not an object`);
  }
  return doc as Doc;
}

function keyOf(kind: string, doc: Doc): string {
  // A deployment is known by its name, everything else by its id.
  const key = kind === 'deployment' ? doc.name ?? doc.id : doc.id ?? doc.name;
  if (typeof key !== 'string' || key === '') throw new BadEvent(`${kind} without id`);
  return key;
}

function listMap<T>(kind: string, list: unknown, now: number): Map<string, Seen<T>> {
  if (list === undefined) return new Map();
  if (!Array.isArray(list)) throw new BadEvent(`snapshot: ${kind}s is not a list`);
  return new Map(list.map((doc) => [keyOf(kind, doc as Doc), { doc: doc as T, at: now }]));
}

/** Applies a batch; each map is copied at most once, and maps nobody touched keep their identity. */
export function applyEvents(state: ClusterState, events: readonly SseEvent[], now: number): ClusterState {
  let next = state;
  const copied = new Set<string>();
  const put = (kind: 'nodes' | 'deployments' | 'replicas', key: string, doc: Doc | null) => {
    if (!copied.has(kind)) {
      copied.add(kind);
      next = { ...next, [kind]: new Map(next[kind] as Map<string, unknown>) };
    }
    const map = next[kind] as Map<string, Seen<unknown>>;
    if (doc === null) map.delete(key);
    else map.set(key, { doc, at: now });
  };
  for (const e of events) {
    if (e.event === 'snapshot') {
      const doc = parse(e);
      next = {
        loaded: true, revision: e.id,
        nodes: listMap<Node>('node', doc.nodes, now),
        deployments: listMap<Deployment>('deployment', doc.deployments, now),
        replicas: listMap<Replica>('replica', doc.replicas, now),
      };
      copied.clear();
      continue;
    }
    if (e.event !== 'node' && e.event !== 'deployment' && e.event !== 'replica') continue;
    const doc = parse(e);
    put(`${e.event}s`, keyOf(e.event, doc), doc.deleted === true ? null : doc);
    if (e.id !== '') next = { ...next, revision: e.id };
  }
  return next;
}
