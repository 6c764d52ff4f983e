// Builds the UI: `node build.mjs [--out DIR]` writes hashed assets, their .gz twins and index.html;
// `node build.mjs --tests` bundles test/*.test.ts into .tests/ for node's own runner.
import { build } from 'esbuild';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const here = dirname(fileURLToPath(import.meta.url));
const shared = {
  absWorkingDir: here, bundle: true, format: 'esm', target: ['es2022'], jsx: 'automatic',
  jsxImportSource: 'preact', logLevel: 'warning', legalComments: 'none',
};

/** Every file below dir, relative and sorted. */
function walk(dir, base = dir) {
  return readdirSync(dir, { withFileTypes: true })
    .flatMap((e) => e.isDirectory() ? walk(join(dir, e.name), base) : [relative(base, join(dir, e.name))])
    .sort();
}

/** Identifies what a bundle was made of, so that a stale one is noticed. The order is by path. */
function sourcesHash() {
  const h = createHash('sha256');
  const files = ['package-lock.json', 'build.mjs', 'index.html',
    ...walk(join(here, 'src')).map((f) => join('src', f)),
    ...walk(join(here, 'public')).map((f) => join('public', f))];
  for (const f of files.sort()) h.update(f + '\0').update(readFileSync(join(here, f))).update('\0');
  return h.digest('hex');
}

async function buildTests() {
  const dir = join(here, 'test');
  rmSync(join(here, '.tests'), { recursive: true, force: true });
  await build({
    ...shared, platform: 'node', outdir: join(here, '.tests'),
    entryPoints: readdirSync(dir).filter((f) => f.endsWith('.test.ts')).map((f) => join(dir, f)),
    outExtension: { '.js': '.mjs' },
  });
}

async function buildBundle(out) {
  rmSync(out, { recursive: true, force: true });
  mkdirSync(join(out, 'assets'), { recursive: true });
  const result = await build({
    ...shared, minify: true, metafile: true, outdir: join(out, 'assets'), entryNames: '[name]-[hash]',
    entryPoints: { app: 'src/main.tsx', style: 'src/style/main.css' },
  });
  cpSync(join(here, 'public'), out, { recursive: true });
  const names = Object.keys(result.metafile.outputs).map((f) => basename(f));
  const pick = (re) => names.find((n) => re.test(n)) ?? (() => { throw new Error(`no output ${re}`); })();
  const html = readFileSync(join(here, 'index.html'), 'utf8')
    .replace('%STYLE%', `assets/${pick(/^style-.*\.css$/)}`)
    .replace('%SCRIPT%', `assets/${pick(/^app-.*\.js$/)}`);
  writeFileSync(join(out, 'index.html'), html);
  for (const f of walk(out)) {
    const raw = readFileSync(join(out, f));
    const gz = gzipSync(raw, { level: 9 });
    // A twin that saves nothing is only weight in the binary.
    if (gz.length < raw.length * 0.9) writeFileSync(join(out, `${f}.gz`), gz);
  }
  writeFileSync(join(out, '.sources'), sourcesHash() + '\n');
  const sizes = walk(out).filter((f) => f.endsWith('.gz')).map((f) => `${f} ${statSync(join(out, f)).size}`);
  console.log(`built ${out}: ${sizes.join(', ')} bytes`);
}

const args = process.argv.slice(2);
const at = args.indexOf('--out');
if (args.includes('--tests')) await buildTests();
else if (args.includes('--hash')) console.log(sourcesHash());
else await buildBundle(at >= 0 ? resolve(args[at + 1]) : join(here, 'dist'));
