"""What a command costs from its start to its end: CPU seconds, seconds by the clock, memory, its children included."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

SAMPLE_SECONDS = 0.05
_TREE_SECONDS = 0.5
_REAP_SECONDS = 5.0
_PR_SET_CHILD_SUBREAPER = 36


class CommandFailed(Exception):
    """A contender ended with another exit status than 0."""


@dataclasses.dataclass(frozen=True)
class Usage:
    """CPU seconds are user and system; memory is in bytes.

    ``peak`` is the largest sum over the process tree of proportional set sizes (resident ones where the system has no
    others) and of files in memory; ``largest_process`` is the system's own maximum for any single process.
    """

    cpu_s: float
    wall_s: float
    peak: int
    largest_process: int
    processes: int


def measure(command: Sequence[str], log: Path, cwd: Path) -> Usage:
    """Run a command; what it prints goes to ``log``.

    Raises:
        CommandFailed: with the end of the log.
    """
    _adopt_orphans()
    with log.open("wb") as output:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=cwd)
        sampler = _Sampler(process.pid)
        sampler.start()
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            process.terminate()
            raise
        finally:
            wall = time.perf_counter() - begin
            sampler.stop()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        end = log.read_text(errors="replace")[-2000:]
        raise CommandFailed(f"{' '.join(command)} ended with status {process.returncode}:\n{end}")
    orphans = _reap(sampler.seen - {process.pid})
    unit = 1 if sys.platform == "darwin" else 1024
    return Usage(
        cpu_s=used.ru_utime + used.ru_stime + orphans,
        wall_s=wall,
        peak=sampler.peak,
        largest_process=used.ru_maxrss * unit,
        processes=len(sampler.seen),
    )


def _adopt_orphans() -> None:
    """Workers that their launcher does not wait for become this process's children, so that their CPU is known."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _reap(processes: set[int]) -> float:
    """CPU seconds of the orphans among these processes; one that does not end by itself is ended."""
    cpu = 0.0
    deadline = time.monotonic() + _REAP_SECONDS
    waiting = set(processes)
    while waiting:
        for pid in list(waiting):
            try:
                ended, _, used = os.wait4(pid, os.WNOHANG)
            except ChildProcessError:
                waiting.discard(pid)  # its own parent has waited for it, which counted it there
                continue
            if ended:
                cpu += used.ru_utime + used.ru_stime
                waiting.discard(pid)
            elif time.monotonic() > deadline:
                psutil.Process(pid).kill()
        time.sleep(0.01)
    return cpu


class _Sampler(threading.Thread):
    """Looks at a process tree's memory twenty times a second, as cheaply as it can: the contenders need the cores."""

    def __init__(self, root: int) -> None:
        super().__init__(name="memory", daemon=True)
        self._root = psutil.Process(root)
        self._ended = threading.Event()
        self._tree: list[psutil.Process] = [self._root]
        self._tree_at = 0.0
        self._shared_at = 0.0
        self._resident = 0
        self._share = 1.0
        self.seen = {root}
        self.peak = 0

    def stop(self) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            now = time.monotonic()
            if now - self._tree_at > _TREE_SECONDS:
                self._find_tree(now)
            self._sample(now)

    def _find_tree(self, now: float) -> None:
        try:
            self._tree = [self._root, *self._root.children(recursive=True)]
        except psutil.Error:
            return
        self.seen |= {process.pid for process in self._tree}
        self._tree_at = now

    def _sample(self, now: float) -> None:
        resident = sum(_resident(process) for process in self._tree)
        # Proportional sizes cost milliseconds: they are asked for twice a second, and whenever there may be a new peak.
        if len(self._tree) > 1 and (now - self._shared_at > _TREE_SECONDS or resident > self._resident * 1.02):
            proportional = sum(_proportional(process) for process in self._tree)
            self._share = min(1.0, proportional / resident) if resident else 1.0
            self._shared_at, self._resident = now, resident
        elif len(self._tree) == 1:
            self._share = 1.0
        files = _files_in_memory(self._tree)
        self.peak = max(self.peak, round(resident * self._share) + files)


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _proportional(process: psutil.Process) -> int:
    try:
        full = process.memory_full_info()
    except psutil.Error:
        return 0
    return int(getattr(full, "pss", full.rss))


def _files_in_memory(tree: list[psutil.Process]) -> int:
    """Bytes of open memory files, which no process's resident size shows."""
    sizes: dict[tuple[int, int], int] = {}
    for process in tree:
        try:
            for entry in os.scandir(f"/proc/{process.pid}/fd"):
                if os.readlink(entry.path).startswith("/memfd:"):
                    found = os.stat(entry.path)
                    sizes[found.st_dev, found.st_ino] = found.st_blocks * 512
        except OSError:
            continue
    return sum(sizes.values())
