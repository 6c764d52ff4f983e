import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { lang, pickLang, t, word } from '../src/lib/i18n';
import { age, bytes, pair, signedPercent } from '../src/lib/format';

type Entry = string | Record<string, string>;
const read = (name: string): Record<string, Entry> => JSON.parse(readFileSync(`src/lang/${name}.json`, 'utf8'));
const en = read('en');
const others = readdirSync('src/lang').filter((f) => f !== 'en.json').map((f) => f.replace('.json', ''));
const forms = (e: Entry): string[] => (typeof e === 'string' ? [e] : Object.values(e));
const holes = (e: Entry): string[] => [...new Set(forms(e).flatMap((s) => s.match(/\{\w+\}/g) ?? []))].sort();

function sources(dir: string): string {
  return readdirSync(dir, { withFileTypes: true })
    .map((e) => (e.isDirectory() ? sources(join(dir, e.name)) : /\.tsx?$/.test(e.name) ? readFileSync(join(dir, e.name), 'utf8') : ''))
    .join('\n');
}

for (const name of others) {
  test(`${name} has every key of en and no other, with the same placeholders`, () => {
    const cat = read(name);
    assert.deepEqual(Object.keys(cat).sort(), Object.keys(en).sort());
    for (const [k, v] of Object.entries(en)) {
      assert.deepEqual(holes(cat[k]!), holes(v), k);
      assert.ok(forms(cat[k]!).every((f) => f.trim() !== ''), k);
      if (typeof cat[k] !== 'string') assert.ok('other' in cat[k]!, `${k} needs the form "other"`);
    }
  });
}

test('every key of the catalogue is used, and every literal key exists', () => {
  const text = sources('src');
  const prefixes = [...text.matchAll(/word\('([\w.]+)'/g)].map((m) => `${m[1]}.`).concat('login.');
  for (const k of Object.keys(en)) {
    assert.ok(text.includes(`'${k}'`) || prefixes.some((p) => k.startsWith(p)), `${k} is used nowhere`);
  }
  for (const [, k] of text.matchAll(/\bt\('([\w.]+)'/g)) assert.ok(k! in en, `${k} is in no catalogue`);
});

test('words: plural forms, unknown words and unfilled places stay visible', () => {
  lang.value = 'en';
  assert.equal(t('rack.cpus', { n: 1 }), '1 CPU');
  assert.equal(t('rack.cpus', { n: 12345 }), '12,345 CPUs');
  assert.equal(word('state', 'ready'), 'ready');
  assert.equal(word('state', 'dreaming'), 'dreaming');
  assert.equal(t('models.ctx'), 'ctx {n}');
  lang.value = 'zh-CN';
  assert.equal(word('state', 'ready'), '就绪');
  lang.value = 'en';
});

test('the language of the browser', () => {
  assert.equal(pickLang(['zh-TW', 'en']), 'zh-CN');
  assert.equal(pickLang(['fr', 'en-GB']), 'en');
  assert.equal(pickLang([]), 'en');
});

test('numbers as the command line prints them', () => {
  lang.value = 'en';
  const G = 2 ** 30;
  for (const [got, want] of [
    [bytes(0), '0 B'], [bytes(545 * 2 ** 20), '545 MiB'], [bytes(22.64 * G), '22.6 GiB'], [bytes(120 * G), '120 GiB'],
    [pair(1.6 * G, 47.1 * G), '1.6 / 47.1 GiB'], [pair(0.4 * G, 24 * G), '410 MiB / 24.0 GiB'], [pair(0, 24 * G), '0.0 / 24.0 GiB'],
    [pair(34 * G, 1500 * G), '34.0 GiB / 1.5 TiB'],
    [signedPercent(0.0091), '+0.9 %'], [signedPercent(-0.0091), '−0.9 %'], [signedPercent(0.0001), '±0.0 %'],
    [age(999), '0 sec'], [age(61_000), '1 min'], [age(7_300_000), '2 hr'],
  ]) assert.equal(got, want);
});
