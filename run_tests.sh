#!/usr/bin/env bash
# Makes the environment, then passes all tests. Tests that need a tool that is missing are skipped with a line that
# names it; with CI=true they fail instead.
set -euo pipefail
cd "$(dirname "$0")"
extra="test"
. ./environment.sh

# Object stores, a small cluster, hosts of their own and a browser: real ones, where they can be had without asking.
tests/install_tools.sh "$python_command"
packages=""
command -v chromium >/dev/null 2>&1 && command -v chromedriver >/dev/null 2>&1 || packages="chromium chromium-driver"
command -v ip >/dev/null 2>&1 || packages="$packages iproute2"
command -v java >/dev/null 2>&1 || packages="$packages default-jre-headless"
if [ -n "$packages" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  # shellcheck disable=SC2086
  (apt-get update -q && apt-get install -y -q $packages) >/dev/null 2>&1 \
    || echo "could not be installed: $packages; the tests that need them will say so"
fi

exec python -m pytest -q -n "${PYTEST_WORKERS:-2}" --dist worksteal -rs "$@"
