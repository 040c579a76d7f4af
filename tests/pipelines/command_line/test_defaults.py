"""Defaults and choices of flags are said once, in ``Settings``; parser, help, documentation and template have them."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from pipelines import flex_template
from pipelines.command_line import flags, options
from pipelines.command_line.parser import help_text
from tools.write_docs import flag_table
from transforms.settings import Settings

HERE = ("--input=in", "--output=out")
NOT_FLAGS = {"read_whole_rows", "read_until", "hash_key_seal", "suppress_digest"}


def shown(name: str) -> tuple[str, str, str]:
    """How a flag stands in the help, in a table of the documentation, and among the template's parameters."""
    parser = flags.parser()
    (action,) = (action for action in parser._actions if action.dest == name)
    (row,) = (line for line in flag_table(parser).splitlines() if line.startswith(f"| `--{name} "))
    (parameter,) = (found for found in flex_template.metadata()["parameters"] if found["name"] == name)
    return help_text(action), row, parameter["helpText"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_profiles_per_device", 7),
        ("max_profiles_per_known_user", 8),
        ("max_reject_share", 0.125),
        ("max_block_mb", 99),
        ("anonymous", "behaviors"),
        ("deleted_users", "send"),
        ("profile_updates", "off"),
        ("id_merge", "none"),
        ("device_links", "sole"),
        ("crowd_ids", "drop"),
        ("unknown_fields", "withhold"),
    ],
)
def test_another_default_of_a_setting_is_the_flags_in_its_help_its_table_and_the_template(
    name: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert getattr(options.parse(HERE).settings, name) != value
    monkeypatch.setattr(Settings, name, value)
    assert getattr(options.parse(HERE).settings, name) == value
    help_, row, parameter = shown(name)
    assert f"(default {value})" in help_
    assert f"| `{value}` |" in row
    assert f"(default {value})" in parameter


def test_another_choice_of_a_setting_is_the_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    field = Settings.__dataclass_fields__["anonymous"]
    monkeypatch.setattr(field, "metadata", {"choices": ("all", "some")})
    assert options.parse([*HERE, "--anonymous=some"]).settings.anonymous == "some"
    _, row, _ = shown("anonymous")
    assert "`--anonymous all\\|some`" in row


def test_a_command_line_without_flags_gives_the_settings_without_arguments() -> None:
    found = options.parse([*HERE, "--now=1772323200"]).settings
    assert dataclasses.replace(found, read_until=None) == Settings(now=1_772_323_200)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Settings) if Settings.choices(field.name)])
def test_settings_of_a_program_refuse_a_word_that_is_not_a_choice(name: str) -> None:
    other: dict[str, Any] = {name: "often"}
    with pytest.raises(ValueError, match=rf"{name} is \[often\]; use one of {Settings.choices(name)[0]}, "):
        Settings(now=0, **other)
    for choice in Settings.choices(name):
        given: dict[str, Any] = {name: choice}
        assert getattr(Settings(now=0, **given), name) == choice


def test_each_setting_is_a_flag() -> None:
    names = {action.dest for action in flags.parser()._actions}
    assert {field.name for field in dataclasses.fields(Settings)} - NOT_FLAGS <= names


def test_no_help_says_a_default_by_hand() -> None:
    for action in flags.parser()._actions:
        if action.default not in (None, False, []) and action.help and "default" in action.help:
            assert re.search(r"default %\(default\)s", action.help), action.dest
