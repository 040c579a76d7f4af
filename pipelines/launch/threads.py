"""Whether this machine gives a run the threads that it needs: without, gRPC ends the process or waits for ever."""

from __future__ import annotations

import threading

import psutil

from transforms.errors import RunFailed

# Counted in a run: 15 in one process; with workers 36 in the launcher, 29 in each of them, 2 in what forks them.
_ALONE, _LAUNCHER, _A_WORKER = 16, 38, 30
_SMALL_STACK = 256 << 10  # bytes, for threads that only stand for those of other processes
_lock = threading.Lock()


def check_threads(workers: int) -> None:
    """Start as many threads as a run of so many workers has, and end them again.

    Raises:
        RunFailed: the system refuses one.
    """
    own, others = (_ALONE, 0) if workers == 1 else (_LAUNCHER, workers * _A_WORKER)
    own = max(1, own - psutil.Process().num_threads())  # some are there already
    end = threading.Event()
    threads: list[threading.Thread] = []
    try:
        for number in range(own + others):
            thread = threading.Thread(target=end.wait, name="trial", daemon=True)
            _start(thread, _SMALL_STACK if number >= own else 0)
            threads.append(thread)
    except (RuntimeError, MemoryError) as error:
        raise RunFailed(
            f"this machine gives the run {len(threads)} more threads, and it needs {own + others}: raise the limit "
            "(ulimit -u and -v, pids.max or the process limit of a container)"
            + (", or give --workers 1" if others else "")
        ) from error
    finally:
        end.set()
        for thread in threads:
            thread.join()


def _start(thread: threading.Thread, stack: int) -> None:
    with _lock:
        before = threading.stack_size(stack)
        try:
            thread.start()
        finally:
            threading.stack_size(before)
