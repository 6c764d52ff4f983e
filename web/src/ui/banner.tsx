// Says when the picture is no longer live, how old it is, and what happens next.
import { age } from '../lib/format';
import { t, word } from '../lib/i18n';
import { cluster, lastByte, now, retryNow, status } from './store';

/** A live stream shows at least a heartbeat each 15 s; before this age silence is normal. */
const QUIET_MS = 20_000;

export function Banner() {
  const s = status.value;
  const at = lastByte.value;
  const old = at === null ? null : now.value - at;
  const loaded = cluster.value.loaded;
  const quiet = s.kind === 'live' && old !== null && old > QUIET_MS;
  const down = s.kind === 'down';
  const again = s.kind === 'connecting' && loaded;
  if (!quiet && !down && !again) return null;
  const wait = s.kind === 'down' ? Math.max(0, Math.ceil((s.retryAt - now.value) / 1000)) : 0;
  return (
    <div class="banner" role="alert" data-banner>
      <strong>{loaded && old !== null ? t('stream.stale', { age: age(old) }) : t('stream.none')}</strong>{' '}
      {s.kind === 'down' && <span>{t('stream.why', { why: word('stream.why', s.why) })} {t('stream.retryIn', { s: wait })}</span>}
      {again && <span>{t('stream.retrying')}</span>}
      {down && <button type="button" onClick={retryNow}>{t('stream.retryNow')}</button>}
    </div>
  );
}
