#!/usr/bin/env bash
# Debian packages that some tests need: a browser, iproute2 for hosts of their own, Java for Flink. Says first what it
# installs. Without root, without apt-get or with SYSTEM_PACKAGES=no nothing is installed, and the line says what is
# missing. Called by run_tests.sh.
set -uo pipefail
have() { command -v "$1" >/dev/null 2>&1; }

packages=""
have chromium && have chromedriver || packages="chromium chromium-driver"
have ip || packages="$packages iproute2"
have java || packages="$packages default-jre-headless"
packages="${packages# }"
[ -n "$packages" ] || exit 0
by_hand="the tests that need them are skipped; by hand: apt-get install $packages"
if [ "${SYSTEM_PACKAGES:-yes}" = no ]; then
  echo "SYSTEM_PACKAGES=no: $by_hand"
elif [ "$(id -u)" != 0 ] || ! have apt-get; then
  echo "Debian packages are missing and cannot be installed here (no root, or no apt-get): $by_hand"
else
  echo "installing the Debian packages $packages with apt-get, for tests (SYSTEM_PACKAGES=no leaves them out)"
  # shellcheck disable=SC2086 # several words
  (apt-get update -q && apt-get install -y -q $packages) >/dev/null 2>&1 || echo "could not be installed: $by_hand"
fi
exit 0
