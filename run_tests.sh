#!/usr/bin/env bash
# Makes the environment, then passes all tests. Tests that need a tool that is missing are skipped with a line that
# names it; with CI=true they fail instead.
set -euo pipefail
cd "$(dirname "$0")"
extra="test"
. ./environment.sh

# Object stores, a small cluster, hosts of their own and a browser: real ones, where they can be had without asking.
tests/install_tools.sh "$python_command"
if ! { command -v chromium && command -v chromedriver && command -v ip; } >/dev/null 2>&1; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    (apt-get update -q && apt-get install -y -q chromium chromium-driver iproute2) >/dev/null 2>&1 \
      || echo "chromium could not be installed: the browser tests will say so"
  fi
fi

exec python -m pytest -q -n "${PYTEST_WORKERS:-2}" --dist worksteal -rs "$@"
