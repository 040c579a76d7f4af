#!/usr/bin/env bash
# Makes the environment, then passes all tests. Tests that need a tool that is missing are skipped with a line that
# names it; with CI=true they fail instead. SYSTEM_PACKAGES=no: no Debian packages are installed, even as root.
set -euo pipefail
cd "$(dirname "$0")"
extra="test"
. ./environment.sh

# Object stores, a small cluster, hosts of their own and a browser: real ones, where they can be had without asking.
tools/install_test_tools.sh "$python_command"
tools/install_test_packages.sh

exec python -m pytest -q -n "${PYTEST_WORKERS:-2}" --dist worksteal -rs "$@"
