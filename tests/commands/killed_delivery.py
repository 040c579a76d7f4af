"""The command that delivers, which kills itself at one act upon a file.

Usage: ``python -m tests.commands.killed_delivery MOMENT [flags of the command]``. MOMENT is ``ACT WORD N``: the N-th
act of that kind upon a file whose path holds WORD. Acts are ``publish`` (before a file gets its name), ``published``
(after that), ``tear`` (half of the bytes are written), ``written`` (all of them, not yet synced) and ``synced``.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from pipelines.deliver import cli

_PUBLICATIONS = frozenset({"os.link", "os.rename"})


class Moment:
    """Counts the acts upon files, and ends this process at one of them."""

    def __init__(self, text: str) -> None:
        self._act, self._word, number = text.split()
        self._left = int(number)
        self._paths: dict[int, str] = {}
        self._published = False
        self._open, self._write, self._fsync = os.open, os.write, os.fsync

    def watch(self) -> None:
        """From now on."""
        sys.addaudithook(self._audit)
        os.open, os.write, os.fsync = self._opened, self._written, self._synced  # type: ignore[assignment]

    def _meet(self, act: str, path: str) -> bool:
        if act != self._act or self._word not in path:
            return False
        self._left -= 1
        return self._left == 0

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._published:
            self._published = False  # a kill is audited too
            _die()
        if event in _PUBLICATIONS:
            path = str(arguments[1])
            if self._meet("publish", path):
                _die()
            self._published = self._meet("published", path)

    def _opened(self, path: Any, *arguments: Any, **named: Any) -> int:
        descriptor = self._open(path, *arguments, **named)
        self._paths[descriptor] = str(path)
        return descriptor

    def _written(self, descriptor: int, data: bytes) -> int:
        path = self._paths.get(descriptor, "")
        if self._meet("tear", path):
            self._write(descriptor, data[: len(data) // 2])
            _die()
        written = self._write(descriptor, data)
        if self._meet("written", path):
            _die()
        return written

    def _synced(self, descriptor: int) -> None:
        self._fsync(descriptor)
        if self._meet("synced", self._paths.get(descriptor, "")):
            _die()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    Moment(sys.argv.pop(1)).watch()
    cli()
