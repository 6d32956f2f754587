#!/usr/bin/env bash
# Install the Debian packages that are missing, by name: `venv` and `bubblewrap`. Says what to type where it cannot.
set -euo pipefail

missing=()
for want in "$@"; do
  case "$want" in
    venv) "${PYTHON:-python3}" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv) ;;
    bubblewrap) command -v bwrap >/dev/null || missing+=(bubblewrap) ;;
    *) command -v "$want" >/dev/null || missing+=("$want") ;;
  esac
done
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
  echo "ilf needs ${missing[*]}: install them with this system's package manager, then run make again" >&2
  exit 2
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "ilf needs ${missing[*]}, and this user is not root and has no sudo. As root, type:" >&2
    echo "  apt-get install -y ${missing[*]}" >&2
    exit 2
  fi
  as_root=(sudo)
fi
echo "==> Debian packages: ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
