"""The job on a Flink session cluster of two task managers, by the script of deploy/flink.

Beam's job server for Flink is a Java program that no registry open to these tests holds. So this is the one test that
is skipped with CI=true as well: it runs where ``FLINK_JOB_SERVER_JAR`` names the jar, and the README says that it is
not among what is proven.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.several_units import FLAGS, published, write_source
from tests.commands.whole_run import MODULE, ROOT
from tests.servers.emulators import Emulator, download, upload
from tests.servers.tools import require

SCRIPT = ROOT / "deploy" / "flink" / "run.sh"
JAR = os.environ.get("FLINK_JOB_SERVER_JAR")


def _run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("FLINK_")}
    return subprocess.run(
        [str(SCRIPT), *words], env={**plain, "PYTHON": sys.executable, **environment}, capture_output=True, text=True,
        check=False, timeout=590,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "set FLINK_JOB_SERVER_JAR to Beam's job server for Flink 2.2"),
        ({"FLINK_JOB_SERVER_JAR": "nowhere.jar"}, "FLINK_JOB_SERVER_JAR=nowhere.jar is not a file"),
        ({"FLINK_JOB_SERVER_JAR": __file__, "BEAM_BOOT": "/nowhere"}, "/nowhere is not a program"),
    ],
)
def test_what_the_script_lacks_it_says_in_a_line(environment: dict[str, str], message: str) -> None:
    require("java")
    done = _run("--input=gs://a/b", "--output=gs://a/c", **environment)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.skipif(JAR is None, reason="FLINK_JOB_SERVER_JAR is not set: Beam's job server for Flink was not tried")
def test_a_session_cluster_publishes_what_a_run_on_this_machine_does(gcs: Emulator, tmp_path: Path) -> None:
    exports, output = gcs.url("currents"), gcs.url("run")
    with gcs.applied():
        upload(write_source(tmp_path / "in"), exports)
    here = subprocess.run(
        [sys.executable, "-m", MODULE, f"--input={exports}", f"--output={tmp_path / 'local'}", *FLAGS],
        cwd=ROOT, env={**os.environ, **gcs.environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert here.returncode == 0, here.stderr
    done = _run(
        f"--input={exports}", f"--output={output}", *FLAGS,
        FLINK_JOB_SERVER_JAR=str(JAR), BEAM_BOOT=require("container"), **gcs.environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with gcs.applied():
        download(output, tmp_path / "published")
    assert published(tmp_path / "published") == published(tmp_path / "local")
