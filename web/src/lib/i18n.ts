// Words of the page. One JSON file per language; plural forms by Intl.PluralRules, numbers by
// Intl.NumberFormat. Names that users chose are never translated and only ever become text nodes.
import { computed, signal } from '@preact/signals';
import en from '../lang/en.json';
import zh from '../lang/zh-CN.json';

export type Key = keyof typeof en;
type Entry = string | { one?: string; other: string };
export const LANGS = { en: 'English', 'zh-CN': '简体中文' } as const;
export type Lang = keyof typeof LANGS;

const catalogues: Record<Lang, Partial<Record<Key, Entry>>> = { en, 'zh-CN': zh };

export const lang = signal<Lang>('en');
const plural = computed(() => new Intl.PluralRules(lang.value));

/** A language we have for what the browser asks for: any Chinese gets Simplified Chinese. */
export function pickLang(wanted: readonly string[]): Lang {
  for (const w of wanted) {
    if (/^zh\b/i.test(w)) return 'zh-CN';
    if (/^en\b/i.test(w)) return 'en';
  }
  return 'en';
}

export function t(key: Key, params: Record<string, string | number> = {}): string {
  const entry: Entry = catalogues[lang.value][key] ?? en[key];
  const form = typeof entry === 'string' ? entry
    : entry[plural.value.select(Number(params.n)) as 'one' | 'other'] ?? entry.other;
  return form.replace(/\{(\w+)\}/g, (all, name: string) => {
    const v = params[name];
    return v === undefined ? all : typeof v === 'number' ? number(v) : v;
  });
}

/** The translation of a word from the wire (a state), or the word itself when it is new to us. */
export function word(prefix: string, value: string): string {
  const key = `${prefix}.${value}`;
  return key in en ? t(key as Key) : value;
}

export function number(v: number, digits = 0): string {
  return new Intl.NumberFormat(lang.value, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(v);
}
