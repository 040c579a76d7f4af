"""Writes the generated parts of the documentation from the code: ``python -m tools.write_docs``.

A page marks such a part by two comments, ``<!-- generated: NAME -->`` and ``<!-- end of generated -->``; what stands
around them is written by hand. ``--check`` writes nothing and exits with 1 where a page is out of date.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipelines.command_line import flags, runner_options
from pipelines.command_line.exit_status import Status
from pipelines.command_line.parser import help_text
from pipelines.delivery import flags as delivery_flags
from pipelines.sample_export import __main__ as sample_export
from transforms import errors
from transforms.currents import catalog
from transforms.currents.catalog import PROFILE_UPDATE
from transforms.privacy.marks import IDS, UNMARKED, is_marked, marked_anywhere
from transforms.vocabulary.changes import LIMITS
from transforms.vocabulary.files import DAMAGE, NOT_READ
from transforms.vocabulary.outputs import OUTPUT_FILES
from transforms.vocabulary.persons import EXTERNAL_IDS_LEFT_OUT, LINK_STATUSES, VIA
from transforms.vocabulary.rows import OUTCOMES, REJECTS, WITHHELD
from transforms.vocabulary.terms import Terms

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/flags.md", "docs/failures.md", "docs/privacy.md", "docs/report.md", "docs/runners.md")
_PART = re.compile(r"(<!-- generated: (?P<name>.+?) -->\n).*?(?=<!-- end of generated -->)", re.DOTALL)
_DEFAULT = re.compile(r",? ?\(default:? (?P<value>[^()]+)\)")
# What is typed as it stands: flags, and names with an underscore or a slash at the end.
_CODE = re.compile(r"(?<![`\w/.])(--[a-z]\w*(?:=\S+\w)?|[a-z_]\w*/(?!\w)|\w*[a-z]_\w+|_[a-z]+\.json)(?![`\w])")


def flag_table(parser: argparse.ArgumentParser, title: str | None = None) -> str:
    """A Markdown table of the flags of one group of the help, or of all."""
    lines = ["| flag | default | meaning |", "|---|---|---|"]
    for action in _actions(parser, title):
        default, meaning = _default_and_meaning(action)
        lines.append(f"| {_names(action)} | {default} | {_marked(meaning)} |")
    return "\n".join(lines) + "\n"


def _actions(parser: argparse.ArgumentParser, title: str | None) -> Iterator[argparse.Action]:
    groups = [group for group in parser._action_groups if title in (None, group.title)]
    if not groups:
        raise KeyError(f"--help has no group named {title}")
    for group in groups:
        for action in group._group_actions:
            if action.option_strings and action.help != argparse.SUPPRESS and action.dest not in ("help", "version"):
                yield action


def _names(action: argparse.Action) -> str:
    """The flag as it is written, with its value; its other spellings after it."""
    value = "\\|".join(map(str, action.choices)) if action.choices else str(action.metavar or "")
    flag, *others = (name for name in action.option_strings if name.startswith("--"))
    with_value = f"`{flag} {value}`" if value and action.nargs != 0 else f"`{flag}`"
    return ", ".join([with_value, *(f"`{other}`" for other in others)])


def _default_and_meaning(action: argparse.Action) -> tuple[str, str]:
    text = help_text(action)
    told = _DEFAULT.search(text)
    meaning = _DEFAULT.sub("", text)
    if action.required:
        return "required", meaning
    if action.nargs == 0:
        return "off", meaning
    if action.default not in (None, []):
        value = action.default
        return f"`{value:g}`" if isinstance(value, float) and value < 1e5 else f"`{value}`", meaning
    return (told["value"] if told else ""), meaning


def _marked(text: str) -> str:
    """Names in a text set as code, and what would end a cell of the table escaped."""
    return _CODE.sub(r"`\1`", text).replace("|", "\\|")


def option_table(title: str) -> str:
    """A Markdown table of the options that are passed on to Beam for these runners."""
    (group,) = (group for group in runner_options.GROUPS if group.title == title)
    lines = ["| option | meaning |", "|---|---|"]
    for option in group.options:
        value = f" {option.metavar}" if option.metavar else ""
        others = "".join(f", `--{alias}`" for alias in option.aliases)
        lines.append(f"| `{option.flag}{value}`{others} | {_marked(option.help)} |")
    return "\n".join(lines) + "\n"


def status_table() -> str:
    """A Markdown table of the exit statuses, with what they mean."""
    lines = ["| status | meaning |", "|---|---|"]
    lines += [f"| {int(status)} | {status.meaning} |" for status in Status]
    return "\n".join(lines) + "\n"


def error_tree() -> str:
    """The drawing of the errors, as their module has it."""
    lines = (errors.__doc__ or "").splitlines()
    drawn = lines[lines.index("::") + 2 :]
    return "```text\n" + textwrap.dedent("\n".join(drawn[: drawn.index("")])) + "\n```\n"


# A kind of word: the table of the code, and the headings of the columns.
_WORDS: dict[str, tuple[Terms[Any], tuple[str, str]]] = {
    "outcomes": (OUTCOMES, ("outcome", "rows")),
    "reasons to withhold": (WITHHELD, ("reason", "rows")),
    "reasons to reject": (REJECTS, ("reason", "row")),
    "reasons of damage": (DAMAGE, ("reason", "what is wrong")),
    "files not read": (NOT_READ, ("reason", "files")),
    "link statuses": (LINK_STATUSES, ("status", "link")),
    "ways to a known user": (VIA, ("via", "Braze profile")),
    "external ids left out": (EXTERNAL_IDS_LEFT_OUT, ("reason", "external id")),
    "limits": (LIMITS, ("kind", "why")),
}


def word_table(kind: str) -> str:
    """A Markdown table of the words of one kind, with what they mean; labels, where there are any, come first."""
    terms, (first, last) = _WORDS[kind]
    labelled = kind == "limits"
    heads = [first, *(["what happened"] if labelled else []), last]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for term in terms:
        label = f"{term.label} | " if labelled else ""
        lines.append(f"| `{term.code}` | {label}{term.meaning} |")
    return "\n".join(lines) + "\n"


def mark_table() -> str:
    """A Markdown table of the fields that Braze marks as personal, and of those that `pii+` adds."""
    types = catalog.event_types()
    marked = sorted(field for field in marked_anywhere() if field not in IDS)
    lines = ["| field | Braze's mark | profile attribute |", "|---|---|---|"]
    for name in [*marked, *sorted(UNMARKED - marked_anywhere())]:
        having = [kind for kind in types.values() if name in kind.properties]
        count = sum(is_marked(kind.name, name) for kind in having)
        mark = "no: `pii+`" if not count else "yes" if count == len(having) else f"on {count} of {len(having)} types"
        attribute = "`profile:` too" if name in types[PROFILE_UPDATE].properties else ""
        lines.append(f"| `{name}` | {mark} | {attribute} |")
    return "\n".join(lines) + "\n"


def output_table() -> str:
    """A Markdown table of the files that a run writes."""
    lines = [f"| `{kind.shown}` | {kind.meaning} |" for kind in OUTPUT_FILES]
    return "\n".join(["| path | a line or row is |", "|---|---|", *lines]) + "\n"


_MAKERS: dict[str, Callable[[str], str]] = {
    "flags of run": lambda title: flag_table(flags.parser(), title),
    "flags of deliver": lambda title: flag_table(delivery_flags.parser(), title),
    "flags of sample": lambda _: flag_table(sample_export._parser()),
    "options of": option_table,
    "exit statuses": lambda _: status_table(),
    "words": word_table,
    "errors": lambda _: error_tree(),
    "output files": lambda _: output_table(),
    "personal fields": lambda _: mark_table(),
}


def written(page: str) -> str:
    """The page as it should be.

    Raises:
        KeyError: it asks for a part that nothing makes.
    """

    def make(found: re.Match[str]) -> str:
        kind, _, title = found["name"].partition(": ")
        if kind not in _MAKERS:
            raise KeyError(f"{page} asks for [{found['name']}], which nothing makes")
        return f"{found[1]}\n{_MAKERS[kind](title)}\n"

    return _PART.sub(make, (ROOT / page).read_text("utf-8"))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.write_docs", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a page is out of date")
    check = parser.parse_args(argv).check
    stale = [page for page in PAGES if written(page) != (ROOT / page).read_text("utf-8")]
    for page in stale:
        print(f"{page} is out of date: run python -m tools.write_docs" if check else f"{page} is written")
        if not check:
            (ROOT / page).write_text(written(page), "utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
