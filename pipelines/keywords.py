"""The flags as keywords, for programs that run the job without a command line."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from pipelines.command_line.flags import parser
from pipelines.command_line.options import Options, parse
from transforms.errors import UsageError

_FOR_A_TERMINAL = ("help", "help_runner", "version")


def options(**flags: Any) -> Options:
    """Checked options, of flags by their names: ``options(input="exports/", output="out/", users_share=0.01)``.

    A switch is given as True; what takes several values takes a list; None and False stand for a flag left out.

    Raises:
        UsageError: a flag is not known, or has a value it cannot have.
    """
    return parse(words_of(flags))


def words_of(flags: Mapping[str, Any]) -> list[str]:
    """The command line of flags by their names.

    Raises:
        UsageError: a flag only shows something on a terminal.

    >>> words_of({"input": ["a/", "b/"], "skip": ["x", "y"], "overwrite": True, "tag": None})
    ['--input=a/,b/', '--skip=x', '--skip=y', '--overwrite']
    """
    repeated = {action.dest for action in parser()._actions if isinstance(action, argparse._AppendAction)}
    words = []
    for name, value in flags.items():
        if name in _FOR_A_TERMINAL:
            raise UsageError(f"{name} is for the command line: leave it out")
        if value is None or value is False:
            continue
        if value is True:
            words.append(f"--{name}")
        elif isinstance(value, (list, tuple)) and name in repeated:
            words += [f"--{name}={item}" for item in value]
        else:
            words.append(f"--{name}={','.join(map(str, value)) if isinstance(value, (list, tuple)) else value}")
    return words
