#!/usr/bin/env bash
# What the browser tests and the annotation page's editor need, where it is missing: Debian's chromium and Node, the
# npm packages of package-lock.json, the bundle. Safe to run again; without Node the pages have plain text areas.
#   tools/browser_setup.sh           all of it
#   tools/browser_setup.sh bundle    without chromium
set -euo pipefail
cd "$(dirname "$0")/.."

wanted=()
command -v node >/dev/null || wanted+=(nodejs)
command -v npm >/dev/null || wanted+=(npm)
if [ "${1:-}" != bundle ]; then
  command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
    wanted+=(chromium)
fi

if [ ${#wanted[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null; then
    echo "browser tests need ${wanted[*]}: install them with this system's package manager; skipped until then" >&2
    exit 0
  fi
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "browser tests are skipped: this user is not root and has no sudo. As root, type:" >&2
      echo "  apt-get install -y ${wanted[*]}" >&2
      exit 0
    fi
    as_root=(sudo)
  fi
  echo "==> Debian packages: ${wanted[*]}"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${wanted[@]}" >/dev/null
fi

bundle=src/ilf/annotate/static/bundle/app.js
stamp=node_modules/.ilf-lock
if [ ! -f "$stamp" ] || ! cmp -s package-lock.json "$stamp"; then
  echo "==> npm packages of package-lock.json"
  npm ci --no-audit --no-fund --ignore-scripts --loglevel=error
  cp package-lock.json "$stamp"
fi
if [ ! -f "$bundle" ] || [ -n "$(find src/ilf/annotate/frontend package-lock.json -newer "$bundle" -print -quit)" ]; then
  echo "==> the annotation page's editor ($bundle)"
  npm run --silent build
fi
