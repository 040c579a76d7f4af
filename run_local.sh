#!/usr/bin/env bash
# Without arguments: makes a sample export, runs the job on it, prints where the report is.
# With arguments: runs the job on those, e.g. ./run_local.sh --input exports/ --output out/
set -euo pipefail
cd "$(dirname "$0")"
here="$PWD"
extra=""
. ./environment.sh

if [ "$#" -gt 0 ]; then
  cd "$OLDPWD" # paths are those of whoever called
  exec python "$here/currents_to_mixpanel" "$@"
fi
if [ ! -e sample/truth.json ]; then
  rm -rf sample
  python -m pipelines.sample_export --output sample --users 200 --days 2 --seed 1
fi
python -m pipelines.currents_to_mixpanel --input sample --output output --truth sample/truth.json --overwrite
