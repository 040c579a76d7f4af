"""A worker process of a local run: Beam's own, but quiet, deaf to the terminal's Ctrl-C, and gone with its launcher.

Beam's workers outlive a launcher that is killed, and a Ctrl-C that reaches them too ends in their tracebacks. This one
comes out of a process that has imported everything and waits (``waiting_workers.py`` is the launcher's side): a line on
its standard input is the environment of one worker, and a line on its standard output says how that one ended.
"""

from __future__ import annotations

import json
import logging
import os
import select
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings
from typing import NoReturn

from pipelines.command_line.exit_status import Status
from pipelines.launch.light_imports import light_imports
from pipelines.launch.waiting_workers import VERBOSE_VARIABLE
from transforms.messages import blocks_on_disk
from transforms.telemetry import progress

_WATCH_SECONDS = 0.2
_REAP_SECONDS = 0.05


def prepare() -> None:
    """Import what the work needs. No thread begins here: workers are forked off."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not os.environ.get(VERBOSE_VARIABLE):
        logging.disable(logging.CRITICAL)
        # Beam prints the traceback of a failed step here; the launcher is told of it too. What the system itself
        # writes of a crash goes past this object.
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    with light_imports():
        from apache_beam.runners.worker import sdk_worker_main  # noqa: F401

        from pipelines import graph  # noqa: F401
        from pipelines.launch import allocator

    allocator.keep_freed()


def serve(*, forks: bool) -> NoReturn:
    """Take environments until the launcher says no more, or is gone; fork off a worker for each, or become one."""
    waiting = b""
    workers = 0
    while True:
        readable, _, _ = select.select([0], [], [], _REAP_SECONDS if workers else None)
        if readable:
            heard = os.read(0, 1 << 20)
            if not heard:
                os._exit(Status.DONE)  # a worker that is still there notices
            *lines, waiting = (waiting + heard).split(b"\n")
            for line in lines:
                server = os.getpid() if forks else os.getppid()
                if not forks or _fork() == 0:
                    _work(json.loads(line), server)
                workers += 1
        while workers:
            process, status = os.waitpid(-1, os.WNOHANG)
            if not process:
                break
            workers -= 1
            print("ended", os.waitstatus_to_exitcode(status), flush=True)


def _fork() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of NumPy's are ready for it
        return os.fork()


def _work(environment: dict[str, str], server: int) -> NoReturn:
    """Work until there is no more, or nobody to work for."""
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # to be looked up again
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    threading.Thread(target=_end_with, args=(server,), name="launcher-watch", daemon=True).start()
    from apache_beam.runners.worker import sdk_worker_main

    status = Status.FAILED
    try:
        sdk_worker_main.main(sys.argv)
        status = Status.DONE
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _end_with(server: int) -> NoReturn:
    while os.getppid() == server:
        time.sleep(_WATCH_SECONDS)
    # What a killed launcher leaves behind; there is nothing where it ended by itself.
    if blocks := os.environ.get(blocks_on_disk.FOLDER_VARIABLE):
        shutil.rmtree(blocks, ignore_errors=True)
    if told := os.environ.get(progress.FOLDER_VARIABLE):
        shutil.rmtree(os.path.dirname(told), ignore_errors=True)
    os._exit(Status.FAILED)
