"""One delivery at a time: a lease is a file of a generation, created where none is, and changed by its holder's beats.

Whoever wants the next generation waits until the present one was given back, stands still for a minute, or was held by
a process of this very machine that is gone. Creating the next generation's file is the one act that decides.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

import orjson
import psutil

from transforms.errors import Conflict, DeliveryAtWork, StoreError
from transforms.stores.store import join, store_for

BEAT_SECONDS, STILL_SECONDS = 10.0, 60.0
_NAME = re.compile(r"lease-(\d{6})\.json")
_SAFE_SECONDS = 45.0  # after the last beat, from which on nothing is sent until the next


class Lease:
    """A generation that this process holds until it is released, or until ``lost``."""

    def __init__(self, folder: str, generation: int, body: dict[str, Any], version: str) -> None:
        self.generation = generation
        self._path = _path(folder, generation)
        self._next = _path(folder, generation + 1)
        self._body = body
        self._version = version
        self._beaten = _clock()
        self._stop = threading.Event()
        self.lost = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._thread.start()

    def is_fresh(self) -> bool:
        """Whether nobody can have taken this delivery for dead; while it is not, nothing may be sent."""
        return _clock() - self._beaten < _SAFE_SECONDS and not self.lost.is_set()

    def release(self) -> None:
        """Give it back, so that the next one need not wait."""
        self._stop.set()
        self._thread.join(timeout=5)
        with contextlib.suppress(StoreError):
            self._put(released=True)

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            asked = _clock()
            try:
                if store_for(self._next).entry(self._next) is not None:
                    raise Conflict("taken over")
                self._put(released=False)
                self._beaten = asked
            except Conflict:
                self.lost.set()
                return
            except StoreError:
                continue  # it may pass; nothing is sent meanwhile, once the last beat is old

    def _put(self, released: bool) -> None:
        self._body = {**self._body, "beat": self._body["beat"] + 1, "released": released}
        store = store_for(self._path)
        data = orjson.dumps(self._body)
        store.put(self._path, data, self._version)
        entry = store.entry(self._path)
        if entry is None:
            raise Conflict("taken over")
        self._version = entry.version


def acquire(folder: str, sleep: Callable[[float], None] = time.sleep, still: float = STILL_SECONDS) -> Lease:
    """Take the lease of the folder.

    Raises:
        DeliveryAtWork: a living delivery holds it.
    """
    store = store_for(folder)
    while True:
        newest = _newest(folder)
        if newest is not None:
            _wait(folder, newest, sleep, still)
        mine = (newest or 0) + 1
        body = {"holder": secrets.token_hex(16), "process": _process(), "beat": 0, "released": False}
        try:
            store.put_if_absent(_path(folder, mine), orjson.dumps(body))
        except Conflict:
            raise _held(folder) from None
        entry = store.entry(_path(folder, mine))
        if entry is None or _newest(folder) != mine:
            raise _held(folder)
        store.delete([_path(folder, number) for number in range(max(mine - 20, 1), mine)])
        return Lease(folder, mine, body, entry.version)


def _wait(folder: str, generation: int, sleep: Callable[[float], None], still: float) -> None:
    """Until a generation is free to be followed.

    Raises:
        DeliveryAtWork: it shows a sign of life.
    """
    path = _path(folder, generation)
    first = store_for(path).get(path)
    if first is None:
        return
    held = orjson.loads(first)
    if held["released"] or _is_gone(held["process"]):
        return
    if held["process"] is not None and held["process"][:3] == (_process() or [])[:3]:
        raise _held(folder)  # its process is seen to live
    waited = 0.0
    while waited < still:
        sleep(1.0)
        waited += 1.0
        now = store_for(path).get(path)
        if now is None:
            return
        if now != first:
            if orjson.loads(now)["released"]:
                return
            raise _held(folder)


def _newest(folder: str) -> int | None:
    prefix = len(join(folder, ""))
    found = [_NAME.fullmatch(entry.path[prefix:]) for entry in store_for(folder).list(folder, "lease-")]
    return max((int(match[1]) for match in found if match), default=None)


def _held(folder: str) -> DeliveryAtWork:
    return DeliveryAtWork(
        f"another delivery of this run is at work ({folder}): let it finish, or stop it and give the command again"
    )


def _clock() -> float:
    """Seconds that pass while the machine sleeps too, and whatever its clock is set to."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def _path(folder: str, generation: int) -> str:
    return join(folder, f"lease-{generation:06d}.json")


def _process() -> list[Any] | None:
    """Machine, boot, space of process ids, process id and start; None where the system does not tell."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        space = str(os.stat("/proc/self/ns/pid").st_ino)
        return [platform.node(), boot, space, os.getpid(), _start(os.getpid())]
    except (OSError, ValueError, IndexError):
        return None


def _start(process: int) -> int:
    """When a process began, in ticks since the machine did: the clock may be set meanwhile, and ids come again."""
    with open(f"/proc/{process}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[19])


def _is_gone(process: list[Any] | None) -> bool:
    """Whether a process was one of this machine's, and has ended."""
    mine = _process()
    if process is None or mine is None or process[:3] != mine[:3]:
        return False
    try:
        found = psutil.Process(process[3])
        return bool(_start(process[3]) != process[4] or found.status() == psutil.STATUS_ZOMBIE)
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return True
    except (psutil.Error, OSError, ValueError, IndexError):
        return False
