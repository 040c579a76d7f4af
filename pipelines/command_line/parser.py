"""What the parsers of all verbs share: hyphens beside underscores, short usage, ``--version``, the flag that was meant.

A parser can have groups that its help leaves out, as the options of the runners, which ``--help_runner`` shows.
"""

from __future__ import annotations

import argparse
import difflib
import re
import shutil
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NoReturn

from pipelines import PROGRAM
from transforms.errors import UsageError
from transforms.output.versions import program_version

_WIDEST = 100
_COLUMN = 36  # where the texts of the help begin
_LIKE, _MUCH_LIKE = 0.6, 0.8
_DASHED = re.compile(r"--\w[\w-]*")


class Parser(argparse.ArgumentParser):
    """A verb's parser; ``flags`` are those that its usage shows, with their values."""

    def __init__(self, verb: str, flags: str, description: str, examples: str, more: str = "") -> None:
        super().__init__(
            prog=PROGRAM if verb == "run" else f"{PROGRAM} {verb}",
            usage=f"{PROGRAM} {'[run]' if verb == 'run' else verb} {flags} [flags]{more}",
            description=description,
            epilog=examples,
            formatter_class=_Formatter,
            allow_abbrev=False,
        )
        self._optionals.title = "help"
        self._apart: list[argparse._ArgumentGroup] = []
        self.add_argument("--version", action=_Version, help="show the version and end")

    def add_group_apart(self, title: str) -> argparse._ArgumentGroup:
        """A group that ``--help`` does not show."""
        self._apart.append(self.add_argument_group(title))
        return self._apart[-1]

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        return super().parse_known_args([with_underscores(word) for word in args or ()], namespace)

    def format_help(self) -> str:
        """The help: groups in their order, what there is besides at the end."""
        groups = self._action_groups
        own = [group for group in groups if group not in (*self._apart, self._optionals)]
        try:
            self._action_groups = [*own, self._optionals]
            return super().format_help()
        finally:
            self._action_groups = groups

    def format_groups(self, titles: Collection[str]) -> str:
        """The help of these groups alone."""
        formatter = self._get_formatter()
        for group in self._action_groups:
            if group.title in titles:
                formatter.start_section(group.title)
                formatter.add_arguments(group._group_actions)
                formatter.end_section()
        return formatter.format_help()

    def flags(self, *, apart: bool) -> list[str]:
        """The flags of the groups that the help does not show, or of the others."""
        hidden = {id(action) for group in self._apart for action in group._group_actions}
        return [
            flag
            for action in self._actions
            if (id(action) in hidden) == apart
            for flag in action.option_strings
            if flag.startswith("--")
        ]

    def unknown(self, argv: Iterable[str]) -> list[str]:
        """The words of a command line that look like flags and are not, without their values."""
        known = {flag for action in self._actions for flag in action.option_strings}
        flags = (word.partition("=")[0] for word in argv)
        return [
            flag
            for flag in flags
            if flag[:1] == "-" and len(flag) > 1 and not flag[1].isdigit() and with_underscores(flag) not in known
        ]

    def did_you_mean(self, flag: str) -> str:
        """What to say after a flag that is not one: a flag of ours goes before a runner's that is as near."""
        plain = "--" + flag.lstrip("-").replace("-", "_")
        own = _nearest(plain, self.flags(apart=False), _LIKE)
        other = _nearest(plain, self.flags(apart=True), _MUCH_LIKE)
        found = max((own, other), key=lambda pair: pair[0])[1]
        return f": did you mean {found}?" if found else ": --help lists them"

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=_COLUMN, width=min(_WIDEST, shutil.get_terminal_size().columns))


class _Version(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, **more: Any) -> None:
        super().__init__(option_strings, dest, default=argparse.SUPPRESS, nargs=0, **more)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        print(f"{PROGRAM} {program_version()}")
        parser.exit()


def with_underscores(word: str) -> str:
    """A flag as it is named here: hyphens do for underscores.

    >>> with_underscores("--max-reject-share=0.5"), with_underscores("a-value")
    ('--max_reject_share=0.5', 'a-value')
    """
    flag, equals, value = word.partition("=")
    return f"--{flag[2:].replace('-', '_')}{equals}{value}" if _DASHED.fullmatch(flag) else word


def help_text(action: argparse.Action) -> str:
    """The help of a flag with its default and choices put in."""
    values = {name: value for name, value in vars(action).items() if value is not argparse.SUPPRESS}
    if values.get("choices") is not None:
        values["choices"] = ", ".join(map(str, values["choices"]))
    return str(action.help or "") % values


def _nearest(flag: str, flags: Iterable[str], least: float) -> tuple[float, str]:
    """How like it is, and the flag that is most like a given one; of equals the first."""
    likeness = ((difflib.SequenceMatcher(None, known, flag).ratio(), known) for known in flags)
    return max(
        ((ratio, known) for ratio, known in likeness if ratio >= least), default=(0.0, ""), key=lambda pair: pair[0]
    )
