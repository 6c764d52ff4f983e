// Phrases that several parts of the page share.
import { bytes } from '../lib/format';
import { t, word } from '../lib/i18n';
import { KINDS, type Bytes, type Segment, type Stage } from '../lib/view';

/** "layers 3–41 + output"; a share without layers names what it holds. */
export function layers(s: { first: number; count: number; output: boolean; n: number }): string {
  if (s.count === 0) return s.output ? t('stage.outOnly') : t('stage.host');
  const range = s.count === 1 ? t('stage.layer', { from: s.first })
    : t('stage.layers', { from: s.first, to: s.first + s.count - 1 });
  return s.output ? `${range} ${t('stage.out')}` : range;
}

export function layersShort(s: Stage): string {
  if (s.count === 0) return s.output ? t('stage.outOnlyShort') : '';
  const range = s.count === 1 ? t('stage.layerShort', { from: s.first })
    : t('stage.layersShort', { from: s.first, to: s.first + s.count - 1 });
  return s.output ? `${range} ${t('stage.outShort')}` : range;
}

export function breakdown(b: Bytes): string {
  return KINDS.filter((k) => b[k] > 0).map((k) => `${word('kind', k)} ${bytes(b[k])}`).join(' · ');
}

export function segmentName(s: Segment): string {
  return s.stage ? `${s.stage.model} ${word('kind', s.kind)}` : word('kind', s.kind);
}
