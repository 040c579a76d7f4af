"""A run's folder: who may have it, what stands in it when a run dies at any moment, and what two runs do to it."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipelines import currents_to_mixpanel as command
from tests.several_units import cut_small, published, run, start, write_source
from tests.tools import lacking
from tests.whole_run import read_output
from transforms.currents.paths import SourceFile
from transforms.run import publication
from transforms.run.publication import claim_digest
from transforms.settings import Settings
from transforms.stores import store

Source = tuple[Path, dict[str, Any]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """An export, and what a run of it publishes that nothing comes in the way of."""
    folder = tmp_path_factory.mktemp("undisturbed")
    source = write_source(folder / "in")
    with pytest.MonkeyPatch.context() as patch:
        cut_small(patch)
        assert run(source, folder / "out") == 0
    return source, published(folder / "out")


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_small(monkeypatch)


def looks_finished(output: Path) -> bool:
    return (output / publication.MANIFEST).exists()


# Claims


def test_the_digest_is_of_inputs_and_of_what_shapes_the_output() -> None:
    files = [SourceFile("/x/a.avro", "a.avro", 10, "v1", None), SourceFile("/x/b.avro", "b.avro", 20, "v1", None)]
    base = claim_digest(files, Settings(now=1))
    assert base == claim_digest([dataclasses.replace(file, path=f"/y/{file.name}") for file in files], Settings(now=1))
    others = [
        claim_digest(files[:1], Settings(now=1)),
        claim_digest([SourceFile("/x/c.avro", "c.avro", 10, "v1", None), files[1]], Settings(now=1)),
        claim_digest([SourceFile("/x/a.avro", "a.avro", 11, "v1", None), files[1]], Settings(now=1)),
        claim_digest([SourceFile("/x/a.avro", "a.avro", 10, "v2", None), files[1]], Settings(now=1)),
        claim_digest(files, Settings(now=2)),
        claim_digest(files, Settings(now=1, tag="x")),
        claim_digest(files, Settings(now=1, device_links="first")),
        claim_digest(files, Settings(now=1, event_types=("a",))),
    ]
    assert len({base, *others}) == 9
    for same in (Settings(now=1, max_reject_share=0.5), Settings(now=1, mixed_workspaces=True)):
        assert claim_digest(files, same) == base


def test_an_equal_run_takes_over_the_clock_and_a_different_one_is_refused(
    undisturbed: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, _ = undisturbed
    argv = [f"--input={source}", f"--output={tmp_path / 'out'}", "--max_reject_share=1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transforms.run.report.finish", _fail)
        assert command.main(argv) == 1
    begun = json.loads((tmp_path / "out" / "_claim.json").read_bytes())
    assert abs(begun["now"] - time.time()) < 60
    assert not looks_finished(tmp_path / "out")

    capsys.readouterr()
    assert command.main([*argv, "--tag=other"]) == 2
    message = capsys.readouterr().err
    assert f"{tmp_path / 'out'} belongs to another run" in message
    assert "--tag other" in message
    assert "--overwrite" in message
    assert command.main([*argv, f"--now={begun['now'] + 1}"]) == 2

    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 5000)
    assert command.main(argv) == 0
    assert read_output(tmp_path / "out").report["now"] == begun["now"]
    assert json.loads((tmp_path / "out" / "_claim.json").read_bytes()) == begun


def test_a_finished_folder_is_refused_and_overwrite_removes_its_manifest_first(
    undisturbed: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, expected = undisturbed
    output = tmp_path / "out"
    assert run(source, output, "--tag=old") == 0
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    capsys.readouterr()
    for more in ((), ("--tag=old",)):
        assert run(source, output, *more) == 2
        assert f"{output} holds a finished run" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}

    deleted: list[str] = []
    delete = store.LocalStore.delete

    def recorded(self: store.LocalStore, path: str) -> None:
        deleted.append(path)
        delete(self, path)

    monkeypatch.setattr(store.LocalStore, "delete", recorded)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transforms.reading.gather", _fail)
        assert run(source, output, "--overwrite") == 1
    assert deleted[0] == str(output / "_manifest.json")
    assert not looks_finished(output)
    assert [path.name for path in output.rglob("*") if path.is_file()] == ["_claim.json"]

    assert run(source, output) == 0
    assert published(output) == expected


def test_files_of_someone_else_are_never_touched(
    undisturbed: Source, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, _ = undisturbed
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("the only copy")
    for more in ((), ("--overwrite",)):
        assert run(source, tmp_path / "out", *more) == 2
        assert "holds [thesis.txt], which is no run's" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_what_a_dead_run_left_is_swept(undisturbed: Source, tmp_path: Path) -> None:
    source, expected = undisturbed
    output = tmp_path / "out"
    (output / "events").mkdir(parents=True)
    (output / "events" / "part-00099.ndjson.gz").write_bytes(b"of a run with more units")
    (output / "events" / ".part-00001.ndjson.gz.0123456789ab.unpublished").write_bytes(b"half")
    (output / "._claim.json.0123456789ab.unpublished").write_bytes(b"half")
    assert run(source, output) == 0
    assert published(output) == expected


# Two runs at once


def test_two_equal_runs_at_once_both_succeed(undisturbed: Source, tmp_path: Path) -> None:
    source, expected = undisturbed
    output, go = tmp_path / "out", tmp_path / "go"
    both = [start(source, output, GO=str(go)) for _ in range(2)]
    time.sleep(1.5)
    go.touch()
    ended = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    assert published(output) == expected


def test_of_two_different_runs_at_once_one_wins(undisturbed: Source, tmp_path: Path) -> None:
    source, _ = undisturbed
    output, go = tmp_path / "out", tmp_path / "go"
    both = [start(source, output, f"--tag={tag}", GO=str(go)) for tag in "ab"]
    time.sleep(1.5)
    go.touch()
    ended = [process.communicate(timeout=60) for process in both]
    assert sorted(process.returncode for process in both) == [0, 2], ended
    loser = 0 if both[0].returncode else 1
    assert "belongs to another run" in ended[loser][1]
    assert ended[loser][1].count("\n") == 1
    tags = {json.loads(line)["properties"]["braze_import"] for line in read_output(output).event_lines}
    assert tags == {"ba"[loser]}


@pytest.mark.parametrize(
    ("moment", "winner_flags", "loser_flags"),
    [
        ("identities/links", (), ("--tag=loser",)),  # equal names, other bytes
        ("events/", (), ("--tag=loser",)),
        ("profiles/", ("--profile_updates=off",), ()),  # a file more than the winner has
        ("finish", (), ("--profile_updates=off",)),  # a file less: it must not be swept
    ],
)
def test_a_run_whose_folder_is_taken_by_force_leaves_it_alone(
    moment: str,
    winner_flags: tuple[str, ...],
    loser_flags: tuple[str, ...],
    undisturbed: Source,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, _ = undisturbed
    assert run(source, tmp_path / "alone", *winner_flags) == 0
    output = tmp_path / "out"
    put, finish = store.LocalStore.put_if_absent, publication.finish
    winners: list[tuple[str, str]] = []

    def let_the_other_win() -> None:
        if not winners:
            winners.append(start(source, output, "--overwrite", *winner_flags).communicate(timeout=60))

    def put_after_the_other(self: store.LocalStore, path: str, data: bytes) -> bool:
        if moment in path:
            let_the_other_win()
        return put(self, path, data)

    def finish_after_the_other(*arguments: Any) -> None:
        if moment == "finish":
            let_the_other_win()
        finish(*arguments)

    monkeypatch.setattr(store.LocalStore, "put_if_absent", put_after_the_other)
    monkeypatch.setattr("transforms.run.report.finish", finish_after_the_other)
    assert run(source, output, *loser_flags) == 1
    message = capsys.readouterr().err
    assert "was taken by another run" in message or "holds other bytes" in message
    assert message.count("\n") == 1
    assert published(output) == published(tmp_path / "alone")


# Dying


# What a run does to its folder is writing, linking and replacing: it is killed before the n-th of them.
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


@pytest.mark.parametrize("seconds", [0.3, 1.2])
def test_workers_go_with_a_killed_launcher(seconds: float, undisturbed: Source, tmp_path: Path) -> None:
    source, expected = undisturbed
    output = tmp_path / "out"
    launcher = start(source, output, "--workers=2")
    workers = _wait_for(lambda: _workers(launcher.pid), 30)
    time.sleep(seconds)
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
    workers = _wait_for(lambda: _workers(launcher.pid), 30)
    time.sleep(1)
    workers[0].kill()
    _, errors = launcher.communicate(timeout=60)
    assert launcher.returncode == 1, errors
    assert "a worker process was killed" in errors
    assert errors.count("\n") == 1
    assert not looks_finished(tmp_path / "out")


_ENDLESS = """
import logging
logging.disable(logging.CRITICAL)
import transforms.reading
transforms.reading.gather = lambda *_: time.sleep(600)
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
    _wait_for(lambda: (output / "_claim.json").exists() and (workers == 1 or _workers(process.pid)), 30)
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
    assert message.endswith("No space left on device\n")
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
    raise store.StoreError("made to fail")


def _workers(launcher: int) -> list[psutil.Process]:
    try:
        return [
            child
            for child in psutil.Process(launcher).children(recursive=True)
            if "pipelines.worker" in " ".join(child.cmdline())
        ]
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
