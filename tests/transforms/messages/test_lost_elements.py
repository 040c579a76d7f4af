"""A runner that loses or doubles one element anywhere: the run fails, whatever the element was."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from tests.commands.several_units import cut_small, run
from tests.exports.random_exports import random_export, write_export
from transforms import (
    answer_units,
    count_persons,
    find_repeats,
    format_events,
    publish_run,
    resolve_identities,
    settings,
    unique_links,
    write_profiles,
)
from transforms.currents.repeats import split_answer
from transforms.evidence.links import split
from transforms.messages import told
from transforms.messages.elements import KINDS, unnumbered, untagged

pytestmark = pytest.mark.slow

RECEIVERS: dict[type[beam.DoFn], str] = {
    unique_links._UniqueLinks: "unique links",
    resolve_identities._Resolve: "resolve",
    answer_units._Answer: "answer",
    find_repeats._FindRepeats: "repeats",
    format_events._FormatUnit: "format",
    write_profiles._WriteProfiles: "profiles",
    count_persons._CountPersons: "persons",
    publish_run._Publish: "publish",
}
MET = [
    ("unique links", "links"), ("resolve", "links"), ("answer", "profiles asked for"),
    ("answer", "external ids asked for"), ("answer", "resolved profiles"), ("answer", "crowd ids"),
    ("repeats", "event ids"), ("format", "units"), ("format", "profiles of rows"), ("format", "answers"),
    ("format", "answers on crowd ids"), ("format", "repeats"), ("profiles", "profile attributes"),
    ("persons", "persons by month"), ("publish", "files"), ("publish", "figures"),
]  # fmt: skip


@pytest.mark.parametrize("times", [0, 2], ids=["lost", "doubled"])
@pytest.mark.parametrize(("step", "kind"), MET, ids=lambda name: name.replace(" ", "-"))
def test_an_element_that_is_lost_or_doubled_fails_the_run(
    step: str,
    kind: str,
    times: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cut_small(monkeypatch)
    for name in ("_BYTES_A_SHARD", "_BYTES_AN_ID_SHARD"):
        monkeypatch.setattr(settings, name, 40_000)
    met: list[bytes] = []
    (receiver,) = (found for found, called in RECEIVERS.items() if called == step)
    process: Any = receiver.process

    def faulty(self: beam.DoFn, element: tuple[int, Iterable[bytes]]) -> Iterator[Any]:
        items = []
        for item in element[1]:
            hit = not met and KINDS[untagged(item)[0]] == kind
            if hit:
                met.append(item)
            items += [item] * (times if hit else 1)
        return process(self, (element[0], items))

    monkeypatch.setattr(receiver, "process", faulty)
    write_export(random_export(3, too_large=False), tmp_path / "in")
    status = run(tmp_path / "in", tmp_path / "out", "--crowd_ids=drop", "--max_profiles_per_known_user=1")
    said = capsys.readouterr()
    assert met, f"no element [{kind}] came to [{step}]"
    if (kind, times) == ("units", 2):  # harmless: it is the same unit, and written once
        assert status == 0, said.err
        return
    assert status == 1, said.out
    assert not (tmp_path / "out" / "_manifest.json").exists()
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("times", [0, 2], ids=["lost", "doubled"])
@pytest.mark.parametrize("kind", ["answers", "repeats"])
def test_a_part_of_a_long_answer_that_is_lost_or_doubled_fails_the_run(
    kind: str, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(told, "split", functools.partial(split, max_bytes=300))
    monkeypatch.setattr(find_repeats.repeats, "split_answer", functools.partial(split_answer, max_rows=1))
    process = format_events._FormatUnit.process
    met: list[int] = []

    def faulty(self: format_events._FormatUnit, element: tuple[int, Iterable[bytes]]) -> Iterator[Any]:
        items = sorted(element[1], key=lambda item: _counts_for(item, kind))
        if not met and _counts_for(items[1], kind) < 1 << 32:
            met.append(_counts_for(items[0], kind))
            items += items[:1] * (times - 1)
            items = items[1 - times // 2 :]
        return process(self, (element[0], items))

    monkeypatch.setattr(format_events._FormatUnit, "process", faulty)
    write_export(random_export(3, too_large=False), tmp_path / "in")
    assert run(tmp_path / "in", tmp_path / "out") == 1
    assert "the runner lost or doubled elements" in capsys.readouterr().err
    assert met == [{"answers": 0, "repeats": 1}[kind]]


def _counts_for(item: bytes, kind: str) -> int:
    """From which profile on an element of the kind answers, or for how many event ids; others are above all."""
    tag, body = untagged(item)
    return unnumbered(body)[0] if KINDS[tag] == kind else 1 << 32
