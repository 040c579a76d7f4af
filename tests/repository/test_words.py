"""Words that were replaced stay out of the documentation and of what the program says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.whole_run import ROOT

PROGRAM = ("currents_to_mixpanel", "pipelines", "transforms", "tools", "benchmarks")
PAGES = ("*.md", "docs/*.md", "deploy/**/*.md", "benchmarks/*.md")
SCRIPTS = ("*.sh", "deploy/**/*.sh", "deploy/**/Dockerfile", "tools/*.sh", "Makefile")
BANNED = {
    r"(?<!there )\b(?:is|are) no\b(?! (?:longer|more than|less than|fewer than)\b)": "is not a, has no",
    r"\bmend(?:s|ed|ing)?\b": "fix, correct, repair",
    r"\bthorough(?:ly|ness)?\b": "whole rows, with read_whole_rows",
    r"\btorn\b": "damaged, cut off",
    r"\bfor want of\b": "because there is no",
    r"\bsays nothing of\b|\bsay nothing of\b": "does not mention",
}
"""Patterns, in any case, with what is written instead."""


def wrong(text: str) -> list[str]:
    plain = " ".join(text.split())
    return [found[0] for pattern in BANNED for found in re.finditer(pattern, plain, re.IGNORECASE)]


def texts_of(source: str) -> Iterator[tuple[int, str]]:
    """Strings of a module, docstrings and the fixed parts of f-strings included, with their lines."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def files(*patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


@pytest.mark.parametrize("place", files(*PAGES, *SCRIPTS), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_page_or_script_has_no_banned_words(place: Path) -> None:
    assert wrong(place.read_text("utf-8")) == []


@pytest.mark.parametrize("package", PROGRAM)
def test_no_string_or_docstring_has_banned_words(package: str) -> None:
    modules = files(f"{package}/**/*.py")
    assert modules
    found = {
        f"{module.relative_to(ROOT)}:{line}": words
        for module in modules
        for line, text in texts_of(module.read_text("utf-8"))
        if (words := wrong(text))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--since 7 is no hour", ["is no"]),
        ("These\n  are no\n  flags", ["are no"]),
        ("Mend the export, as mended before", ["Mend", "mended"]),
        ("torn evidence, read thoroughly", ["thoroughly", "torn"]),
        ("There is no bucket; it is no longer there, and this is no more than a try", []),
        ("amend, recommend, tornado, isno", []),
    ],
)
def test_the_patterns_find_words_and_not_parts_of_words(text: str, expected: list[str]) -> None:
    assert wrong(text) == expected
