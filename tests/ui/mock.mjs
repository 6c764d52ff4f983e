// A stand-in server for the UI: the built bundle with the headers of src/webui, and a scripted event stream.
//   node tests/ui/mock.mjs [--scene mixed|three|one|big|empty|hostile] [--port 8090] [--prefix /ui]
import { createServer } from 'node:http';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { scenes } from './scenes.mjs';

const dist = process.env.UI_DIST ?? join(dirname(fileURLToPath(import.meta.url)), '../../web/dist');
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8', '.svg': 'image/svg+xml' };
const SECURITY = {
  'content-security-policy': "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'",
  'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer',
};

/** Starts it; `control.drop()` cuts all streams and refuses new ones until `control.restore()`. */
export async function startMock({ scene = 'mixed', port = 0, prefix = '', key = 'sk-mock', live = true } = {}) {
  const state = scenes[scene]();
  const streams = new Set();
  let down = false;
  let revision = 100;
  const seen = { streams: 0, lastEventIds: [] };

  const send = (event, doc) => {
    const text = `id: ${++revision}\nevent: ${event}\ndata: ${JSON.stringify(doc)}\n\n`;
    for (const res of streams) res.write(text);
  };
  const json = (res, status, doc) => {
    res.writeHead(status, { 'content-type': 'application/json', ...SECURITY });
    res.end(JSON.stringify(doc));
  };
  const fail = (res, status, code) => json(res, status, { error: { code, message: code, hint: null, params: {} } });

  function api(req, res, path) {
    if (down) return req.socket.destroy();
    const given = (req.headers.authorization ?? '').replace(/^Bearer /, '');
    if (given === 'sk-api') return fail(res, 403, 'FORBIDDEN');
    if (given !== key) return fail(res, 401, 'AUTH');
    if (path === '/api/v1/replicas') return json(res, 200, { items: state.replicas });
    if (path !== '/api/v1/events') return fail(res, 404, 'NOT_FOUND');
    seen.streams++;
    seen.lastEventIds.push(req.headers['last-event-id'] ?? '');
    res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    res.write(`: hello\n\nid: ${revision}\nevent: snapshot\ndata: ${JSON.stringify(state)}\n\n`);
    streams.add(res);
    req.on('close', () => streams.delete(res));
  }

  const server = createServer((req, res) => {
    const full = decodeURIComponent(new URL(req.url, 'http://x').pathname);
    if (!full.startsWith(prefix)) return fail(res, 404, 'NOT_FOUND');
    const path = full.slice(prefix.length) || '/';
    if (path.startsWith('/api/')) return api(req, res, path);
    const file = join(dist, normalize(path === '/' ? '/index.html' : path));
    if (!file.startsWith(dist) || !existsSync(file)) return fail(res, 404, 'NOT_FOUND');
    res.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream', ...SECURITY });
    res.end(readFileSync(file));
  });
  await new Promise((ok) => server.listen(port, '127.0.0.1', ok));

  let beat = 0;
  const timer = live && setInterval(() => {
    beat++;
    for (const n of state.nodes) {
      if (n.state === 'lost') continue;
      for (const d of n.devices) if (d.claimed_bytes > 0) d.util_percent = Math.max(5, Math.min(99, d.util_percent + Math.round(Math.random() * 10 - 5)));
      send('node', { ...n, seen_ms: 300 + (beat % 5) * 60 });
    }
    for (const r of state.replicas) {
      if (r.state !== 'starting') continue;
      for (const m of r.members) m.percent = Math.min(99, m.percent + 2);
      send('replica', r);
    }
  }, 1500);

  const { port: real } = server.address();
  return {
    url: `http://127.0.0.1:${real}${prefix}/`, key, state, seen, send,
    control: {
      drop() { down = true; for (const s of streams) s.destroy(); },
      restore() { down = false; },
    },
    async close() {
      if (timer) clearInterval(timer);
      for (const s of streams) s.destroy();
      server.closeAllConnections();
      await new Promise((ok) => server.close(ok));
    },
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const arg = (name, otherwise) => {
    const i = process.argv.indexOf(`--${name}`);
    return i > 0 ? process.argv[i + 1] : otherwise;
  };
  const m = await startMock({ scene: arg('scene', 'mixed'), port: Number(arg('port', '8090')), prefix: arg('prefix', '') });
  console.log(`${m.url}#key=${m.key}`);
}
