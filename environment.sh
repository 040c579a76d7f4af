# Sourced by run_local.sh and run_tests.sh: makes .venv once, and again when what it is made from changes. $extra names an extra, or none.
python_command="${PYTHON:-python3}"
"$python_command" - <<'CHECK' || exit 1
import sys
if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.exit(f"Python {sys.version.split()[0]} found, 3.11 to 3.13 needed: set PYTHON to one of these")
CHECK
stamp=".venv/installed-${extra:-run}"
if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ] || [ constraints.txt -nt "$stamp" ]; then
  [ -x .venv/bin/python ] || "$python_command" -m venv .venv
  echo "installing into .venv (once, about a minute)"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".${extra:+[$extra]}"
  touch "$stamp"
fi
. .venv/bin/activate
