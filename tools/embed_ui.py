#!/usr/bin/env python3
"""Makes the C source that carries the web UI, for src/webui/meson.build.

The bundle is web/dist when it is there (release archives carry it; it must fit the sources), else it is built
here by npm in the build folder, else, unless the UI is required, a plain page says how to get it. All files
go into one blob that the generated source takes in by .incbin; a table beside it names them.
"""
import argparse
import gzip
import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

TYPES = {
    '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8',
    '.css': 'text/css; charset=utf-8', '.svg': 'image/svg+xml', '.json': 'application/json',
    '.png': 'image/png', '.ico': 'image/x-icon', '.txt': 'text/plain; charset=utf-8',
}
HASHED = re.compile(r'^/assets/.*-[A-Z0-9]{8}\.[a-z]+$')

PLAIN = '''<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Stowage</title></head>
<body>
<h1>Stowage runs, without its web UI</h1>
<p>This binary was built without the web UI: {why}.</p>
<p>To get it, install Node.js and npm, then run <code>ninja -C build -t clean && ninja -C build</code>, or build the
bundle elsewhere with <code>npm ci && npm run build</code> in the folder <code>web</code> and copy <code>web/dist</code>.</p>
<p>The command line shows the same: <code>stowage nodes</code>, <code>stowage gpus</code>, <code>stowage ps</code>.</p>
</body>
</html>
'''


def source_files(web):
    """What a bundle is made of, as web/build.mjs counts it, sorted by path."""
    names = ['package-lock.json', 'build.mjs', 'index.html']
    for folder in ('src', 'public'):
        names += [str(p.relative_to(web)) for p in (web / folder).rglob('*') if p.is_file()]
    return sorted(names)


def sources_hash(web):
    h = hashlib.sha256()
    for name in source_files(web):
        h.update(name.encode() + b'\0' + (web / name).read_bytes() + b'\0')
    return h.hexdigest()


def run(argv, cwd):
    """Runs quietly; gives the output of a failure, or None."""
    r = subprocess.run(argv, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return r.stdout if r.returncode else None


def npm_build(web, work, npm):
    """Builds into work/dist and gives (folder, None), or (None, why) when the packages cannot be had."""
    work.mkdir(parents=True, exist_ok=True)
    for name in ('src', 'public'):
        shutil.rmtree(work / name, ignore_errors=True)
        shutil.copytree(web / name, work / name)
    for name in ('package.json', 'package-lock.json', '.npmrc', 'build.mjs', 'index.html'):
        shutil.copy2(web / name, work / name)
    lock = hashlib.sha256((web / 'package-lock.json').read_bytes()).hexdigest()
    stamp = work / 'node_modules' / '.stowage-lock'
    if not stamp.is_file() or stamp.read_text() != lock:
        print('web UI: npm ci', flush=True)
        failed = run([npm, 'ci', '--omit=dev', '--no-audit', '--no-fund', '--prefer-offline'], work)
        if failed is not None:
            return None, 'npm ci failed', failed
        stamp.write_text(lock)
    failed = run(['node', 'build.mjs', '--out', str(work / 'dist')], work)
    if failed is not None:
        sys.exit(f'web UI: the bundle does not build\n{failed}')
    return work / 'dist', None, None


def find_bundle(args):
    """The folder of the bundle, or None and the reason why there is none."""
    dist = args.web / 'dist'
    if (dist / 'index.html').is_file():
        have = (dist / '.sources').read_text().strip() if (dist / '.sources').is_file() else 'unknown'
        if have != sources_hash(args.web):
            sys.exit(f'web UI: {dist} was built from other sources.\n'
                     'Run `npm ci && npm run build` in web/, or remove web/dist to have it built here.')
        return dist, None
    if args.ui == 'disabled':
        return None, 'it was switched off (-Dui=disabled)'
    if not args.npm:
        return None, 'npm was not found'
    folder, why, output = npm_build(args.web, args.work, args.npm)
    if folder is None:
        print(f'{output}\nweb UI: {why}', file=sys.stderr)
        if args.ui == 'enabled':
            sys.exit('web UI: required by -Dui=enabled')
        print('web UI: a plain page is embedded instead; touch web/package.json and build again to retry',
              file=sys.stderr)
    return folder, why


def assets_of(folder):
    """(path, bytes, gzip bytes or None) of every file, index first."""
    out = []
    for p in sorted(folder.rglob('*')):
        name = '/' + str(p.relative_to(folder))
        if not p.is_file() or name == '/.sources' or name.endswith('.gz'):
            continue
        twin = p.with_name(p.name + '.gz')
        out.append((name, p.read_bytes(), twin.read_bytes() if twin.is_file() else None))
    return out


def c_string(s):
    return '"' + s.replace('\\', '\\\\').replace('"', '\\"') + '"'


def write_source(assets, out, blob_path):
    blob = bytearray()

    def put(data):
        at = len(blob)
        blob.extend(data)
        return at

    rows = []
    for path, raw, gz in assets:
        etag = hashlib.sha256(raw).hexdigest()[:20]
        kind = TYPES.get(Path(path).suffix, 'application/octet-stream')
        rows.append('    {%s, %s, "%s", %s, %d, %d, %d, %d},' % (
            c_string(path), c_string(kind), etag, 'true' if HASHED.match(path) else 'false',
            put(raw), len(raw), put(gz) if gz else 0, len(gz) if gz else 0))
    if re.search(r'["\\\n]', str(blob_path)):
        sys.exit(f'web UI: the build folder has a quote, backslash or newline in its path: {blob_path}')
    blob_path.write_bytes(blob)
    # The digest is here so that this file changes, and is compiled again, whenever the blob does.
    out.write_text(f'''/* Generated by tools/embed_ui.py; blob sha256 {hashlib.sha256(blob).hexdigest()} */
#include "webui/assets.h"

__asm__(".pushsection .rodata\\n"
        ".balign 16\\n"
        ".globl webui_blob\\n"
        ".hidden webui_blob\\n"
        ".type webui_blob, @object\\n"
        "webui_blob:\\n"
        ".incbin \\"{blob_path}\\"\\n"
        ".size webui_blob, .-webui_blob\\n"
        ".popsection\\n");

const struct webui_asset webui_assets[] = {{
''' + '\n'.join(rows) + '''
};
const size_t webui_n_assets = sizeof webui_assets / sizeof *webui_assets;
''')


def main():
    ap = argparse.ArgumentParser()
    for name in ('web', 'work', 'out', 'depfile'):
        ap.add_argument(f'--{name}', type=Path, required=True)
    ap.add_argument('--ui', choices=('auto', 'enabled', 'disabled'), required=True)
    ap.add_argument('--npm', default='')
    args = ap.parse_args()
    target = str(args.out)  # as ninja names it
    args.web, args.work, args.out = args.web.resolve(), args.work.resolve(), args.out.resolve()
    bundle, why = find_bundle(args)
    if bundle:
        assets = assets_of(bundle)
    else:
        page = PLAIN.replace('{why}', why).encode()
        assets = [('/index.html', page, gzip.compress(page, 9, mtime=0))]
    write_source(assets, args.out, args.out.with_suffix('.bin'))
    # Folders count too: their time changes when a file comes or goes.
    deps = [args.web / n for n in source_files(args.web)] + [args.web / 'package.json', args.web / 'dist' / 'index.html']
    deps += [args.web]
    deps += [d for top in ('src', 'public') for d in [args.web / top, *(args.web / top).rglob('*')] if d.is_dir()]
    deps = [str(d).replace(' ', '\\ ') for d in deps if d.exists()]
    args.depfile.write_text(f'{target}: ' + ' '.join(deps) + '\n')


main()
