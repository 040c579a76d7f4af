"""Ctrl-C and SIGTERM end every verb, at any moment, with its status, one line and the object of ``--json``."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

from pipelines import currents_to_mixpanel as command
from tests.commands.deliveries import write_run
from tests.commands.whole_run import ROOT
from tests.exports.small_exports import avro, path, rows, write

pytestmark = pytest.mark.slow

# A step of the verb says that it is there, and takes for ever.
_DRIVER = """
import hashlib, sys, threading, time
import pipelines.{module} as verb
def say():
    print("there", file=sys.stderr, flush=True)
def endless(*_, **__):
    {wait}
verb.{step} = endless
{patch}
sys.argv = ["verb", *sys.argv[1:]]
verb.cli()
"""
_SLEEP = "say(); time.sleep(600)"
# A call into C that never looks whether there was a signal.
_DEAF = "threading.Timer(0.3, say).start(); hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)"
# One that keeps the interpreter's lock too.
_LOCKED = "import os; os.system('(sleep 0.5; echo there >&2) &'); sum(range(10**15))"
STEPS = {
    "currents_to_mixpanel": ("survey", ["--input=in", "--output=out"]),
    "deliver": ("open_run", ["--input=in", "--project_id=1", "--region=us"]),
    "sample_export.__main__": ("write_export", ["--output=out"]),
}


def interrupted(argv: list[str], by: signal.Signals, folder: Path) -> subprocess.CompletedProcess[str]:
    """The end of a command that is sent a signal once it says that it is there."""
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    process = subprocess.Popen(
        argv, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "there\n"
    process.send_signal(by)
    out, error = process.communicate(timeout=30)
    return subprocess.CompletedProcess(argv, process.returncode, out, error)


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("module", STEPS)
def test_every_verb_ends_with_130_by_either_signal(module: str, by: signal.Signals, tmp_path: Path) -> None:
    step, argv = STEPS[module]
    driver = _DRIVER.format(module=module, step=step, wait=_SLEEP, patch="")
    done = interrupted([sys.executable, "-c", driver, *argv, "--json"], by, tmp_path)
    assert done.returncode == 130
    told = json.loads(done.stdout)
    assert (told["status"], told["exit_status"]) == ("interrupted", 130)
    assert done.stderr.count("\n") == 1
    assert "the same command" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", STEPS)
def test_a_verb_that_does_not_hear_the_signal_is_ended_in_time(module: str, tmp_path: Path) -> None:
    step, argv = STEPS[module]
    patch = "import pipelines.command_line.interruption\nassert pipelines.command_line.interruption.LAST_SECONDS < 10\n"
    patch += "pipelines.command_line.interruption.LAST_SECONDS = 0.2"
    driver = _DRIVER.format(module=module, step=step, wait=_DEAF, patch=patch)
    done = interrupted([sys.executable, "-c", driver, *argv, "--json"], signal.SIGTERM, tmp_path)
    assert done.returncode == 130
    assert json.loads(done.stdout)["status"] == "interrupted"
    assert "did not end within 0.2 s" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("module", STEPS)
def test_a_verb_that_lets_no_thread_run_is_ended_by_another_process(module: str, tmp_path: Path) -> None:
    step, argv = STEPS[module]
    patch = "import pipelines.command_line.interruption\npipelines.command_line.interruption.LAST_SECONDS = 0.2"
    driver = _DRIVER.format(module=module, step=step, wait=_LOCKED, patch=patch)
    done = interrupted([sys.executable, "-c", driver, *argv, "--json"], signal.SIGTERM, tmp_path)
    assert done.returncode == -signal.SIGKILL
    assert json.loads(done.stdout)["exit_status"] == 130
    assert "did not end within 0.2 s" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "argv",
    [["-m", "pipelines.currents_to_mixpanel"], ["-m", "pipelines.command_line.verbs", "sample"]],
    ids=["module", "verb"],
)
def test_an_interruption_while_the_modules_are_imported_begins_nothing(
    argv: list[str], by: signal.Signals, tmp_path: Path
) -> None:
    # NumPy, which every verb imports, is one that takes for ever.
    slow = tmp_path / "numpy.py"
    slow.write_text("import sys, time\nprint('there', file=sys.stderr, flush=True)\ntime.sleep(600)\n")
    done = interrupted([sys.executable, *argv, "--output=out", "--json"], by, tmp_path)
    assert done.returncode == 130
    assert json.loads(done.stdout)["status"] == "interrupted"
    assert done.stderr == "currents-to-mixpanel: interrupted: nothing was started\n"


@pytest.mark.parametrize("verb", ["run", "deliver", "sample"])
def test_nobody_who_reads_the_object_changes_no_status(verb: str, tmp_path: Path) -> None:
    argv = {
        "run": [f"--input={write(tmp_path / 'in', {path('a'): avro(rows('a'))})}", "--output=out", "--now=1770000000"],
        "deliver": [f"--input={write_run(tmp_path / 'run')}", "--project_id=1", "--region=us", "--dry_run"],
        "sample": ["--output=out", "--users=20", "--days=1", "--rows=100"],
    }[verb]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.command_line.verbs", verb, *argv, "--json"], cwd=tmp_path, stdout=full,
            stderr=subprocess.PIPE, text=True, check=False, timeout=120, env={"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def _interrupted(*_: object, **__: object) -> NoReturn:
    raise KeyboardInterrupt


def _unwritable(*_: object, **__: object) -> NoReturn:
    raise UnicodeEncodeError("ascii", "ä", 0, 1, "ordinal not in range(128)")


@pytest.mark.parametrize("moment", ["after the job", "while it is read back", "while the summary is shown"])
def test_a_run_that_is_published_says_so_however_late_it_is_interrupted(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work, read_back = command._work, command._published_report

    def done_and_interrupted(*args: Any) -> NoReturn:
        assert work(*args)
        raise KeyboardInterrupt

    def interrupted_once(*args: Any) -> Any:
        monkeypatch.setattr(command, "_published_report", read_back)
        raise KeyboardInterrupt

    if moment == "after the job":
        monkeypatch.setattr(command, "_work", done_and_interrupted)
    elif moment == "while it is read back":
        monkeypatch.setattr(command, "_published_report", interrupted_once)
    else:
        monkeypatch.setattr(command, "lines", _interrupted)
    source = write(tmp_path / "in", {path("a"): avro(rows("a"))})
    assert command.main([f"--input={source}", f"--output={tmp_path / 'out'}", "--now=1770000000", "--json"]) == 0
    assert (tmp_path / "out" / "_manifest.json").exists()
    captured = capsys.readouterr()
    assert json.loads(captured.out.splitlines()[-1])["status"] == "published"
    if moment != "while it is read back":
        assert f"interrupted, but {tmp_path / 'out'} was published already" in captured.err


def test_a_summary_that_cannot_be_shown_changes_no_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "lines", _unwritable)
    source = write(tmp_path / "in", {path("a"): avro(rows("a"))})
    assert command.main([f"--input={source}", f"--output={tmp_path / 'out'}", "--now=1770000000"]) == 0
    assert "is published, but its summary cannot be shown" in capsys.readouterr().err


def test_a_terminal_that_knows_ascii_alone_gets_the_words_escaped(tmp_path: Path) -> None:
    source = write(tmp_path / "Größe", {path("a"): avro(rows("a"))})
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.currents_to_mixpanel", f"--input={source}", "--output=Größe/../out"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
        env={"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii", "LANG": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Gr\\xf6\\xdfe" in done.stdout
