"""The tables «it says» of the documentation quote what the program says."""

from __future__ import annotations

import ast
import functools
import re

import pytest

from tests.commands.whole_run import ROOT

PAGES = ("docs/failures.md", "docs/delivery.md")
GAP = "\0"  # where a value stands in a message
_NOT_OURS = {"stopped: 401", "stopped: 403"}  # «stopped: » and Mixpanel's status


@functools.cache
def messages() -> str:
    """Every text of the product, values as gaps."""
    found = []
    for room in ("pipelines", "transforms"):
        for file in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
                elif isinstance(node, ast.JoinedStr):
                    found.append(
                        "".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values)
                    )
    return "\n\n".join(found)


def quotes(page: str) -> list[str]:
    tables = (ROOT / page).read_text("utf-8").split("| it says | do this |\n|---|---|\n")[1:]
    rows = [line.split(" | ")[0] for table in tables for line in table.split("\n\n")[0].splitlines()]
    return [quote for row in rows for quote in re.findall(r"`([^`]+)`", row)]


@pytest.mark.parametrize(("page", "quote"), [(page, quote) for page in PAGES for quote in quotes(page)])
def test_what_the_documentation_quotes_is_said(page: str, quote: str) -> None:
    """N, NAME, a number and the name of a file stand for any value."""
    if quote in _NOT_OURS:
        return
    parts = [part for part in re.split(r"\b(?:N|NAME|_manifest\.json)\b|\b\d+\b", quote) if part]
    pattern = r"[^\n]{0,20}".join(map(re.escape, parts))
    assert re.search(pattern, messages()), f"{page} quotes [{quote}], which no message says"


def test_the_tables_of_messages_are_found_in_the_documentation() -> None:
    assert all(len(quotes(page)) > 25 for page in PAGES)
