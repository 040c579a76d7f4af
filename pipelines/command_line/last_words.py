"""What a command says at its end: lines on standard output, one on standard error, and with ``--json`` an object as the
last line of standard output, however it ends.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipelines.command_line.exit_status import Status


def show(lines: Iterable[str]) -> None:
    """Print lines, unless nobody reads on: what is done stays done where the output is piped into ``head``."""
    text = "\n".join(lines)
    try:
        try:
            print(text, flush=True)
        except UnicodeEncodeError:  # a terminal or a pipe of another encoding
            print(text.encode("ascii", "backslashreplace").decode(), flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def finish(
    program: str, argv: Sequence[str], status: Status, counts: Mapping[str, Any], *, message: str = "", word: str = ""
) -> Status:
    """Say how a command ended, and return its status.

    ``message`` is for standard error, and says what to do; ``word`` what ``status`` is in the object, in place of the
    status's own; ``counts`` are the object's other keys, and may hold a ``status`` and a ``message`` of their own.
    """
    if message:
        complain(program, message)
    if wants_json(argv):
        show([last_line(status, counts, message=message, word=word)])
    return status


def last_line(status: Status, counts: Mapping[str, Any], *, message: str = "", word: str = "") -> str:
    """The object of ``--json``, in ASCII, which every terminal and pipe takes."""
    return json.dumps({"status": word or status.word, "message": message, **counts, "exit_status": int(status)})


def complain(program: str, message: str) -> None:
    """Print a line on standard error, if that is still there."""
    text = f"{program}: {message}"
    try:
        try:
            print(text, file=sys.stderr, flush=True)
        except UnicodeEncodeError:
            print(text.encode("ascii", "backslashreplace").decode(), file=sys.stderr, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def wants_json(argv: Sequence[str]) -> bool:
    """Whether the object is wanted, of a command line that may be one that is refused."""
    return any(word.partition("=")[0] == "--json" for word in argv)
