"""Worker processes of a local run from the launcher's side: started while input is still listed, put to work by Beam.

One process imports what the work needs, and then forks off a worker for each that Beam asks for: the imports are paid
for once, and their memory is shared. Forking is safe there, since no thread has begun. Elsewhere than on Linux system
libraries do not expect it: each worker is a process of its own then.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping

import pipelines

# Below this a second process costs more in start-up than it saves.
_BYTES_FOR_TWO = 256 << 20
_FORKS = sys.platform == "linux"
_LAST_SECONDS = 5.0
CONTACT_SECONDS = 60.0
"""Of the launcher's own running time, until a worker that was put to work must have called."""

VERBOSE_VARIABLE = "CURRENTS_TO_MIXPANEL_VERBOSE"

# Not ``-m pipelines.launch.worker``: the current folder would come first, and many repositories have a ``pipelines``.
_BOOTSTRAP = """
import sys
root = sys.argv[1]
sys.path[:] = [root, *filter(None, sys.path)]
try:
    import pipelines.launch.worker as worker
    worker.prepare()
except Exception as error:
    print("failed", " ".join(f"{type(error).__name__}: {error}".split()), flush=True)
    raise
worker.serve(forks=sys.argv[2] == "forks")
"""


def default_workers(input_bytes: int) -> int:
    """How many processes an input of this size is worth on this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 2 if cores >= 2 and input_bytes >= _BYTES_FOR_TWO else 1


class WaitingWorkers:
    """Processes that wait for work, what became of those that got some, and the end of all of them."""

    def __init__(self, *, verbose: bool = False) -> None:
        self._verbose = verbose
        self._changed = threading.Condition()
        self._servers: list[subprocess.Popen[bytes]] = []
        self._idle: list[subprocess.Popen[bytes]] = []
        self._listeners: list[threading.Thread] = []
        self._at_work = 0
        self._silent: list[Callable[[], bool]] = []
        self._silence = 0.0  # seconds
        self._closed = False
        self.lost: int | None = None
        """The exit status of the first process that ended before its work, minus the signal's number if one did it."""
        self.reason = ""
        """Why processes did not start, where they did not."""

    def begin(self, workers: int) -> None:
        """Let processes for so many workers import what they need; those that do are enough."""
        while workers > 1 and len(self._idle) < (1 if _FORKS else workers):
            self._start()

    def employ(self, told: Mapping[str, str], has_contact: Callable[[], bool]) -> None:
        """Put one worker to work, in this environment with what it is told besides; it has to make contact soon."""
        with self._changed:
            self._at_work += 1
            self._silent.append(has_contact)
            self._silence = 0.0
        self.begin(2)
        server = self._idle[-1] if _FORKS else self._idle.pop()
        assert server.stdin is not None
        with contextlib.suppress(OSError):  # it is gone, which its own thread tells
            server.stdin.write(json.dumps({**os.environ, **told}).encode() + b"\n")
            server.stdin.flush()

    def count_silence(self, seconds: float) -> None:
        """Take note that so much time went by: a worker that made no contact in a minute of it does not start."""
        self._silent = [has_contact for has_contact in self._silent if not has_contact()]
        self._silence = self._silence + seconds if self._silent else 0.0
        if self._silence > CONTACT_SECONDS and self.lost is None:
            self.reason = self.reason or (
                f"it made no contact within {CONTACT_SECONDS:g} s: check whether threads or memory are limited (ulimit "
                "-u and -v, pids.max), or connections of this machine to itself"
            )
            self.lost = 1

    def settle(self) -> None:
        """Wait until all that were put to work have ended."""
        with self._changed:
            self._changed.wait_for(self._is_settled, _LAST_SECONDS)

    def close(self) -> None:
        """End them all, at work or not."""
        self._closed = True
        for server in self._servers:
            server.kill()
        for server in self._servers:
            server.wait()
        for listener in self._listeners:
            listener.join(_LAST_SECONDS)
        for server in self._servers:
            for pipe in (server.stdin, server.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        self._servers, self._idle, self._listeners = [], [], []

    def _start(self) -> None:
        root = os.path.dirname(os.path.dirname(os.path.abspath(pipelines.__file__)))
        argv = [sys.executable, "-c", _BOOTSTRAP, root, "forks" if _FORKS else "alone"]
        environment = {**os.environ, VERBOSE_VARIABLE: "1" if self._verbose else ""}
        server = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self._servers.append(server)
        self._idle.append(server)
        listener = threading.Thread(target=self._listen, args=(server,), name="workers", daemon=True)
        listener.start()
        self._listeners.append(listener)

    def _listen(self, server: subprocess.Popen[bytes]) -> None:
        """Hear of each worker's end, and at last of the server's own."""
        assert server.stdout is not None
        for line in server.stdout:
            word, _, rest = line.decode(errors="replace").strip().partition(" ")
            if word == "failed":
                self.reason = rest
            elif word == "ended":
                self._note_end(int(rest))
        status = server.wait()
        with contextlib.suppress(ValueError):
            self._idle.remove(server)
        if status or not _FORKS:
            self._note_end(status)

    def _note_end(self, status: int) -> None:
        with self._changed:
            self._at_work -= 1
            if status and self.lost is None and not self._closed:
                self.lost = status
            self._changed.notify_all()

    def _is_settled(self) -> bool:
        return self._at_work <= 0 or self.lost is not None
