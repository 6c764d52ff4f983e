#!/bin/bash
# Installs the npm packages of the UI's tests into web/node_modules; at once when they are there.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../../web"
LOCK=$(sha256sum package-lock.json)
[ "$(cat node_modules/.lock-sum 2>/dev/null)" = "$LOCK" ] && exit 0
npm ci --no-audit --no-fund
echo "$LOCK" >node_modules/.lock-sum
