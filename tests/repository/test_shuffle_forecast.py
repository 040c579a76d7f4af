"""What a run's shuffles carry, told beforehand, held against what they did carry; and the forecast for a large year."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.shuffle_forecast import Shuffle, estimated_rows, forecast, lines
from pipelines import currents_to_mixpanel as command
from pipelines.sample_export import __main__ as sample_export
from tests.commands.whole_run import read_output
from tests.transforms.test_element_sizes import NOW
from transforms import (
    answer_units,
    count_persons,
    find_repeats,
    format_events,
    publish_run,
    read_ids,
    resolve_identities,
    settings,
    unique_links,
    write_profiles,
)
from transforms.messages import blocks_on_disk
from transforms.messages.elements import MAXIMUM_BYTES
from transforms.settings import Plan

pytestmark = pytest.mark.slow

GROUPED: dict[str, Any] = {
    "SpreadUnits": read_ids._ReadIds,
    "GroupLinks": unique_links._UniqueLinks,
    "GatherLinks": resolve_identities._Resolve,
    "GroupByShard": answer_units._Answer,
    "GroupKeys": find_repeats._FindRepeats,
    "GroupByUnit": format_events._FormatUnit,
    "GroupAttributes": write_profiles._WriteProfiles,
    "GroupPersons": count_persons._CountPersons,
    "GatherFiles": publish_run._Publish,
}
"""The step behind each grouping of the graph, sums of figures apart."""

Groups = dict[str, list[list[int]]]


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> Groups:
    """The sizes of the elements of each group, by grouping, as the steps behind them get them."""
    monkeypatch.setattr(blocks_on_disk, "TRAVELS", MAXIMUM_BYTES)  # as elsewhere than in a local run, all of it does
    found: Groups = {}

    def watched(step: str, process: Any) -> Any:
        @functools.wraps(process)
        def given(self: Any, element: Any) -> Iterator[Any]:
            number, values = element
            values = list(values)
            found.setdefault(step, []).append([len(value) for value in values])
            return process(self, (number, values))

        return given

    for step, function in GROUPED.items():
        monkeypatch.setattr(function, "process", watched(step, function.process))
    return found


# Flags of the sample, bytes a unit, bytes a shard
EXPORTS = {
    "hourly files, one shard": (("--users=600", "--days=4", "--rows=40000", "--flush_minutes=60"), 4 << 20, 1 << 30),
    "small files, several shards": (("--users=900", "--days=5", "--rows=60000"), 3 << 20, 8 << 20),
    "a file a day, many shards": (
        ("--users=1500", "--days=20", "--rows=100000", "--flush_minutes=0"),
        2 << 20,
        2 << 20,
    ),
}


@pytest.mark.parametrize("kind", EXPORTS)
def test_a_run_carries_what_was_told(
    kind: str, tmp_path: Path, groups: Groups, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags, unit_bytes, shard_bytes = EXPORTS[kind]
    assert sample_export.main([f"--output={tmp_path / 'sample'}", "--seed=3", *flags]) == 0
    monkeypatch.setattr(command, "survey", functools.partial(command.survey, unit_bytes=unit_bytes))
    monkeypatch.setattr(settings, "_BYTES_A_SHARD", shard_bytes)
    monkeypatch.setattr(settings, "_BYTES_AN_ID_SHARD", shard_bytes)
    argv = [f"--input={tmp_path / 'sample' / 'currents'}", f"--output={tmp_path / 'out'}", "--max_reject_share=1"]
    assert command.main([*argv, f"--now={NOW + 10_000_000}"]) == 0
    report = read_output(tmp_path / "out").report
    plan = Plan.for_input(report["units"], report["files"]["read"], report["files"]["bytes"])
    assert plan.units > 5
    told = {shuffle.step: shuffle for shuffle in forecast(plan, profiles=report["identity"]["profiles"])}
    assert within(1.1, estimated_rows(plan), report["rows"]["read"])

    assert set(groups) == set(told) - {"SumTallies"}
    for step, sizes in groups.items():
        shuffle = told[step]
        seen = Shuffle(step, sum(map(len, sizes)), sum(map(sum, sizes)), len(sizes))
        shown = f"{kind}: told {shuffle}, seen {seen}"
        if step == "GroupAttributes":  # few, of one type: how many units have some is a matter of luck
            assert within(2, shuffle.bytes, seen.bytes), shown
            continue
        assert shuffle.groups == seen.groups, shown
        assert within(1.25, shuffle.elements, seen.elements), shown
        assert within(1.6, shuffle.bytes, seen.bytes), shown
        # Units are cut by bytes of input: one of many small files has more names than the mean.
        largest = max(map(sum, sizes))
        assert within(4 if step == "SpreadUnits" else 2, shuffle.group_bytes, largest), f"{shown}, largest {largest}"
    capsys.readouterr()


def within(factor: float, told: float, seen: float) -> bool:
    return seen / factor <= told <= seen * factor


# A year of a large customer: ten billion rows of twenty million profiles in six million objects


def large_year() -> Plan:
    rows, files = 10_000_000_000, 6_000_000
    return Plan.for_input(units=1 << 15, files=files, input_bytes=rows * 372 + files * 1_470)


def test_a_large_year_has_no_group_and_no_element_that_a_worker_cannot_take(
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan = large_year()
    shuffles = forecast(plan, profiles=20_000_000)
    with capsys.disabled():
        print("\n" + "\n".join(lines(shuffles)))
    gathered = {"GatherLinks", "SumTallies", "GatherFiles"}  # in one place by nature
    for shuffle in shuffles:
        assert shuffle.elements < 100_000_000, shuffle
        assert shuffle.bytes / shuffle.elements < MAXIMUM_BYTES, shuffle
        if shuffle.step not in gathered:
            assert shuffle.group_bytes < 1_000_000_000, shuffle
            assert shuffle.group_elements < 100_000, shuffle
    told = {shuffle.step: shuffle for shuffle in shuffles}
    # Sorting a shard's keys takes some 70 bytes a key, of 16 that travel; counting persons as much.
    assert told["GroupKeys"].group_bytes * 70 / 16 < 1_500_000_000
    assert told["GroupPersons"].group_bytes * 70 / 13 < 1_500_000_000
    assert told["GatherFiles"].bytes < 100_000_000
    assert told["GatherLinks"].bytes < 5_000_000_000


def test_shards_of_small_inputs_are_few() -> None:
    assert [Plan.for_input(1, 1, size << 30).key_shards for size in (0, 1, 10, 100)] == [1, 3, 21, 201]
    assert large_year().key_shards == large_year().id_shards == large_year().person_shards == 1024
