"""A machine that gives no more threads is named before anything waits for ever, and so is a worker that never calls."""

from __future__ import annotations

import threading
from typing import Any

import psutil
import pytest

from pipelines.launch.threads import check_threads
from pipelines.launch.waiting_workers import CONTACT_SECONDS, WaitingWorkers
from transforms.errors import RunFailed


@pytest.mark.parametrize(("workers", "needed", "cure"), [(1, 14, "pids.max"), (2, 96, "--workers 1")])
def test_threads_that_cannot_be_had_are_named_with_the_limits_to_raise(
    workers: int, needed: int, cure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil.Process, "num_threads", lambda _: 2)
    before = threading.active_count()
    check_threads(workers)
    assert threading.active_count() == before

    start = threading.Thread.start
    started: list[threading.Thread] = []

    def few(thread: threading.Thread) -> None:
        if len(started) == 9:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", few)
    with pytest.raises(RunFailed, match=f"gives the run 9 more threads, and it needs {needed}") as failed:
        check_threads(workers)
    assert cure in str(failed.value)
    assert threading.active_count() == before
    assert threading.stack_size() == 0


def test_a_worker_that_never_calls_is_lost_after_a_minute_of_running_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WaitingWorkers, "begin", lambda *_: None)
    has_called = [False, True]
    workers: Any = WaitingWorkers()
    for number in range(2):
        workers._idle = [_Server()]
        workers.employ({}, lambda number=number: has_called[number])
    workers.count_silence(CONTACT_SECONDS)
    found = [workers.lost]
    workers.count_silence(0.1)
    found.append(workers.lost)
    assert workers.reason.startswith("it made no contact within 60 s: check whether")

    workers.lost, has_called[0] = None, True
    workers.count_silence(CONTACT_SECONDS + 1)
    assert [*found, workers.lost] == [None, 1, None]


class _Server:
    """A process that takes what it is told."""

    class stdin:
        write = staticmethod(len)
        flush = staticmethod(lambda: None)
