#!/bin/bash
# Types, unit tests and browser tests of the web UI; needs npm and Debian's chromium.
# Leaves web/node_modules (ignored by git) and nothing else.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../../web"
../tests/ui/packages.sh
npm run check
npm test
UI_DIST=$(mktemp -d)
export UI_DIST
trap 'rm -rf "$UI_DIST" .tests' EXIT
node build.mjs --out "$UI_DIST"
node --test ../tests/ui/mock.test.mjs
