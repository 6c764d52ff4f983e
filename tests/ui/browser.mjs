// Debian's Chromium by playwright-core, with every complaint of the page collected.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

const require = createRequire(new URL('../../web/package.json', import.meta.url));
const { chromium } = load();
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

function load() {
  try {
    return require('playwright-core');
  } catch (e) {
    throw new Error(`${e.message.split('\n')[0]}\nRun tests/ui/packages.sh first: it installs what the browser tests need.`);
  }
}

export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    // A headless browser in a test machine or container: no sandbox of its own, no calls home.
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  });
}

/** A page whose console errors, exceptions, policy violations and foreign requests land in `complaints`. */
export async function openPage(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1600, height: 1000 }, locale: 'en-US', ...options });
  await context.addInitScript(() => {
    globalThis.violations = [];
    document.addEventListener('securitypolicyviolation', (e) => globalThis.violations.push(`${e.violatedDirective} ${e.blockedURI}`));
  });
  const page = await context.newPage();
  const complaints = [];
  const expected = options.expect ?? [];
  const complain = (text) => {
    if (!expected.some((re) => re.test(text))) complaints.push(text);
  };
  let origin = null;
  page.on('console', (m) => (m.type() === 'error' || m.type() === 'warning') && complain(`console: ${m.text()}`));
  page.on('pageerror', (e) => complain(`exception: ${e.message}`));
  page.on('dialog', (d) => { complain(`dialog: ${d.message()}`); void d.dismiss(); });
  page.on('request', (r) => {
    const url = new URL(r.url());
    origin ??= url.origin;
    if (url.origin !== origin && url.protocol !== 'data:') complain(`request to ${url.origin}`);
  });
  return {
    page, context,
    /** All complaints so far. */
    async complaints() {
      return [...complaints, ...(await page.evaluate(() => globalThis.violations)).map((v) => `policy: ${v}`)];
    },
  };
}

/** What axe-core finds wrong, one line each. */
export async function accessibility(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run(document, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
  }));
  return found.violations.flatMap((v) => v.nodes.map((n) =>
    `${v.id}: ${n.target.join(' ')}: ${n.any.concat(n.all, n.none).map((c) => c.message).join('; ').slice(0, 200)}`));
}

/** How many pixels the page is wider than its window: 0 when nothing sticks out. */
export const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
