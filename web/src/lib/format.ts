// Numbers as people read them: GiB for memory, as the command line prints it.
import { lang, number } from './i18n';

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

export function scaleOf(bytes: number): number {
  let u = 0;
  while (u < UNITS.length - 1 && bytes >= 1024 ** (u + 1)) u++;
  return u;
}

/** "22.6 GiB", "545 MiB", "0 B"; `unit` fixes the scale of a pair such as "1.6 / 47.1 GiB". */
export function bytes(n: number, unit?: number): string {
  const u = unit ?? scaleOf(n);
  return `${bytesBare(n, u)} ${UNITS[u]}`;
}

export function bytesBare(n: number, u: number): string {
  const v = n / 1024 ** u;
  return number(v, u < 3 || v >= 100 ? 0 : 1);
}

/** "used / total unit" in the unit of the total. */
export function pair(used: number, total: number): string {
  const u = scaleOf(total);
  // A small share of a large thing keeps its own unit: "34 GiB / 1.5 TiB", not "0.0 / 1.5 TiB".
  if (used > 0 && used < 0.95 * 1024 ** u) return `${bytes(used)} / ${bytes(total)}`;
  return `${bytesBare(used, u)} / ${bytes(total, u)}`;
}

export function percent(ratio: number, digits = 0): string {
  return `${number(ratio * 100, digits)} %`;
}

/** "+0.9 %" or "−0.9 %"; a true minus sign, and no sign for what rounds to nothing. */
export function signedPercent(ratio: number): string {
  const v = Math.round(ratio * 1000) / 10;
  return `${v > 0 ? '+' : v < 0 ? '−' : '±'}${number(Math.abs(v), 1)} %`;
}

/** An age in its largest unit: "3 s", "12 min", "2 h", "5 d". */
export function age(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  const [v, unit] = s < 60 ? [s, 'second'] : s < 3600 ? [Math.floor(s / 60), 'minute']
    : s < 86400 ? [Math.floor(s / 3600), 'hour'] : [Math.floor(s / 86400), 'day'];
  return new Intl.NumberFormat(lang.value, { style: 'unit', unit: unit as string, unitDisplay: 'short' }).format(v as number);
}
