// Top line: brand, totals of the cluster, state of the stream, language, colours, sign out.
import { dropKey, key } from '../lib/auth';
import { pair, percent } from '../lib/format';
import { LANGS, lang, number, t, type Lang } from '../lib/i18n';
import { Icon, Logo } from './icons';
import { setLang, setTheme, status, theme, view } from './store';

function Meter({ label, used, total }: { label: string; used: number; total: number }) {
  const ratio = total > 0 ? used / total : 0;
  return (
    <div class="total">
      <span class="total-label">{label}</span>
      <span class="total-value">{pair(used, total)}</span>
      <span class="meter" aria-hidden="true"><span style={{ width: percent(Math.min(1, ratio)).replace(/\s/g, '') }} /></span>
    </div>
  );
}

function Totals() {
  const s = view.value.totals;
  return (
    <div class="totals">
      <div class="total">
        <span class="total-label">{t('total.nodes', { n: s.nodes })}</span>
        <span class="total-value">{s.ready === s.nodes ? number(s.nodes) : t('total.nodesReady', { ready: s.ready, n: s.nodes })}</span>
      </div>
      {s.gpus > 0 && (
        <div class="total">
          <span class="total-label">{t('total.gpus', { n: s.gpus })}</span>
          <span class="total-value">{number(s.gpus)}</span>
        </div>
      )}
      {s.vram > 0 && <Meter label={t('total.vram')} used={s.vramUsed} total={s.vram} />}
      {s.ram > 0 && <Meter label={t('total.ram')} used={s.ramUsed} total={s.ram} />}
    </div>
  );
}

function Pulse() {
  const kind = status.value.kind;
  const word = kind === 'live' ? t('stream.live') : kind === 'connecting' ? t('stream.connecting') : t('stream.down');
  return <span class={`pulse pulse-${kind}`} data-stream={kind}><span class="dot" aria-hidden="true" />{word}</span>;
}

/** Language, colours and, once signed in, the way out. */
export function Tools() {
  const dark = theme.value === 'dark';
  return (
    <div class="tools">
      <select aria-label={t('app.language')} value={lang.value}
        onChange={(e) => setLang(e.currentTarget.value as Lang)}>
        {Object.entries(LANGS).map(([k, name]) => <option value={k} lang={k} selected={k === lang.value}>{name}</option>)}
      </select>
      <button type="button" class="tool" title={t(dark ? 'app.theme.toLight' : 'app.theme.toDark')}
        aria-label={t(dark ? 'app.theme.toLight' : 'app.theme.toDark')} onClick={() => setTheme(dark ? 'light' : 'dark')}>
        <Icon name={dark ? 'sun' : 'moon'} />
      </button>
      {key.value !== '' && (
        <button type="button" class="tool" title={t('app.signOut')} aria-label={t('app.signOut')} onClick={() => dropKey('')}>
          <Icon name="out" />
        </button>
      )}
    </div>
  );
}

export function Header() {
  return (
    <header class="top">
      <div class="brand"><Logo /><h1>Stowage <span>{t('app.title')}</span></h1></div>
      <Pulse />
      <Totals />
      <Tools />
    </header>
  );
}
