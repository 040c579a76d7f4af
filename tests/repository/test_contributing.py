"""CONTRIBUTING.md and the decision records name files, names and commands that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.commands.whole_run import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
DECISIONS = (ROOT / "docs" / "decisions.md").read_text("utf-8")
PLACE = r"(?:[\w.-]+/)+[\w.-]+|README\.md|pyproject\.toml"
RECIPES = ["An event type", "A reject reason", "An output", "A store", "A flag", "A retry policy"]


def joined(page: str) -> str:
    return re.sub(r"\s+", " ", page)


def places(page: str) -> list[str]:
    return sorted(set(re.findall(rf"`({PLACE})`", joined(page))))


def named(page: str) -> list[tuple[str, str]]:
    """What stands as «`name` of `place`», also where two names share the place."""
    pairs = re.findall(rf"((?:`[\w-]+`(?: and )?)+) of `({PLACE})`", joined(page))
    return sorted({(name, place) for names, place in pairs for name in re.findall(r"`([\w-]+)`", names)})


@pytest.mark.parametrize("place", places(PAGE + DECISIONS))
def test_a_place_that_is_named_exists(place: str) -> None:
    assert (ROOT / place).exists()


@pytest.mark.parametrize(("name", "place"), named(PAGE + DECISIONS))
def test_a_name_stands_in_the_module_that_a_recipe_sends_to(name: str, place: str) -> None:
    text = (ROOT / place).read_text("utf-8")
    assert re.search(rf'^\s*(?:(?:class|def) {name}\b|{name}\b.* = |{name}: )|"{name}"', text, re.MULTILINE)


def test_each_likely_change_has_a_recipe_that_names_modules_and_tests() -> None:
    sections = dict(re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
    assert list(sections) == RECIPES
    for title, section in sections.items():
        assert any(place.startswith(("transforms/", "pipelines/")) for place in places(section)), title
        assert any(place.startswith("tests/") for place in places(section)), title


def test_the_quick_start_has_eight_lines_at_most_and_its_commands_exist() -> None:
    commands = PAGE.split("```bash\n")[1].split("```")[0].splitlines()
    assert 0 < len(commands) <= 8
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for command in commands:
        words = command.split("#")[0].split()
        if words[0] == "make":
            assert words[1] in targets, command
        elif words[0] not in ("source", "python"):
            assert Path(ROOT, words[0]).stat().st_mode & 0o111, command
        elif words[:2] == ["python", "-m"] and words[2] != "pytest":
            assert Path(ROOT, *words[2].split(".")).with_suffix(".py").exists(), command


def test_each_decision_has_its_date_and_what_would_reopen_it() -> None:
    records = DECISIONS.split("\n## ")[1:]
    assert len(records) >= 7
    for record in records:
        assert re.search(r"\b\d{1,2} November 2026", record), record.splitlines()[0]
        assert "**Decided:**" in record, record.splitlines()[0]
        assert "**Reopens:**" in record, record.splitlines()[0]
