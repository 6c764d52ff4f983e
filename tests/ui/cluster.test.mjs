// The Cluster page against a running server:
//   node tests/ui/cluster.test.mjs --url http://HOST:PORT/ --key KEY --expect-nodes 3 --model NAME [--screenshot DIR]
// (or UI_URL, UI_KEY in the environment). Prints TAP; exit status 1 when a check failed.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { accessibility, launch, openPage, overflow } from './browser.mjs';

const { values: args } = parseArgs({
  options: {
    url: { type: 'string', default: process.env.UI_URL }, key: { type: 'string', default: process.env.UI_KEY },
    'expect-nodes': { type: 'string' }, model: { type: 'string' }, screenshot: { type: 'string' },
  },
});
if (!args.url || !args.key || !args.model || !args['expect-nodes']) {
  console.error('usage: cluster.test.mjs --url URL --key KEY --expect-nodes N --model NAME [--screenshot DIR]');
  process.exit(2);
}
const url = args.url.endsWith('/') ? args.url : `${args.url}/`;
const nodes = Number(args['expect-nodes']);
const model = args.model;

let count = 0;
let failed = 0;
async function check(name, body) {
  count++;
  try {
    await body();
    console.log(`ok ${count} - ${name}`);
  } catch (e) {
    failed++;
    console.log(`not ok ${count} - ${name}\n${String(e.message).split('\n').map((l) => `# ${l}`).join('\n')}`);
  }
}
async function shot(page, name, fullPage = false) {
  if (!args.screenshot) return;
  mkdirSync(args.screenshot, { recursive: true });
  await page.screenshot({ path: join(args.screenshot, `${name}.png`), fullPage });
}

/** The pipeline that the API tells, by the rules of docs/api.md and not by the page's own code. */
async function expectedPipeline() {
  const res = await fetch(`${url}api/v1/replicas`, { headers: { authorization: `Bearer ${args.key}` } });
  assert.equal(res.status, 200);
  const ready = (await res.json()).items.filter((r) => r.deployment === model && r.state === 'ready').sort((a, b) => a.index - b.index);
  assert.ok(ready.length > 0, `no ready replica of ${model}`);
  const a = ready[0].assignment;
  const cpu = a.n_cpu_layers > 0 ? [[`${a.main_id}/ram`, 0, a.n_cpu_layers]] : [];
  return {
    main: a.main_id,
    stages: [...cpu, ...a.parts.map((p) => [`${p.node_id}/${p.uuid || 'ram'}`, p.first_layer, p.n_layers])],
  };
}

const browser = await launch();
const { page, complaints } = await openPage(browser);
const button = page.locator(`[data-model="${model}"]`);
const pipeline = page.locator(`[data-pipeline="${model}"]`);

await check('the page comes with its security headers, its assets for ever', async () => {
  const assets = [];
  page.on('response', (r) => r.url().includes('/assets/') && assets.push(r));
  const res = await page.goto(`${url}#key=${encodeURIComponent(args.key)}`);
  const h = res.headers();
  assert.match(h['content-security-policy'] ?? '', /default-src 'self'/);
  assert.match(h['content-security-policy'] ?? '', /frame-ancestors 'none'/);
  assert.equal(h['x-content-type-options'], 'nosniff');
  assert.equal(h['referrer-policy'], 'no-referrer');
  await page.waitForSelector('.rack');
  assert.ok(assets.length >= 2);
});

await check('the key leaves the address bar at once', async () => {
  assert.doesNotMatch(page.url(), /key=/);
  assert.equal(await page.evaluate(() => document.body.innerHTML.includes(sessionStorage.getItem('stowage.key'))), false);
});

await check(`${nodes} racks, each with a state in words`, async () => {
  await page.waitForFunction((n) => document.querySelectorAll('.rack').length === n, nodes, { timeout: 15_000 });
  for (const rack of await page.locator('.rack').all()) {
    assert.notEqual((await rack.locator('.badge').first().innerText()).trim(), '');
  }
});

await check('every rack has a memory bar whose segments take up all of it', async () => {
  for (const rack of await page.locator('.rack').all()) {
    const bars = await rack.locator('.bar').all();
    assert.ok(bars.length > 0);
    for (const bar of bars) {
      const kinds = await bar.locator('.seg').evaluateAll((els) => els.map((e) => [e.dataset.kind, Number(e.dataset.bytes)]));
      assert.ok(kinds.length > 0 && kinds.every(([, n]) => n > 0), JSON.stringify(kinds));
    }
  }
});

await check('the stream is live', async () => {
  await page.waitForSelector('[data-stream="live"]');
  assert.equal(await page.locator('[data-banner]').count(), 0);
});

await check(`${model} is ready`, async () => {
  await page.waitForSelector(`[data-model="${model}"][data-state="ready"]`, { timeout: 60_000 });
  await shot(page, '1-racks');
});

await check('a click lights the pipeline up in the order that the API tells', async () => {
  const want = await expectedPipeline();
  await button.click();
  await pipeline.waitFor();
  const rows = await page.locator('[data-pipe-stage]').evaluateAll((els) =>
    els.map((e) => [Number(e.dataset.pipeStage), e.dataset.device, Number(e.dataset.first), Number(e.dataset.count)]));
  assert.deepEqual(rows, want.stages.map((s, i) => [i + 1, ...s]));
  const lit = await page.locator('[data-stage]').evaluateAll((els) =>
    els.flatMap((e) => e.dataset.stage.split(',').map((n) => [Number(n), e.dataset.bar])).sort((a, b) => a[0] - b[0]));
  assert.deepEqual(lit, want.stages.map(([key], i) => [i + 1, key]));
  const devices = [`${want.main}/ram`, ...want.stages.map(([key]) => key)];
  let wires = devices.filter((key, i) => i > 0 && key !== devices[i - 1]).length;
  if (devices.at(-1).split('/')[0] !== want.main) wires++; // the way back
  await page.waitForFunction((n) => document.querySelector('[data-wires]')?.dataset.wires === String(n), wires, { timeout: 5000 });
  await page.mouse.move(1, 1);
  await shot(page, '2-pipeline');
  await shot(page, '3-pipeline-full', true);
});

await check('a bar with the model shows its share on hover', async () => {
  const bar = page.locator('[data-stage] .bar').first();
  await bar.hover();
  const tip = page.locator('#tip');
  await tip.waitFor();
  assert.ok((await tip.innerText()).includes(model));
  await shot(page, '4-tip');
  await page.mouse.move(1, 1);
});

await check('keyboard alone: close, open, walk the bars', async () => {
  await page.keyboard.press('Escape');
  await pipeline.waitFor({ state: 'detached' });
  await button.focus();
  await page.keyboard.press('Enter');
  await pipeline.waitFor();
  const tabbable = await page.locator('.bar[tabindex="0"]').count();
  assert.equal(tabbable, 1, 'one tab stop for all bars');
  await page.locator('.bar[tabindex="0"]').focus();
  await page.keyboard.press('Home');
  const first = await page.evaluate(() => document.activeElement.closest('[data-bar]').dataset.bar);
  await page.locator('#tip').waitFor();
  await page.keyboard.press('ArrowDown');
  const second = await page.evaluate(() => document.activeElement.closest('[data-bar]').dataset.bar);
  if (await page.locator('.bar').count() > 1) assert.notEqual(second, first);
  await page.locator('[data-stage] .bar').first().focus();
  await page.keyboard.press('Escape');
  await page.keyboard.press('Enter');
  await page.waitForSelector('[data-pipeline]');
});

await check('the table twin has a row per bar', async () => {
  const bars = await page.locator('.bar').count();
  await page.getByRole('button', { name: 'Table' }).click();
  assert.equal(await page.locator('table.devices tbody tr').count(), bars);
  await shot(page, '5-table');
  await page.getByRole('button', { name: 'Picture' }).click();
});

await check('accessible as axe-core sees it, light', async () => {
  assert.deepEqual(await accessibility(page), []);
});

await check('no error, no policy violation, no request elsewhere', async () => {
  assert.deepEqual(await complaints(), []);
});

for (const [name, options, title] of [
  ['6-dark', { colorScheme: 'dark' }, 'Cluster'], ['7-zh-CN', { locale: 'zh-CN' }, '集群'],
  ['8-zh-CN-dark-phone', { locale: 'zh-CN', colorScheme: 'dark', viewport: { width: 390, height: 844 } }, '集群'],
  ['9-phone', { viewport: { width: 390, height: 844 }, reducedMotion: 'reduce' }, 'Cluster'],
]) {
  await check(`variant ${name}: legible, nothing sticks out, accessible`, async () => {
    const other = await openPage(browser, options);
    await other.page.goto(`${url}#key=${encodeURIComponent(args.key)}`);
    await other.page.waitForSelector('.rack');
    assert.ok((await other.page.title()).includes(title), await other.page.title());
    await other.page.click(`[data-model="${model}"]`);
    await other.page.waitForSelector('[data-wires]', { state: 'attached' });
    await other.page.mouse.move(1, 1);
    await shot(other.page, name, true);
    assert.ok(await overflow(other.page) <= 0, `${await overflow(other.page)} px too wide`);
    assert.deepEqual(await accessibility(other.page), []);
    assert.deepEqual(await other.complaints(), []);
    await other.context.close();
  });
}

await browser.close();
console.log(`1..${count}`);
process.exit(failed > 0 ? 1 : 0);
