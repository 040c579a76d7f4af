"""A command on a terminal of its own (a pseudo-terminal): what it shows, and what is typed."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path


class OnTerminal:
    """Runs a command whose stdin and stderr are a terminal; its stdout too, unless it is a file."""

    def __init__(self, words: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
        self._mine, its = pty.openpty()
        self.process = subprocess.Popen(
            words, cwd=folder, env=environment, stdin=its, stdout=its, stderr=its, start_new_session=True
        )
        os.close(its)
        self.shown = ""

    def until(self, words: str, seconds: float = 60.0) -> str:
        """Everything that was shown once these words are."""
        end = time.monotonic() + seconds
        while words not in self.shown:
            assert time.monotonic() < end, f"[{words}] was not shown: {self.shown}"
            assert self._read(), f"the command ended without [{words}]: {self.shown}"
        return self.shown

    def answer(self, text: str) -> None:
        os.write(self._mine, text.encode())

    def end(self) -> int:
        """Its exit status, once all is shown."""
        while self._read():
            pass
        os.close(self._mine)
        return self.process.wait(timeout=60)

    def _read(self) -> bool:
        while not select.select([self._mine], [], [], 0.2)[0]:
            if self.process.poll() is not None and not select.select([self._mine], [], [], 0.2)[0]:
                return False
        with contextlib.suppress(OSError):  # EIO: the other side is closed
            if data := os.read(self._mine, 1 << 16):
                self.shown += data.decode("utf-8", "replace").replace("\r\n", "\n")
                return True
        return False
