#!/usr/bin/env bash
# Writes constraints.txt: one version of every package, for Python 3.11 to 3.13, that all extras can be installed with.
# Versions that stand there already stay where they can; with --upgrade, or --upgrade-package NAME, the newest are taken.
set -euo pipefail
cd "$(dirname "$0")/.."
uv="$(command -v uv || true)"
if [ -z "$uv" ]; then
  uv=".tools/uv/bin/uv"
  if [ ! -x "$uv" ]; then
    echo "installing uv into .tools/uv (once)"
    "${PYTHON:-python3}" -m venv .tools/uv
    .tools/uv/bin/python -m pip install --quiet --disable-pip-version-check uv
  fi
fi
head="# Made by tools/make_constraints.sh: equal bytes depend on equal versions, so environments and images are made with these."
made="$(mktemp)"
trap 'rm -f "$made"' EXIT
cp constraints.txt "$made"
"$uv" pip compile --quiet --universal --python-version 3.11 --all-extras --no-annotate --no-header --no-emit-index-url \
  --no-emit-find-links --no-emit-package currents-to-mixpanel "$@" --output-file "$made" pyproject.toml
{ echo "$head"; grep -v '^#' "$made"; } > constraints.txt
