// Signals of the page: what arrived, what is selected, what time it is.
import { computed, effect, signal } from '@preact/signals';
import { dropKey, key } from '../lib/auth';
import { lang, pickLang, t, word, type Lang, LANGS } from '../lib/i18n';
import { applyEvents, emptyState, type ClusterState } from '../lib/reduce';
import { EventStream, type StreamStatus } from '../lib/stream';
import { makeView, type ModelView, type ReplicaView } from '../lib/view';

export const cluster = signal<ClusterState>(emptyState);
export const status = signal<StreamStatus>({ kind: 'connecting' });
export const lastByte = signal<number | null>(null);
export const now = signal(performance.now());
export const view = computed(() => makeView(cluster.value));
export const asTable = signal(false);
/** What a screen reader is told; changes of state only. */
export const announcement = signal('');

export interface Selection {
  model: string;
  replica: number; // index of the replica
}
export const selection = signal<Selection | null>(null);

export const selectedModel = computed<ModelView | null>(
  () => view.value.models.find((m) => m.name === selection.value?.model) ?? null);
export const selectedReplica = computed<ReplicaView | null>(() => {
  const m = selectedModel.value;
  return m?.replicas.find((r) => r.replica.index === selection.value?.replica) ?? m?.replicas[0] ?? null;
});

/** Selects a model (or the one already selected away), with the replica that shows most. */
export function toggleModel(name: string): void {
  if (selection.value?.model === name) selection.value = null;
  else select(name);
}

export function select(name: string, replica?: number): void {
  const m = view.value.models.find((x) => x.name === name);
  const best = m?.replicas.find((r) => r.replica.state === 'ready') ?? m?.replicas.find((r) => r.stages.length > 0);
  selection.value = { model: name, replica: replica ?? best?.replica.index ?? 0 };
}

// ---- settings kept in this browser ----

export type Theme = 'light' | 'dark';
const media = matchMedia('(prefers-color-scheme: dark)');
const system = signal<Theme>(media.matches ? 'dark' : 'light');
media.addEventListener('change', (e) => (system.value = e.matches ? 'dark' : 'light'));
const chosen = signal<Theme | null>(null);
export const theme = computed<Theme>(() => chosen.value ?? system.value);

/** Storage may be switched off by the browser; the page then only forgets. */
function stored(slot: string): string | null {
  try {
    return localStorage.getItem(slot);
  } catch {
    return null;
  }
}
function store(slot: string, value: string): void {
  try {
    localStorage.setItem(slot, value);
  } catch { /* forgets */ }
}

export function setTheme(v: Theme): void {
  chosen.value = v;
  store('stowage.theme', v);
}
export function setLang(v: Lang): void {
  lang.value = v;
  store('stowage.lang', v);
}

export function loadSettings(): void {
  const th = stored('stowage.theme');
  if (th === 'light' || th === 'dark') chosen.value = th;
  const la = stored('stowage.lang');
  lang.value = la !== null && la in LANGS ? (la as Lang) : pickLang(navigator.languages);
  const hash = new URLSearchParams(location.hash.slice(1));
  const m = hash.get('m');
  if (m) selection.value = { model: m, replica: Number(hash.get('r') ?? 0) || 0 };
  effect(() => {
    const s = selection.value;
    const h = new URLSearchParams();
    if (s) h.set('m', s.model);
    if (s && s.replica > 0) h.set('r', String(s.replica));
    const text = h.toString();
    history.replaceState(null, '', location.pathname + location.search + (text ? `#${text}` : ''));
  });
  effect(() => {
    document.documentElement.lang = lang.value;
    document.documentElement.dataset.theme = theme.value;
    document.title = `${t('app.title')} – Stowage`;
  });
}

// ---- the stream ----

function announce(before: ClusterState, after: ClusterState): void {
  if (!before.loaded) return;
  const lines: string[] = [];
  const old = new Map(makeView(before).models.map((m) => [m.name, m.state]));
  for (const m of view.value.models) {
    if (old.get(m.name) !== m.state) lines.push(t('live.model', { model: m.name, state: word('state', m.state) }));
  }
  for (const [id, n] of after.nodes) {
    const was = before.nodes.get(id)?.doc.state;
    if (was !== n.doc.state) lines.push(t('live.node', { node: n.doc.name, state: word('node', n.doc.state) }));
  }
  if (lines.length > 0) announcement.value = lines.join('. ');
}

/** The API lies beside the page, wherever a proxy has put both: assets/app-x.js is one level below. */
const apiBase = new URL('../api/v1/', import.meta.url);

let stream: EventStream | null = null;

export function retryNow(): void {
  stream?.retryNow();
}

/** Connects for as long as there is a key; gives the undo. */
export function followCluster(): () => void {
  const tick = setInterval(() => (now.value = performance.now()), 1000);
  const stop = effect(() => {
    const k = key.value;
    if (k === '') return;
    const s = new EventStream({
      url: new URL('events', apiBase).href, key: k,
      onEvents: (events) => {
        const before = cluster.peek();
        const after = applyEvents(before, events, performance.now());
        if (!after.loaded) throw new Error('change before the snapshot');
        cluster.value = after;
        announce(before, after);
      },
      onStatus: (st) => {
        status.value = st;
        now.value = performance.now();
        if (st.kind === 'refused') dropKey(st.status === 401 ? 'wrong' : 'scope');
      },
      onByte: (at) => (lastByte.value = at),
    });
    stream = s;
    void s.start();
    return () => {
      s.stop();
      cluster.value = emptyState;
      lastByte.value = null;
      status.value = { kind: 'connecting' };
    };
  });
  return () => {
    clearInterval(tick);
    stop();
  };
}
