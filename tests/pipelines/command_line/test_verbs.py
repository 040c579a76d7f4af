"""The installed command's verbs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.deliveries import write_run
from tests.commands.whole_run import ROOT


def command(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "pipelines.command_line.verbs", *words]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("verb", [(), ("run",)])
def test_the_job_is_the_verb_run_and_what_the_command_does_without_a_verb(verb: tuple[str, ...]) -> None:
    done = command(*verb, "--input", "nowhere", "--output", "out", "--no_such_flag")
    assert (done.returncode, "--no_such_flag" in done.stderr) == (2, True)
    assert done.stderr.startswith("currents-to-mixpanel:")


@pytest.mark.parametrize(
    ("word", "cure"),
    [
        ("delivr", "did you mean deliver?"),
        ("sampl", "did you mean sample?"),
        ("exports/", "the verbs are run, deliver, sample-export, catalog-entry; run may be left out"),
    ],
)
def test_a_word_that_is_not_a_verb_is_refused_with_the_one_that_was_meant(word: str, cure: str) -> None:
    done = command(word, "--json")
    assert (done.returncode, done.stderr) == (2, f"currents-to-mixpanel: {word} is not a verb: {cure}\n")
    assert json.loads(done.stdout)["exit_status"] == 2


@pytest.mark.slow
def test_deliver_and_sample_export_are_verbs(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    done = command("deliver", f"--input={run}", "--project_id=1", "--region=us", "--dry_run")
    assert (done.returncode, "1,000 events of 1,000" in done.stdout) == (0, True), done.stderr
    for verb in ("sample-export", "sample"):
        done = command(verb, f"--output={tmp_path / verb}", "--users=20", "--days=1", "--rows=500")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / verb / "truth.json").exists()
