// The selected model's pipeline as words and a table: the twin of what lights up over the racks.
import { Fragment } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { age, bytes, signedPercent } from '../lib/format';
import { number, t, word } from '../lib/i18n';
import { measuredError, sumBytes, type ModelView, type ReplicaView, type Stage } from '../lib/view';
import { Code } from './code';
import { Badge, Icon } from './icons';
import { now, selectedModel, selectedReplica, selection } from './store';
import { breakdown, layers, layersShort } from './text';

function Hop({ from, to, toName, back }: { from: string; to: string; toName: string; back?: boolean }) {
  if (from === to && !back) return null;
  const text = back ? t('pipe.back', { node: toName }) : t('pipe.hopNet', { from, to: toName });
  return <tr class={`hop${back ? ' back' : ''}`}><td /><td colSpan={4}>{text}</td></tr>;
}

function StageRow({ s }: { s: Stage }) {
  const error = measuredError(s);
  return (
    <tr class="stage" data-pipe-stage={s.n} data-device={s.deviceKey} data-first={s.first} data-count={s.count}>
      <td><span class="station on">{s.n}</span></td>
      <td><b>{s.deviceName}</b>{s.hardware && <span class="hw">{s.hardware}</span>}</td>
      <td class="nowrap" title={layers(s)}>{layersShort(s) || layers(s)}</td>
      <td class="num" title={breakdown(s.planned)}>{bytes(sumBytes(s.planned))}</td>
      <td class="num">
        {s.measured ? bytes(sumBytes(s.measured)) : <span class="none" title={t('stage.notMeasured')}>–</span>}
        {error !== null && <span class={`delta${Math.abs(error) > 0.05 ? ' far' : ''}`}>{signedPercent(error)}</span>}
      </td>
    </tr>
  );
}

function Table({ r }: { r: ReplicaView }) {
  const a = r.replica.assignment;
  const last = r.stages.at(-1);
  let at = r.mainId;
  let atName = a?.main_node ?? '';
  return (
    <div class="scroll" role="region" aria-label={t('pipe.caption')} tabIndex={0}>
      <table class="pipe-table">
        <caption>{t('pipe.caption')}</caption>
        <thead>
          <tr>
            <th scope="col">{t('pipe.stage')}</th><th scope="col">{t('pipe.where')}</th><th scope="col">{t('pipe.layers')}</th>
            <th scope="col" class="num">{t('pipe.planned')}</th><th scope="col" class="num">{t('pipe.measured')}</th>
          </tr>
        </thead>
        <tbody>
          <tr class="hop enter"><td /><td colSpan={4}>{t('pipe.in', { node: a?.main_node ?? '' })}</td></tr>
          {r.stages.map((s) => {
            const hop = <Hop from={atName} to={s.nodeId === at ? atName : s.nodeName} toName={s.nodeName} />;
            at = s.nodeId;
            atName = s.nodeName;
            return <Fragment key={s.n}>{hop}<StageRow s={s} /></Fragment>;
          })}
          {last && last.nodeId !== r.mainId && <Hop from={last.nodeName} to="" toName={a?.main_node ?? ''} back />}
        </tbody>
      </table>
    </div>
  );
}

function hops(r: ReplicaView): number {
  let n = 0;
  let at = r.mainId;
  for (const s of r.stages) {
    if (s.nodeId !== at) n++;
    at = s.nodeId;
  }
  return n + (at !== r.mainId ? 1 : 0);
}

function Facts({ m, r }: { m: ModelView; r: ReplicaView }) {
  const a = r.replica.assignment;
  const v = r.replica.tok_s;
  const speed = v && a?.tok_s ? t('pipe.speedBoth', { v: number(v, 1), p: number(a.tok_s, 1) })
    : v ? t('models.tokS', { v: number(v, 1) })
      : a?.tok_s ? t('pipe.speedPlan', { p: number(a.tok_s, 1) }) : '';
  const nHops = hops(r);
  const rows: [string, string][] = [
    [t('pipe.speed'), speed],
    [t('pipe.memory'), r.bytes > 0 ? `${bytes(r.bytes)}, ${t('pipe.stages', { n: r.stages.length })}, ` +
      (nHops > 0 ? t('pipe.hops', { n: nHops }) : t('pipe.noHops')) : ''],
    [t('pipe.context'), m.ctx > 0 ? `${t('pipe.contextOf', { n: m.ctx })}, ${t('models.slots', { n: m.slots })}` +
      (a?.kv ? `, KV ${a.kv}` : '') : ''],
    [t('pipe.main'), a?.main_node ?? ''],
    [t('pipe.engine'), a?.engine ?? ''],
    [t('pipe.plan'), a?.plan_id ?? ''],
  ];
  return (
    <dl class="pipe-facts">
      {rows.filter(([, v2]) => v2 !== '').map(([k, v2]) => <Fragment key={k}><dt>{k}</dt><dd>{v2}</dd></Fragment>)}
    </dl>
  );
}

function Status({ m, r }: { m: ModelView; r: ReplicaView }) {
  const x = r.replica;
  const since = typeof x.since_ms === 'number' ? x.since_ms + (now.value - r.at) : null;
  const reason = x.state !== 'ready' ? x.reason?.message || x.reason?.code || '' : '';
  return (
    <>
      <p class="pipe-state">
        <Badge state={x.state} text={since === null ? word('state', x.state)
          : t('pipe.since', { state: word('state', x.state), age: age(since) })} />
        {(x.restarts ?? 0) > 0 && <span class="muted">{t('pipe.restarts', { n: x.restarts! })}</span>}
      </p>
      {reason && (
        <div class="why">
          <p>{reason}</p>
          <p class="muted">{t('pipe.explain')} <Code text={'`stowage explain ' + m.name + '`'} /></p>
        </div>
      )}
      {x.state !== 'ready' && r.members.length > 0 && (
        <ul class="members" aria-label={t('pipe.members')}>
          {r.members.map((mb) => (
            <li><b>{mb.node}</b> {word('state', mb.state)}{mb.percent !== null && ` ${number(mb.percent)} %`}
              {mb.message && <span class="muted"> {mb.message}</span>}</li>
          ))}
        </ul>
      )}
    </>
  );
}

export function Pipeline() {
  const m = selectedModel.value;
  const r = selectedReplica.value;
  const box = useRef<HTMLElement>(null);
  const name = m?.name;
  // A panel that opens below the window's edge would look as if the click did nothing.
  useEffect(() => {
    const top = box.current?.getBoundingClientRect().top ?? 0;
    if (name === undefined) return;
    if (top > innerHeight - 120) box.current?.scrollIntoView({ block: 'center' });
    // The same for a pipeline that lies wholly outside the window, where list and racks are side by side.
    const racks = [...document.querySelectorAll('.barrow.on')].map((el) => el.closest('.rack')!);
    const seen = racks.some((el) => el.getBoundingClientRect().top < innerHeight - 80 && el.getBoundingClientRect().bottom > 80);
    if (racks.length > 0 && !seen && matchMedia('(min-width: 1041px)').matches) {
      const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
      racks[0]!.scrollIntoView({ block: 'center', behavior: calm ? 'auto' : 'smooth' });
    }
  }, [name]);
  if (!m) return null;
  return (
    <section class={`pipeline c${m.color}`} ref={box} aria-labelledby="pipe-title" data-pipeline={m.name}>
      <header>
        <h2 id="pipe-title"><span class="swatch" aria-hidden="true" />{t('pipe.title', { model: m.name })}</h2>
        <button type="button" class="tool" aria-label={t('pipe.close')} title={t('pipe.close')}
          onClick={() => (selection.value = null)}><Icon name="close" /></button>
      </header>
      {m.replicas.length > 1 && (
        <div class="tabs" role="group" aria-label={t('pipe.replicas')}>
          {m.replicas.map((x) => (
            <button type="button" aria-pressed={x === r}
              onClick={() => (selection.value = { model: m.name, replica: x.replica.index })}>
              {t('pipe.replica', { n: x.replica.index })}
            </button>
          ))}
        </div>
      )}
      {r && <Status m={m} r={r} />}
      {r && r.stages.length > 0 ? <><Facts m={m} r={r} /><Table r={r} /></>
        : !r?.replica.reason?.message && <p class="muted">{t('pipe.none')}</p>}
    </section>
  );
}
