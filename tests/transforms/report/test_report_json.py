"""``report.json`` of real runs has the form that is written down as types, no key more and no key less."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.commands.whole_run import run_in_process
from tests.exports.random_exports import NOW, random_export, write_export
from tests.exports.report_example import example
from transforms.report.report_json import ReportJson


def unlike(value: Any, hint: Any, where: str = "report") -> Iterator[str]:
    """Yields the places where a JSON value has not the form of its type."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if typing.is_typeddict(hint):
        hints = typing.get_type_hints(hint)
        missing, odd = hint.__required_keys__ - value.keys(), value.keys() - hints.keys()
        yield from (f"{where} lacks {key}" for key in sorted(missing))
        yield from (f"{where} has {key}, which nobody described" for key in sorted(odd))
        for key in value.keys() & hints.keys():
            yield from unlike(value[key], hints[key], f"{where}.{key}")
    elif origin is dict:
        for key, each in value.items():
            yield from unlike(each, inner[1], f"{where}.{key}")
    elif origin is list:
        for number, each in enumerate(value):
            yield from unlike(each, inner[0], f"{where}[{number}]")
    elif origin in (typing.Union, types.UnionType):
        if all(list(unlike(value, one, where)) for one in inner):
            yield f"{where} is [{value}], not {hint}"
    elif origin is typing.Literal:
        if value not in inner:
            yield f"{where} is [{value}], not {hint}"
    elif hint is not Any and not isinstance(value, (int, float) if hint is float else hint):
        yield f"{where} is [{value}], not {hint}"


def test_a_run_without_a_truth_writes_a_report_of_the_described_form(tmp_path: Path) -> None:
    write_export(random_export(3, too_large=False), tmp_path / "in")
    assert run_in_process(tmp_path / "in", tmp_path / "out", f"--now={NOW}", "--max_reject_share=1") == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert report["rejects"]
    assert list(unlike(report, ReportJson)) == []


def test_the_example_of_a_report_has_the_described_form() -> None:
    assert list(unlike(example(), ReportJson)) == []


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("units",), "41", "report.units is [41], not"),
        (("identity", "links", "refused"), None, "report.identity.links.refused is [None]"),
        (("listing", "more"), 1, "report.listing has more, which nobody described"),
        (("identity", "device_stay"), "some", "report.identity.device_stay is [some]"),
        (("damaged", "examples", 0, "block"), [], "report.damaged.examples[0].block is [[]]"),
    ],
)
def test_another_form_is_noticed(path: tuple[Any, ...], value: Any, told: str) -> None:
    report = example()
    at: Any = report
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    assert told in "\n".join(unlike(report, ReportJson))
