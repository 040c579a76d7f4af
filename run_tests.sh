#!/usr/bin/env bash
# Makes the environment, then passes all tests. Tests that need a tool that is missing are skipped with a line that
# names it; with CI=true they fail instead.
set -euo pipefail
cd "$(dirname "$0")"
extra="test"
. ./environment.sh

# The report is looked at in a real browser; where that can be installed without asking anyone, it is.
if ! { command -v chromium && command -v chromedriver; } >/dev/null 2>&1; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    (apt-get update -q && apt-get install -y -q chromium chromium-driver) >/dev/null 2>&1 \
      || echo "chromium could not be installed: the browser tests will say so"
  fi
fi

exec python -m pytest -q -n "${PYTEST_WORKERS:-2}" --dist worksteal -rs "$@"
