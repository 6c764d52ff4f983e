// What leaves the build: small enough, nothing inline, nothing from elsewhere.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';

const BUDGET = 120 * 1024;
const out = mkdtempSync(join(tmpdir(), 'stowage-ui-'));
execFileSync('node', ['build.mjs', '--out', out], { stdio: 'pipe' });
after(() => rmSync(out, { recursive: true }));
const assets = readdirSync(join(out, 'assets')).filter((f) => !f.endsWith('.gz'));

test('scripts and styles fit the budget', () => {
  const sizes = assets.map((f) => gzipSync(readFileSync(join(out, 'assets', f)), { level: 9 }).length);
  const sum = sizes.reduce((a, b) => a + b, 0);
  assert.ok(sum <= BUDGET, `${sum} of ${BUDGET} bytes gzip`);
});

test('names carry a hash', () => {
  for (const f of assets) assert.match(f, /-[A-Z0-9]{8}\.(js|css)$/);
});

test('the page holds no inline script or style and only relative addresses', () => {
  const html = readFileSync(join(out, 'index.html'), 'utf8');
  assert.doesNotMatch(html, /<style|\sstyle=|\son\w+=|javascript:/i);
  assert.doesNotMatch(html, /<script(?![^>]*\ssrc=)/i);
  for (const [, url] of html.matchAll(/(?:src|href)="([^"]*)"/g)) assert.doesNotMatch(url!, /^(\/|[a-z]+:)/i);
});

test('nothing is fetched from elsewhere', () => {
  for (const f of assets) {
    const hosts = [...readFileSync(join(out, 'assets', f), 'utf8').matchAll(/https?:\/\/([\w.-]+)/g)].map((m) => m[1]);
    assert.deepEqual(hosts.filter((h) => h !== 'www.w3.org'), [], f);
  }
});

test('the lock file names no download address', () => {
  const lock = JSON.parse(readFileSync('package-lock.json', 'utf8')) as { packages: Record<string, { resolved?: string; integrity?: string }> };
  for (const [name, p] of Object.entries(lock.packages)) {
    assert.equal(p.resolved, undefined, name);
    if (name !== '') assert.ok(p.integrity, `${name} has no integrity`);
  }
});
