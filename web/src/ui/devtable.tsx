// The table twin of the racks: the same bytes as words.
import { bytes } from '../lib/format';
import { t, word } from '../lib/i18n';
import { KINDS, type Bar } from '../lib/view';
import { view } from './store';
import { layersShort } from './text';

function cell(b: Bar, kind: string): string {
  const n = b.segments.filter((s) => s.kind === kind).reduce((x, s) => x + s.bytes, 0);
  return n > 0 ? bytes(n) : '–';
}

export function DeviceTable() {
  const kinds = [...KINDS, 'other', 'free'];
  return (
    <div class="scroll" role="region" aria-label={t('table.caption')} tabIndex={0}>
      <table class="devices">
        <caption>{t('table.caption')}</caption>
        <thead>
          <tr>
            <th scope="col">{t('table.node')}</th><th scope="col">{t('table.state')}</th><th scope="col">{t('table.device')}</th>
            <th scope="col" class="num">{t('table.total')}</th>
            {kinds.map((k) => <th scope="col" class="num">{word('kind', k)}</th>)}
            <th scope="col">{t('table.models')}</th>
          </tr>
        </thead>
        <tbody>
          {view.value.racks.flatMap((r) => r.bars.map((b, i) => (
            <tr key={b.key} class={i === 0 ? 'first' : ''}>
              <th scope="row">{r.node.name}</th>
              <td>{word('node', r.node.state)}</td>
              <td>{b.short} {b.hardware}</td>
              <td class="num">{bytes(b.total)}</td>
              {kinds.map((k) => <td class="num">{cell(b, k)}</td>)}
              <td>{b.stages.map((s) => `${s.model} ${layersShort(s)}`).join(', ')}</td>
            </tr>
          )))}
        </tbody>
      </table>
    </div>
  );
}
