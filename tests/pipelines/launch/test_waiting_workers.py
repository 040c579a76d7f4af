"""Worker processes start while input is listed, fork off one that has imported everything, and never outlive a run."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipelines import currents_to_mixpanel as command
from pipelines.launch import waiting_workers
from pipelines.launch.waiting_workers import WaitingWorkers, default_workers
from tests.commands.several_units import Source, published, run
from tests.commands.whole_run import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def workers() -> Iterator[WaitingWorkers]:
    with contextlib.closing(WaitingWorkers()) as waiting:
        yield waiting


def waiting_processes(parent: int) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(parent).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # also of one that has ended, and that nobody has waited for
            if "pipelines.launch.worker" in " ".join(child.cmdline()):
                found.append(child)
    return found


def wait_for(condition: Callable[[], Any]) -> Any:
    until = time.monotonic() + 30
    while not (found := condition()):
        assert time.monotonic() < until, "it does not come"
        time.sleep(0.02)
    return found


def test_one_process_waits_for_any_number_of_workers(workers: WaitingWorkers) -> None:
    workers.begin(1)
    assert waiting_processes(os.getpid()) == []
    workers.begin(2)
    workers.begin(4)
    assert len(waiting_processes(os.getpid())) == 1


def test_elsewhere_than_on_linux_there_is_one_for_each(
    workers: WaitingWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_workers, "_FORKS", False)
    workers.begin(3)
    assert len(waiting_processes(os.getpid())) == 3


@pytest.mark.parametrize("forks", [True, False])
def test_a_worker_that_fails_is_told_by_its_status(
    forks: bool, workers: WaitingWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_workers, "_FORKS", forks)
    workers.employ({"PIPELINE_OPTIONS": "{}"}, bool)  # but no address to work for
    wait_for(lambda: workers.lost is not None)
    assert workers.lost == 1
    assert workers.reason == ""


def test_the_process_that_waits_is_missed_too(workers: WaitingWorkers) -> None:
    workers.begin(2)
    (process,) = waiting_processes(os.getpid())
    process.kill()
    wait_for(lambda: workers.lost is not None)
    assert workers.lost == -9


def test_no_process_waits_on_once_there_is_nothing_to_wait_for(workers: WaitingWorkers) -> None:
    workers.begin(2)
    (process,) = waiting_processes(os.getpid())
    workers.close()
    assert not process.is_running()
    assert workers.lost is None


def test_no_waiting_worker_is_left_when_the_launcher_is_killed() -> None:
    program = (
        "import time\nfrom pipelines.launch.waiting_workers import WaitingWorkers\n"
        "WaitingWorkers().begin(2)\nprint('begun', flush=True)\ntime.sleep(600)\n"
    )
    launcher = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE)
    assert launcher.stdout is not None
    assert launcher.stdout.readline() == b"begun\n"
    (process,) = waiting_processes(launcher.pid)
    launcher.kill()
    launcher.communicate()
    wait_for(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


@pytest.mark.parametrize(("count", "forks"), [(2, True), (4, True), (2, False)])
def test_several_workers_publish_what_one_does_however_they_began(
    count: int, forks: bool, undisturbed: Source, small_units: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_workers, "_FORKS", forks)
    source, expected = undisturbed
    assert run(source, tmp_path / "out", f"--workers={count}") == 0
    assert published(tmp_path / "out") == expected
    assert waiting_processes(os.getpid()) == []


@pytest.mark.parametrize(("workers", "begun"), [("1", 0), ("2", 1)])
def test_waiting_workers_begin_before_the_input_is_listed_and_end_where_there_is_none(
    workers: str, begun: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    survey = command.survey
    found: list[int] = []

    def noted(*arguments: Any, **named: Any) -> Any:
        found.append(len(waiting_processes(os.getpid())))
        return survey(*arguments, **named)

    monkeypatch.setattr(command, "survey", noted)
    assert run(tmp_path / "nothing", tmp_path / "out", f"--workers={workers}") == 2
    assert found == [begun]
    assert waiting_processes(os.getpid()) == []


def test_without_workers_they_begin_once_the_input_is_known_to_be_large(
    undisturbed: Source, small_units: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = command.claim
    found: list[int] = []

    def noted(*arguments: Any, **named: Any) -> Any:
        found.append(len(waiting_processes(os.getpid())))
        return claim(*arguments, **named)

    monkeypatch.setattr(command, "claim", noted)
    monkeypatch.setattr(waiting_workers, "_BYTES_FOR_TWO", 1000)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    source, expected = undisturbed
    assert run(source, tmp_path / "out") == 0
    assert found == [1]
    assert published(tmp_path / "out") == expected


@pytest.mark.parametrize(("cores", "megabytes", "workers"), [(1, 1000, 1), (2, 255, 1), (2, 256, 2), (8, 1000, 2)])
def test_the_default_follows_from_cores_and_bytes(
    cores: int, megabytes: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    assert default_workers(megabytes << 20) == workers
