// What a bar holds, shown on hover and focus: layers, bytes, planned against measured.
import { signal } from '@preact/signals';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { bytes, pair, percent, signedPercent } from '../lib/format';
import { number, t, word } from '../lib/i18n';
import { KINDS, measuredError, type Bar, type Stage } from '../lib/view';
import { view } from './store';
import { layers } from './text';

export const tip = signal<{ key: string; anchor: HTMLElement; seg: number | null } | null>(null);

function Readings({ b }: { b: Bar }) {
  const d = b.device;
  if (!d) return null;
  const list = [
    typeof d.util_percent === 'number' ? t('tip.util', { v: percent(d.util_percent / 100) }) : '',
    typeof d.temp_c === 'number' && d.temp_c > 0 ? t('tip.temp', { v: d.temp_c }) : '',
    typeof d.power_w === 'number' && d.power_w > 0 ? t('tip.power', { v: d.power_w }) : '',
    d.bandwidth_bytes_per_s ? t('tip.bandwidth', { v: number(d.bandwidth_bytes_per_s / 1e9) }) : '',
    d.backend && d.backend !== 'cuda' ? d.backend : '',
  ].filter((x) => x !== '');
  return list.length > 0 ? <p class="muted">{list.join(' · ')}</p> : null;
}

function StageTip({ s, on }: { s: Stage; on: boolean }) {
  const error = measuredError(s);
  return (
    <table class={`c${s.color}${on ? ' hot' : ''}`}>
      <caption><span class="swatch" aria-hidden="true" /><b>{s.model}</b> {layers(s)}</caption>
      <thead><tr><td /><th scope="col">{t('stage.planned')}</th><th scope="col">{t('stage.measured')}</th></tr></thead>
      <tbody>
        {KINDS.filter((k) => s.planned[k] > 0 || (s.measured?.[k] ?? 0) > 0).map((k) => (
          <tr>
            <th scope="row"><span class={`seg k-${k}`} aria-hidden="true" />{word('kind', k)}</th>
            <td>{bytes(s.planned[k])}</td>
            <td>{s.measured && k !== 'runtime' ? bytes(s.measured[k]) : '–'}</td>
          </tr>
        ))}
      </tbody>
      {error !== null && <tfoot><tr><td colSpan={3}>{t('stage.measured')}: {signedPercent(error)}</td></tr></tfoot>}
    </table>
  );
}

export function Tip() {
  const at = tip.value;
  const box = useRef<HTMLDivElement>(null);
  const bar = at && view.value.racks.flatMap((r) => r.bars).find((b) => b.key === at.key);
  // Above or below the bar, always inside the window.
  useLayoutEffect(() => {
    const el = box.current;
    if (!el || !at) return;
    const a = at.anchor.getBoundingClientRect();
    const w = el.offsetWidth;
    const h = el.offsetHeight;
    const below = a.bottom + 8 + h <= innerHeight || a.top < h + 8;
    el.style.left = `${Math.max(8, Math.min(innerWidth - w - 8, a.left + a.width / 2 - w / 2))}px`;
    el.style.top = `${below ? Math.min(a.bottom + 8, innerHeight - h - 8) : a.top - h - 8}px`;
  });
  if (!at || !bar) return null;
  const hot = at.seg === null ? undefined : bar.segments[at.seg]?.stage;
  const rest = bar.segments.filter((s) => s.kind === 'other' || s.kind === 'free');
  const stages = [...new Set(bar.segments.map((s) => s.stage).filter((s): s is Stage => s !== null))];
  const experts = bar.host.reduce((n, h) => n + h.experts, 0);
  return (
    <div class="tip" id="tip" role="tooltip" ref={box}>
      <p class="tip-title"><b>{bar.label}</b> {bar.hardware} <span>{pair(bar.used, bar.total)}</span></p>
      <Readings b={bar} />
      {stages.map((s) => <StageTip s={s} on={s === hot} />)}
      {experts > 0 && <p class="muted">{t('stage.experts', { n: experts })}</p>}
      <ul>{rest.map((s) => <li><span class={`seg k-${s.kind}`} aria-hidden="true" />{word('kind', s.kind)} <span>{bytes(s.bytes)}</span></li>)}</ul>
      {bar.over > 0 && <p class="error">{t('bar.over', { bytes: bytes(bar.over) })}</p>}
    </div>
  );
}
