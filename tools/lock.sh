#!/usr/bin/env bash
# Write requirements/constraints.txt: the versions of everything that `make test` installed.
set -euo pipefail
cd "$(dirname "$0")/.."
{
  echo "# Versions that \`make demo\` and \`make test\` install, on Python 3.11 to 3.13. Written by tools/lock.sh."
  "${VENV:-.venv}/bin/python" -m pip list --format freeze --exclude-editable \
    | grep -v -i -E '^(pip|setuptools|wheel|ilf|py-spy|ctranslate2|evalplus)==' | sed 's/+cpu$//' | sort -f
} > requirements/constraints.txt
