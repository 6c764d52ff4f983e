// The Cluster page against the mock server: what a real cluster does not do on demand. Needs a built web/dist, or UI_DIST.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { accessibility, launch, openPage, overflow } from './browser.mjs';
import { startMock } from './mock.mjs';

let browser;
before(async () => (browser = await launch()));
after(async () => browser.close());

/** Opens a scene, signed in. */
async function open(t, scene, options = {}, mockOptions = {}) {
  const mock = await startMock({ scene, ...mockOptions });
  const p = await openPage(browser, options);
  t.after(async () => { await p.context.close(); await mock.close(); });
  await p.page.goto(`${mock.url}#key=${mock.key}`);
  await p.page.waitForSelector('.rack, .empty');
  return { mock, ...p };
}

for (const [scene, model, nodes] of [['mixed', 'deepseek-r1-671b', 8], ['three', 'tiny', 3], ['one', 'qwen3-4b', 1], ['big', 'llama-3.1-405b', 40]]) {
  test(`the checks of the running cluster hold for the scene ${scene}`, async () => {
    const mock = await startMock({ scene });
    const args = ['--url', mock.url, '--key', mock.key, '--expect-nodes', String(nodes), '--model', model];
    if (process.env.SCREENSHOTS) args.push('--screenshot', `${process.env.SCREENSHOTS}/${scene}`);
    try {
      await promisify(execFile)(process.execPath, [fileURLToPath(new URL('cluster.test.mjs', import.meta.url)), ...args]);
    } catch (e) {
      assert.fail(`${e.stdout}\n${e.stderr}`);
    } finally {
      await mock.close();
    }
  });
}

test('a key of the form is taken, a wrong one and one without the scope are explained', async (t) => {
  const mock = await startMock({ scene: 'one' });
  const { page, context, complaints } = await openPage(browser, { expect: [/status of 40[13]/] });
  t.after(async () => { await context.close(); await mock.close(); });
  await page.goto(mock.url);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'key');
  assert.deepEqual(await accessibility(page), []);
  for (const [key, says] of [['', /Enter a key/], ['sk-wrong', /does not know this key/], ['sk-api', /scope admin/]]) {
    await page.fill('#key', key);
    await page.keyboard.press('Enter');
    await page.waitForFunction((re) => new RegExp(re).test(document.querySelector('[role=alert]')?.textContent ?? ''), says.source);
  }
  await page.fill('#key', ` ${mock.key} `);
  await page.keyboard.press('Enter');
  await page.waitForSelector('.rack');
  await page.reload();
  await page.waitForSelector('.rack');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.waitForSelector('#key');
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  assert.deepEqual(await complaints(), []);
});

test('a cut stream is told with its age, and resumed where it was', async (t) => {
  const { mock, page } = await open(t, 'mixed', { expect: [/ERR_/] });
  await page.waitForSelector('[data-stream="live"]');
  mock.control.drop();
  await page.waitForSelector('[data-banner]');
  await page.waitForTimeout(1500);
  assert.match(await page.locator('[data-banner]').innerText(), /This picture is \d+ sec old.*Connection lost/s);
  assert.deepEqual(await accessibility(page), []);
  assert.equal(await page.locator('.rack').count(), 8, 'the last picture stays');
  mock.control.restore();
  await page.locator('[data-banner] button').click({ timeout: 2000 }).catch(() => {}); // it may have come back by itself
  await page.waitForSelector('[data-banner]', { state: 'detached', timeout: 20_000 });
  assert.notEqual(mock.seen.lastEventIds.at(-1), '');
});

test('changes arrive by themselves: a model becomes ready, a node is lost, both are announced', async (t) => {
  const { mock, page } = await open(t, 'mixed', {}, { live: false });
  const r = mock.state.replicas.find((x) => x.state === 'starting');
  await page.waitForSelector(`[data-model="${r.deployment}"] [role=progressbar]`);
  mock.send('replica', { ...r, state: 'ready', tok_s: 16.1 });
  await page.waitForSelector(`[data-model="${r.deployment}"][data-state="ready"]`);
  assert.match(await page.locator('[role=status]').innerText(), new RegExp(`${r.deployment}: ready`));
  mock.send('node', { ...mock.state.nodes[0], state: 'lost' });
  await page.waitForSelector('.rack.s-lost[data-node="host01-3090"]');
  mock.send('replica', { ...r, deleted: true });
  mock.send('deployment', { name: r.deployment, deleted: true });
  await page.waitForSelector(`[data-model="${r.deployment}"]`, { state: 'detached' });
});

test('a waiting model says what it waits for', async (t) => {
  const { page } = await open(t, 'mixed');
  assert.match(await page.locator('[data-model="qwq-32b-fp16"]').innerText(), /pending[^]*5\.9 GiB short/);
  await page.click('[data-model="qwq-32b-fp16"]');
  assert.match(await page.locator('[data-pipeline]').innerText(), /stowage explain qwq-32b-fp16/);
});

test('a segment chooses its own model; replicas have their own pipelines', async (t) => {
  const { page } = await open(t, 'mixed');
  await page.click('.rack[data-node="host03-3090"] [data-bar] [data-of="gemma-3-4b"]');
  await page.waitForSelector('[data-pipeline="gemma-3-4b"]');
  await page.click('[data-model="qwen3-32b"]');
  const devices = () => page.locator('[data-pipe-stage]').evaluateAll((els) => els.map((e) => e.dataset.device));
  const first = await devices();
  await page.getByRole('button', { name: 'Replica 1' }).click();
  assert.notDeepEqual(await devices(), first);
  assert.match(page.url(), /#m=qwen3-32b&r=1$/);
  await page.reload();
  await page.waitForSelector('[data-pipeline="qwen3-32b"]');
  assert.notDeepEqual(await devices(), first, 'the address keeps the choice');
});

test('an empty cluster says what to do next', async (t) => {
  const { page, complaints } = await open(t, 'empty');
  assert.match(await page.locator('.racks .empty').innerText(), /stowage token create/);
  assert.match(await page.locator('.models .empty').innerText(), /stowage deploy/);
  assert.deepEqual(await accessibility(page), []);
  assert.deepEqual(await complaints(), []);
});

test('names stay text', async (t) => {
  const { page, complaints } = await open(t, 'hostile', { viewport: { width: 390, height: 844 } });
  assert.match(await page.locator('.rack h3').innerText(), /<img src=x/);
  assert.equal(await page.locator('.rack img, .rack script').count(), 0);
  assert.ok(await overflow(page) <= 0);
  assert.deepEqual(await complaints(), []);
});

test('works below a path prefix', async (t) => {
  const { page, complaints } = await open(t, 'one', {}, { prefix: '/gpu/ui' });
  await page.waitForSelector('[data-stream="live"]');
  assert.deepEqual(await complaints(), []);
});

test('colours and language are chosen by hand and kept', async (t) => {
  const { page } = await open(t, 'one', { colorScheme: 'light' });
  const background = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await background();
  await page.getByRole('button', { name: 'Switch to dark colours' }).click();
  assert.notEqual(await background(), light);
  await page.selectOption('select', 'zh-CN');
  await page.reload();
  await page.waitForSelector('.rack');
  assert.equal(await page.evaluate(() => document.documentElement.lang), 'zh-CN');
  assert.notEqual(await background(), light);
});

test('nothing moves for those who asked for stillness', async (t) => {
  const { page } = await open(t, 'mixed', { reducedMotion: 'reduce' });
  await page.click('[data-model="deepseek-r1-671b"]');
  await page.waitForSelector('[data-wires]', { state: 'attached' });
  const running = await page.evaluate(() => document.getAnimations().filter((a) => a.playState === 'running').length);
  assert.equal(running, 0);
});
