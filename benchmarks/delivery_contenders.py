"""The programs whose deliveries are compared: the command, the shortest loop, and the importers that users have.

The others' packages go into a folder of the benchmark's own, never into the project's environment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ROOT / "benchmarks" / "work" / "delivery"
# Mixpanel's 2 GB a minute, which the command keeps to, is 33,000 events of 1 KB a second: what it could do is measured
# without.
_UNLIMITED = (
    "from transforms.delivery import gate; gate.BYTES_A_SECOND = 1e12; from pipelines.deliver import cli; cli()"
)


class Contender(NamedTuple):
    """A command line, and what its environment has beside the usual."""

    argv: list[str]
    environment: dict[str, str]


def install() -> None:
    """Fetch the others' packages; what cannot be had is left out of the comparison."""
    python = PACKAGES / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(python)], check=True)
        subprocess.run([python / "bin" / "pip", "install", "-q", "aiohttp", "mixpanel-utils"], check=False)
    if shutil.which("npm") and not (PACKAGES / "node_modules").exists():
        subprocess.run(["npm", "install", "--silent", "--prefix", str(PACKAGES), "mixpanel-import"], check=False)


def contenders(run: Path, port: int, certificate: Path, limited: bool) -> dict[str, Contender]:
    """By name those that are installed; ``limited``: by the server, whose limit the command does not know."""
    url = f"https://127.0.0.1:{port}"
    flags = ["--input", str(run), "--project_id", "1", "--region", "eu", "--endpoint", url, "--yes"]
    if not limited:
        flags += ["--max_events_per_second", "1000000"]
    account = {"MIXPANEL_SERVICE_ACCOUNT": "a:b"}
    found = {
        "deliver": Contender([sys.executable, "-m", "pipelines.deliver", *flags], account),
        "deliver-unlimited": Contender([sys.executable, "-c", _UNLIMITED, *flags], account),
    }
    python = PACKAGES / "python"
    packages = {path.name for path in python.glob("lib/python3*/site-packages/*")}
    if "aiohttp" in packages:
        script = ROOT / "benchmarks" / "delivery_loop.py"
        found["loop"] = Contender([str(python / "bin" / "python"), str(script), str(run), url], {})
    if "mixpanel_utils" in packages:
        script = ROOT / "benchmarks" / "delivery_official.py"
        found["mixpanel-utils"] = Contender([str(python / "bin" / "python"), str(script), str(run), url], {})
    importer = PACKAGES / "node_modules" / "mixpanel-import" / "index.js"
    if shutil.which("node") and importer.exists():
        words = ["node", "--require", str(ROOT / "benchmarks" / "delivery_redirect.js"), str(importer)]
        words += [str(run / "events"), "--project", "1", "--acct", "a", "--pass", "b", "--region", "EU", "--gzip"]
        words += ["--type", "event", "--workers", "10", "--abridged", "--logs", "false", "--verbose", "false"]
        redirected = {"BENCHMARK_PORT": str(port), "NODE_EXTRA_CA_CERTS": str(certificate)}
        found["mixpanel-import"] = Contender(words, redirected)
    return found


def environment(contender: Contender, certificate: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "SSL_CERT_FILE": str(certificate), **contender.environment}
