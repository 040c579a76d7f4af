#!/usr/bin/env bash
# Brings the servers that tests start, into .tools/, each once: a GCS emulator, Beam's Prism runner and its workers' boot
# program (Go), an Azure emulator (Node), and an environment for workers that has all dependencies and not this project.
# What cannot be had here is said in a line, and the tests that need it say so too. Called by run_tests.sh.
set -uo pipefail
cd "$(dirname "$0")/.."
python_command="${1:-python3}"
mkdir -p .tools/bin
log=.tools/install.log

have() { command -v "$1" >/dev/null 2>&1; }

# name of the program, module@version
go_tool() {
  [ -x ".tools/bin/$1" ] && return
  if ! have go; then echo "go is missing: no $1"; return; fi
  echo "building $1 (once, a minute or two)"
  GOBIN="$PWD/.tools/bin" GOFLAGS=-buildvcs=false go install "$2" >>"$log" 2>&1 || echo "$1 could not be built: see $log"
}

beam="$(sed -n 's/.*apache-beam==\([0-9.]*\).*/\1/p' pyproject.toml)"
go_tool fake-gcs-server github.com/fsouza/fake-gcs-server@v1.56.1
go_tool prism "github.com/apache/beam/sdks/v2/go/cmd/prism@v$beam"
go_tool container "github.com/apache/beam/sdks/v2/python/container@v$beam"

if [ ! -x .tools/azurite/node_modules/.bin/azurite ]; then
  if have npm; then
    echo "installing azurite (once)"
    npm install --silent --no-fund --no-audit --prefix .tools/azurite azurite@3.35.0 >>"$log" 2>&1 \
      || echo "azurite could not be installed: see $log"
  else
    echo "npm is missing: no azurite"
  fi
fi

# Workers get the project by --setup_file, which proves that it can be brought to them: they must not have it already.
stamp=.tools/worker/installed
if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ] || [ constraints.txt -nt "$stamp" ]; then
  echo "making the workers' environment (once, about a minute)"
  { [ -x .tools/worker/bin/python ] || "$python_command" -m venv .tools/worker; } >>"$log" 2>&1 \
    && .tools/worker/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
      ".[all]" setuptools wheel >>"$log" 2>&1 \
    && .tools/worker/bin/python -m pip uninstall --quiet --yes currents-to-mixpanel >>"$log" 2>&1 \
    && touch "$stamp" || echo "the workers' environment could not be made: see $log"
fi
exit 0
