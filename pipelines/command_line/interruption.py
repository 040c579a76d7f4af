"""Ctrl-C and SIGTERM, alike on every verb: the command ends within ten seconds, with a status of its own.

Both raise KeyboardInterrupt in the main thread, which gives back what the command holds. A second thread hears of them
too (the main thread may be in the middle of a call that hears nothing) and ends a process that takes too long; where no
thread gets to run, another process does.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from types import FrameType
from typing import Any, NoReturn

from pipelines.command_line.exit_status import Status
from pipelines.command_line.last_words import last_line, wants_json

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LAST_SECONDS = 8.0
_LONGER_SECONDS = 1.0
_HANDS_ON = 9  # the watchdog's descriptor for what it hears
# Another process, since a call into C may keep the interpreter's lock, and all threads with it, for ever.
_WATCHDOG = """
import json, os, select, signal, sys, time
process, seconds, *said = json.loads(sys.argv[1])
while heard := os.read(0, 64):
    try:
        os.write(9, heard)
    except OSError:
        break  # it has ended already
    if set(heard) & {signal.SIGINT, signal.SIGTERM}:
        time.sleep(seconds)
        if os.getppid() != process:
            break
        for descriptor, text in said:
            try:
                if select.select([], [descriptor], [], 0)[1]:
                    os.write(descriptor, f"{text}\\n".encode())
            except OSError:
                pass
        os.kill(process, signal.SIGKILL)
"""
_WITHOUT_WAITING = frozenset(Status) - {Status.DONE, Status.REFUSED}


def heed_from_the_start(program: str, argv: Sequence[str]) -> None:
    """While the command's modules are being imported: an interruption ends the process there and then."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        _end(program, argv, {}, "interrupted: nothing was started")

    for number in SIGNALS:
        signal.signal(number, end)


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """The handler of both signals."""
    raise KeyboardInterrupt


def carry_out(
    main: Callable[[Sequence[str]], int],
    program: str,
    argv: Sequence[str],
    counts: Mapping[str, Any],
    *,
    without_waiting: Collection[int] = _WITHOUT_WAITING,
) -> NoReturn:
    """The whole life of a command's process: runs ``main`` on ``argv``, and ends with its status.

    ``counts`` are those of ``--json`` where nothing was done. With a status of ``without_waiting`` the process ends at
    once: threads in the middle of their work, as of a job that was interrupted, would hold up an ordinary exit.
    """
    _watch(program, argv, counts)
    for number in SIGNALS:
        signal.signal(number, interrupt)
    try:
        status = main(argv)
    except KeyboardInterrupt:  # a second one, while the first was being told
        status = Status.INTERRUPTED
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            try:
                stream.flush()
            except OSError:
                continue
    if status in without_waiting:
        os._exit(status)
    sys.exit(status)


def _watch(program: str, argv: Sequence[str], counts: Mapping[str, Any]) -> None:
    heard, tells = os.pipe()
    os.set_blocking(tells, False)
    signal.set_wakeup_fd(tells, warn_on_full_buffer=False)
    message = f"interrupted: what was under way did not end within {LAST_SECONDS:g} s; the same command resumes"
    told = _begin_watchdog(heard, _said(program, argv, counts, message))

    def watch() -> None:
        while not set(heard := os.read(told, 64)) & set(SIGNALS):
            if not heard:  # somebody killed the watchdog
                return
        time.sleep(LAST_SECONDS)
        _end(program, argv, counts, message)

    threading.Thread(target=watch, name="interruption-watch", daemon=True).start()


def _begin_watchdog(heard: int, said: Mapping[int, str]) -> int:
    """Start a process that ends this one where not even a thread gets to run; returns where it hands on the signals."""
    told, hands_on = os.pipe()
    words = json.dumps([os.getpid(), LAST_SECONDS + _LONGER_SECONDS, *said.items()])
    try:
        os.posix_spawn(
            sys.executable, [sys.executable, "-I", "-S", "-c", _WATCHDOG, words], os.environ, setsid=True,
            file_actions=[(os.POSIX_SPAWN_DUP2, heard, 0), (os.POSIX_SPAWN_DUP2, hands_on, _HANDS_ON)],
        )  # fmt: skip
    except (OSError, NotImplementedError):  # no more processes, or a system that cannot: the thread has to do
        return heard
    os.close(heard)
    os.close(hands_on)
    return told


def _said(program: str, argv: Sequence[str], counts: Mapping[str, Any], message: str) -> dict[int, str]:
    """The last words, by the descriptor that they go to."""
    said = {2: f"{program}: {message}"}
    if wants_json(argv):
        said[1] = last_line(Status.INTERRUPTED, counts, message=message)
    return said


def _end(program: str, argv: Sequence[str], counts: Mapping[str, Any], message: str) -> NoReturn:
    """End the process here and now; past its streams, which may be in the middle of a call or wait for a reader."""
    for descriptor, text in _said(program, argv, counts, message).items():
        with contextlib.suppress(OSError):
            if select.select([], [descriptor], [], 0)[1]:
                os.write(descriptor, f"{text}\n".encode())
    os._exit(Status.INTERRUPTED)
