"""Runs that die: killed at any moment, interrupted, without disk; the same command finishes them, byte for byte."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.commands.several_units import Source, looks_finished, published, run, start
from tests.servers.tools import lacking
from transforms.errors import StoreError

pytestmark = pytest.mark.usefixtures("small_units")


_KILL = """
import signal
count = 0
def dying(act):
    def counted(*arguments, **named):
        global count
        if %r in str(arguments):
            count += 1
            if count == %d:
                os.kill(os.getpid(), signal.SIGKILL)
        return act(*arguments, **named)
    return counted
for name in ("link", "replace", "unlink", "makedirs"):
    setattr(os, name, dying(getattr(os, name)))
"""
MOMENTS = [1, 3, 6, 11, 17, 24, 33]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_killed_at_any_moment_is_finished_by_the_same_command(
    moment: int, undisturbed: Source, tmp_path: Path
) -> None:
    source, expected = undisturbed
    output = tmp_path / "out"
    killed = start(source, output, patch=_KILL % (str(output), moment))
    _, errors = killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL, errors
    assert not looks_finished(output)

    assert run(source, output) == 0
    assert published(output) == expected


def test_a_run_killed_between_its_reports_and_its_manifest_is_not_finished(undisturbed: Source, tmp_path: Path) -> None:
    source, expected = undisturbed
    output = tmp_path / "out"
    killed = start(source, output, patch=_KILL % ("_manifest.json", 1))
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert (output / "report.json").exists()
    assert not looks_finished(output)
    assert run(source, output) == 0
    assert published(output) == expected


@pytest.mark.parametrize("at_work", [False, True])
def test_workers_go_with_a_killed_launcher(at_work: bool, undisturbed: Source, tmp_path: Path) -> None:
    source, expected = undisturbed
    output = tmp_path / "out"
    launcher = start(source, output, "--workers=2")
    _wait_for(lambda: _at_work(launcher.pid) if at_work else _workers(launcher.pid), 30)
    workers = _workers(launcher.pid)
    os.kill(launcher.pid, signal.SIGKILL)
    launcher.wait(timeout=10)
    gone, alive = psutil.wait_procs(workers, timeout=10)
    assert gone
    assert not alive
    launcher.communicate(timeout=10)
    assert not looks_finished(output)

    assert run(source, output) == 0
    assert published(output) == expected


def test_a_killed_worker_fails_the_run_in_one_line(undisturbed: Source, tmp_path: Path) -> None:
    source, _ = undisturbed
    launcher = start(source, tmp_path / "out", "--workers=2")
    _wait_for(lambda: _at_work(launcher.pid), 30)[0].kill()
    _, errors = launcher.communicate(timeout=60)
    assert launcher.returncode == 1, errors
    assert "a worker process was killed" in errors
    assert errors.count("\n") == 1
    assert not looks_finished(tmp_path / "out")


_ENDLESS = """
import logging
logging.disable(logging.CRITICAL)
import transforms.read_ids
transforms.read_ids.gather = lambda *_: time.sleep(600)
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_the_run_and_leaves_nothing_behind(workers: int, undisturbed: Source, tmp_path: Path) -> None:
    source, expected = undisturbed
    output, temporary = tmp_path / "out", tmp_path / "tmp"
    temporary.mkdir()
    shared = _shared_memory()
    # One process is caught in the middle of a step that takes for ever; of two, the workers are at work.
    patch = "" if workers > 1 else _ENDLESS
    process = start(source, output, f"--workers={workers}", patch=patch, TMPDIR=str(temporary))
    _wait_for(lambda: (output / "_claim.json").exists() and (workers == 1 or _at_work(process.pid)), 30)
    if workers == 1:
        time.sleep(1)
    children = psutil.Process(process.pid).children(recursive=True)
    assert list(temporary.iterdir())  # there is something to leave behind

    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    started = time.monotonic()
    stdout, stderr = process.communicate(timeout=20)

    assert time.monotonic() - started < 5
    assert process.returncode == 130
    assert (stdout, stderr.count("\n")) == ("", 1)
    assert "interrupted: nothing is published" in stderr
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert list(temporary.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "temporary", "tmp"]
    assert _shared_memory() <= shared
    assert not looks_finished(output)

    assert run(source, output) == 0
    assert published(output) == expected


# A full disk


@pytest.mark.parametrize(
    "file", ["_claim.json", "events/part-00001", "identities/ids", "report.html", "_manifest.json"]
)
def test_a_write_that_fails_leaves_nothing_that_looks_finished(
    file: str, undisturbed: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, expected = undisturbed
    output = tmp_path / "out"
    fsync = os.fsync

    def full(descriptor: int) -> None:
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        if name.endswith(".unpublished") and file.split("/")[-1] in name:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert run(source, output) == 1
    message = capsys.readouterr().err
    assert message.startswith(f"currents-to-mixpanel: cannot write {output / file}")
    assert ": No space left on device: the disk is full, " in message
    assert message.count("\n") == 1
    assert not looks_finished(output)
    assert not list(output.rglob("*.unpublished"))

    assert run(source, output) == 0
    assert published(output) == expected


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own with too little room for a run."""
    if os.geteuid() != 0:
        pytest.skip("a small disk can be mounted by root only")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        lacking(f"mount of a tmpfs is refused: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_fails_the_run(small_disk: Path, undisturbed: Source, capsys: pytest.CaptureFixture[str]) -> None:
    source, _ = undisturbed
    assert run(source, small_disk / "out") == 1
    message = capsys.readouterr().err
    assert "No space left on device" in message
    assert message.count("\n") == 1
    assert not looks_finished(small_disk / "out")


def _fail(*_: Any, **__: Any) -> None:
    raise StoreError("made to fail")


def _workers(launcher: int) -> list[psutil.Process]:
    try:
        return [
            child
            for child in psutil.Process(launcher).children(recursive=True)
            if "pipelines.launch.worker" in " ".join(child.cmdline())
        ]
    except psutil.NoSuchProcess:
        return []


def _at_work(launcher: int) -> list[psutil.Process]:
    """The workers that were forked off the process which waits for work."""
    try:
        return [worker for worker in _workers(launcher) if worker.ppid() != launcher]
    except psutil.NoSuchProcess:
        return []


def _wait_for(condition: Callable[[], Any], seconds: float) -> Any:
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "it does not come"
        time.sleep(0.02)
    return found


def _shared_memory() -> set[str]:
    folder = Path("/dev/shm")
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return {name for name in names if "chromium" not in name and "google" not in name}
