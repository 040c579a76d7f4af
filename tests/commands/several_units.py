"""The command with few files a unit, so that a small export has several units, in this process or in one of its own."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipelines import currents_to_mixpanel as command
from tests.commands.whole_run import ROOT, read_output
from tests.exports.random_exports import NOW, random_export, write_export
from transforms.output.folder import MANIFEST

UNIT_FILES = 4
FLAGS = (f"--now={NOW}", "--max_reject_share=1")
REPORTS = ("report.json", "report.html")
# A file in the environment is waited for once all is imported, so that two runs begin together.
_DRIVER = """
import functools, os, sys, time
from pipelines import currents_to_mixpanel as command
command.survey = functools.partial(command.survey, unit_files=%d)
%s
if os.environ.get("GO"):
    open(f"{os.environ['GO']}.ready.{os.getpid()}", "w").close()
while os.environ.get("GO") and not os.path.exists(os.environ["GO"]):
    time.sleep(0.01)
sys.argv[0] = "currents-to-mixpanel"
command.cli()
"""


Source = tuple[Path, dict[str, Any]]
"""An export, and what an undisturbed run of it publishes."""


def write_source(folder: Path, seed: int = 3) -> Path:
    """A random export of some thirty files, which makes eight units."""
    write_export(random_export(seed, too_large=False), folder)
    return folder


def cut_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut small units in this process."""
    monkeypatch.setattr(command, "survey", functools.partial(command.survey, unit_files=UNIT_FILES))


def run(source: Path | str, output: Path | str, *more: str) -> int:
    """Run the command in this process."""
    return command.main([f"--input={source}", f"--output={output}", *FLAGS, *more])


def start(
    source: Path | str,
    output: Path | str,
    *more: str,
    patch: str = "",
    flags: tuple[str, ...] = FLAGS,
    temporary: Path | None = None,
    **environment: str,
) -> subprocess.Popen[str]:
    """Start the command as a process group of its own; ``patch`` is Python to run before it."""
    driver = _DRIVER % (UNIT_FILES, patch)
    temporary = temporary or Path(output).parent / "temporary"  # where those that are killed leave theirs
    temporary.mkdir(exist_ok=True)
    argv = [sys.executable, "-c", driver, f"--input={source}", f"--output={output}", *flags, *more]
    return subprocess.Popen(
        argv, cwd=ROOT, env={**os.environ, "TMPDIR": str(temporary), **environment}, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def published(output: Path) -> dict[str, Any]:
    """All that the promise of equal bytes is about: every file but the reports, and the manifest without them."""
    manifest = read_output(output).manifest  # raises unless it agrees with the files
    files: dict[str, Any] = {name: (output / name).read_bytes() for name in manifest if name not in REPORTS}
    files["manifest"] = {name: entry for name, entry in manifest.items() if name not in REPORTS}
    files["claim"] = json.loads((output / "_claim.json").read_bytes())["digest"]
    return files


def let_go(go: Path, processes: int) -> None:
    """Lets processes that wait for the file begin, once all of them wait."""
    while len(list(go.parent.glob(f"{go.name}.ready.*"))) < processes:
        time.sleep(0.05)
    go.touch()


def looks_finished(output: Path) -> bool:
    """Whether a reader would take the folder for a whole run."""
    return (output / MANIFEST).exists()
