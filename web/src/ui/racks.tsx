// The picture: one card per node, one bar per device, and the wires of the selected pipeline above them.
import { signal } from '@preact/signals';
import { useRef } from 'preact/hooks';
import { age, bytes, pair } from '../lib/format';
import { t, word } from '../lib/i18n';
import type { Bar, Rack, Segment, Stage } from '../lib/view';
import { Code } from './code';
import { Badge } from './icons';
import { DeviceTable } from './devtable';
import { asTable, cluster, now, select, selectedReplica, selection, view } from './store';
import { layers, layersShort } from './text';
import { Tip, tip } from './tip';
import { Wires } from './wires';

/** The bar that Tab reaches; the arrow keys move it. */
const focusKey = signal<string | null>(null);

function barLabel(b: Bar): string {
  const what = b.stages.map((s) => t('bar.hosts', { model: s.model, what: layers(s) }));
  return [
    `${b.label}${b.hardware ? `, ${b.hardware}` : ''}`, t('bar.used', { used: pair(b.used, b.total), total: '' }).trim(),
    b.over > 0 ? t('bar.over', { bytes: bytes(b.over) }) : '', ...(what.length > 0 ? what : [t('bar.nothing')]),
  ].filter((x) => x !== '').join(', ');
}

function Seg({ s, i }: { s: Segment; i: number }) {
  const st = s.stage;
  const off = selection.value !== null && st?.replicaId !== selectedReplica.value?.replica.id;
  const cls = `seg k-${s.kind}${st ? ` c${st.color}` : ''}${st?.loading ? ' claimed' : ''}${off ? ' off' : ''}`;
  return (
    <span class={cls} style={{ flexGrow: s.bytes }} data-seg={i} data-kind={s.kind} data-bytes={s.bytes}
      data-of={st?.model}>
      {s.kind === 'weights' && st && st.count + (st.output ? 1 : 0) > 0 && <span class="seg-label" data-label={layersShort(st)} />}
    </span>
  );
}

/** A wide weights segment carries its layers itself; a narrow one gets them above the bar. */
function labelFits(s: Stage, b: Bar): boolean {
  return (s.measured ?? s.planned).weights > 0.3 * b.total;
}

/** Our share of a device that is too small to see in its bar, drawn again at its own scale. */
function Lens({ b }: { b: Bar }) {
  const ours = b.segments.filter((s) => s.stage);
  const sum = ours.reduce((n, s) => n + s.bytes, 0);
  if (sum === 0 || sum > 0.08 * b.total) return null;
  return (
    <span class="lens" aria-hidden="true">
      <span class="lens-strip">{ours.map((s, i) => <Seg key={i} s={s} i={b.segments.indexOf(s)} />)}</span>
      <span class="lens-sum">{bytes(sum)}</span>
    </span>
  );
}

function BarRow({ b, first }: { b: Bar; first: boolean }) {
  const r = selectedReplica.value;
  const here: Stage[] = r ? r.stages.filter((s) => s.deviceKey === b.key) : [];
  const isMain = r !== null && r.stages.length > 0 && b.key === r.mainKey;
  const big = [...b.segments].filter((s) => s.stage).sort((x, y) => y.bytes - x.bytes)[0]?.stage;
  const pick = (e: MouseEvent) => {
    // A click chooses the segment under the pointer; Enter (no pointer) the largest model of the bar.
    const seg = e.detail > 0 ? (e.target as Element).closest<HTMLElement>('[data-seg]') : null;
    const st = seg ? b.segments[Number(seg.dataset.seg)]?.stage : e.detail === 0 ? big : null;
    if (st) select(st.model, st.n > 0 ? st.replicaIndex : undefined);
  };
  const show = (e: Event) => {
    const seg = (e.target as Element).closest<HTMLElement>('[data-seg]');
    tip.value = { key: b.key, anchor: e.currentTarget as HTMLElement, seg: seg ? Number(seg.dataset.seg) : null };
  };
  const hide = () => (tip.value = null);
  const on = here.length > 0;
  const roving = focusKey.value === null ? first : focusKey.value === b.key;
  return (
    <li class={`barrow${b.ram ? ' ram' : ''}${on ? ` on c${here[0]!.color}` : ''}${isMain && !on ? ` enter c${r!.stages[0]!.color}` : ''}`}
      data-bar={b.key} data-stage={on ? here.map((s) => s.n).join(',') : undefined}>
      <span class={`station${on ? ' on' : isMain ? ' entry' : ''}`} aria-hidden="true">{on ? here.map((s) => s.n).join(',') : ''}</span>
      <span class="barhead" aria-hidden="true">
        <span class="idx">{b.short}</span>
        <span class="hw">{b.over > 0 ? '' : b.cpus > 0 ? t('rack.cpus', { n: b.cpus }) : b.hardware}</span>
        {here.filter((s) => !labelFits(s, b)).map((s) => <span class="chip">{layersShort(s)}</span>)}
        {b.over > 0 && <span class="over">{t('bar.over', { bytes: bytes(b.over) })}</span>}
        <span class="amount">{pair(b.used, b.total)}</span>
      </span>
      <button type="button" class={`bar${b.over > 0 ? ' is-over' : ''}`} aria-label={barLabel(b)} tabIndex={roving ? 0 : -1}
        aria-describedby={tip.value?.key === b.key ? 'tip' : undefined} onClick={pick}
        onPointerMove={(e) => e.pointerType === 'mouse' && show(e)} onPointerLeave={hide}
        onFocus={(e) => { focusKey.value = b.key; show(e); }} onBlur={hide}>
        {b.segments.map((s, i) => <Seg key={`${s.stage?.replicaId}${s.stage?.n}${s.kind}`} s={s} i={i} />)}
      </button>
      <Lens b={b} />
    </li>
  );
}

/** Heartbeats come each 2 s: a younger age says nothing. */
const FRESH_MS = 4000;

function Seen({ r }: { r: Rack }) {
  const ms = r.node.seen_ms;
  if (typeof ms !== 'number' || ms < 0) return <span>{t('rack.seenUnknown')}</span>;
  if (ms + (now.value - r.at) < FRESH_MS) return <span>{t('rack.seenNow')}</span>;
  return <span>{t('rack.seen', { age: age(ms + (now.value - r.at)) })}</span>;
}

function RackCard({ r, first }: { r: Rack; first: boolean }) {
  const sel = selectedReplica.value;
  const part = sel !== null && (sel.mainId === r.node.id || sel.stages.some((s) => s.nodeId === r.node.id));
  const off = selection.value !== null && !part;
  const isMain = sel !== null && sel.stages.length > 0 && sel.mainId === r.node.id;
  const n = r.node;
  return (
    <article class={`rack s-${n.state}${off ? ' off' : ''}`} data-node={n.name} data-node-id={n.id}>
      <header>
        <h3 title={n.addr}>{n.name}</h3>
        {isMain && <span class={`chip main c${sel.stages[0]!.color}`} title={t('rack.mainTitle', { model: sel.replica.deployment })}>{t('rack.main')}</span>}
        <Badge state={n.state} text={word('node', n.state)} />
        <p class="sub">
          <span>{n.engine || t('rack.noEngine')}</span>
          {n.version && <span>{n.version}</span>}
          <Seen r={r} />
        </p>
        {n.reason && <p class="node-reason">{n.reason}</p>}
      </header>
      {n.devices.length === 0 && <p class="nogpu">{t('rack.noGpu')}</p>}
      <ul class="bars">{r.bars.map((b, i) => <BarRow key={b.key} b={b} first={first && i === 0} />)}</ul>
    </article>
  );
}

function Legend() {
  const items = ['weights', 'kv', 'compute', 'runtime', 'other', 'free'] as const;
  return (
    <ul class="legend c0" aria-label={t('legend.title')}>
      {items.map((k) => <li><span class={`seg k-${k}`} aria-hidden="true" />{word('kind', k)}</li>)}
      <li><span class="seg k-weights claimed" aria-hidden="true" />{t('kind.claimed')}</li>
      <li class="muted">{t('legend.note')}</li>
    </ul>
  );
}

/** Arrow keys over all bars: up and down one bar, left and right one node. */
function move(e: KeyboardEvent, root: HTMLElement | null): void {
  const bars = [...(root?.querySelectorAll<HTMLElement>('.bar') ?? [])];
  const i = bars.indexOf(document.activeElement as HTMLElement);
  if (i < 0) return;
  const rackOf = (b: HTMLElement) => b.closest('.rack');
  const leap = (step: 1 | -1) => {
    let j = i;
    while (bars[j] && rackOf(bars[j]!) === rackOf(bars[i]!)) j += step;
    const target = bars[j] ? rackOf(bars[j]!) : null;
    return target ? bars.findIndex((b) => rackOf(b) === target) : i;
  };
  const to: Record<string, () => number> = {
    ArrowDown: () => i + 1, ArrowUp: () => i - 1, ArrowRight: () => leap(1), ArrowLeft: () => leap(-1),
    Home: () => 0, End: () => bars.length - 1,
  };
  const next = to[e.key]?.();
  if (next === undefined) return;
  e.preventDefault();
  bars[Math.max(0, Math.min(bars.length - 1, next))]?.focus();
}

export function Racks() {
  const v = view.value;
  const box = useRef<HTMLDivElement>(null);
  const empty = v.racks.length === 0;
  return (
    <section class="racks" aria-labelledby="racks-title">
      <div class="racks-head">
        <h2 id="racks-title">{t('racks.title')}</h2>
        {!empty && <div class="tabs" role="group" aria-label={t('racks.viewAs')}>
          <button type="button" aria-pressed={!asTable.value} onClick={() => (asTable.value = false)}>{t('racks.picture')}</button>
          <button type="button" aria-pressed={asTable.value} onClick={() => (asTable.value = true)}>{t('racks.table')}</button>
        </div>}
        {!asTable.value && !empty && <Legend />}
      </div>
      {empty && cluster.value.loaded && (
        <div class="empty">
          <h3>{t('racks.empty.title')}</h3>
          <p>{t('racks.empty.text')}</p>
          <p><Code text="`stowage token create`" /></p>
        </div>
      )}
      {!empty && asTable.value && <DeviceTable />}
      {!empty && !asTable.value && (
        <div class={`floor${v.racks.length > 14 ? ' dense' : ''}`} ref={box} role="group" aria-label={t('racks.arrows')}
          onKeyDown={(e) => move(e, box.current)}>
          {v.racks.map((r, i) => <RackCard key={r.node.id} r={r} first={i === 0} />)}
          <Wires floor={box} />
        </div>
      )}
      <Tip />
    </section>
  );
}
