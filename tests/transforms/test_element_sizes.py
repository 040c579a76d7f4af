"""No element above eight megabytes, whatever the input: Flink refuses records of ten."""

from __future__ import annotations

import base64
import functools
import json
import random
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from apache_beam.pvalue import TaggedOutput

from pipelines import currents_to_mixpanel as command
from tests.commands.whole_run import Actual, read_output
from tests.exports.small_exports import NOW, avro
from transforms import (
    answer_units,
    count_persons,
    find_repeats,
    format_events,
    read_ids,
    resolve_identities,
    unique_links,
    write_profiles,
)
from transforms.avro.bounds import MAX_NAME
from transforms.currents.paths import SourceFile, Unit, cut_units
from transforms.currents.repeats import pack_answer, split_answer, unpack_answer
from transforms.evidence.ids import LINKS as LINKS_SCHEMA
from transforms.evidence.links import split, unpack
from transforms.messages import blocks_on_disk
from transforms.messages.elements import ANSWER, ATTRIBUTES, KINDS, LINKS, MAXIMUM_BYTES, PERSON_MONTHS, ROWS, UNIT
from transforms.telemetry import tally as accounting
from transforms.telemetry.tally import pack_bounded

pytestmark = pytest.mark.slow

SESSION, CUSTOM, UPDATE = "users.behaviors.app.SessionStart", "users.behaviors.CustomEvent", "users.profile.Update"
STEPS = (
    read_ids._ReadIds, unique_links._UniqueLinks, resolve_identities._Resolve, answer_units._Answer,
    find_repeats._FindRepeats, format_events._FormatUnit, write_profiles._WriteProfiles, count_persons._CountPersons,
)  # fmt: skip
Sizes = dict[bytes, list[int]]


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> Sizes:
    """The size of each element that a step of ours gives, by its tag, as seen from outside of the steps."""
    found: Sizes = {}

    def watched(process: Any) -> Any:
        @functools.wraps(process)
        def given(self: Any, element: Any) -> Iterator[Any]:
            for output in process(self, element):
                _, packed = output.value if isinstance(output, TaggedOutput) else output
                found.setdefault(packed[:1], []).append(len(packed))
                yield output

        return given

    monkeypatch.setattr(blocks_on_disk, "TRAVELS", MAXIMUM_BYTES)  # as elsewhere than in a local run, all of it does
    for step in STEPS:
        monkeypatch.setattr(step, "process", watched(step.process))
    return found


def column_types(rows: list[dict[str, Any]]) -> dict[str, Any]:
    names = dict.fromkeys(name for row in rows for name in row)
    fields = [{"name": name, "type": "long" if name == "time" else ["null", "string"]} for name in names]
    return {"type": "record", "name": "dataexport", "fields": fields}


def put(folder: Path, event_type: str, name: str, rows: list[dict[str, Any]]) -> None:
    place = folder / f"event_type={event_type}" / "date=2026-01-01-00" / f"{name}.avro"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(avro(rows, schema=column_types(rows), block_rows=1000))


def row(number: int, **columns: Any) -> dict[str, Any]:
    return {"id": f"{number:08x}-1111-4111-8111-{number:012x}", "time": NOW - 60 - number % 5000, **columns}


def run(folder: Path, *more: str) -> Actual:
    argv = [f"--input={folder / 'in'}", f"--output={folder / 'out'}", f"--now={NOW}", "--max_reject_share=1", *more]
    assert command.main(argv) == 0
    return read_output(folder / "out")


def check(actual: Actual, sizes: Sizes) -> None:
    """The report names the largest element there was, and it is within the bound."""
    largest = max(size for of_kind in sizes.values() for size in of_kind)
    timing = actual.report["timing"]
    assert largest < MAXIMUM_BYTES
    # Sums of tallies grow between the steps, where only the report sees them.
    assert largest <= timing["largest_shuffle_element_bytes"] < MAXIMUM_BYTES
    shuffled = {kind: (found["elements"], found["bytes"]) for kind, found in timing["shuffled"].items()}
    seen = {KINDS[tag]: (len(of_kind), sum(of_kind)) for tag, of_kind in sizes.items()}
    for kind in set(seen) - {"figures"}:
        assert shuffled[kind] == seen[kind], kind
    assert set(seen) <= set(shuffled) | {"figures"}


def test_no_element_is_too_large_with_a_profile_of_300_000_rows(tmp_path: Path, sizes: Sizes) -> None:
    """300,000 rows of one profile on its devices, every one of them an event of a month of its own."""
    for part in range(3):
        numbers = range(part * 100_000, (part + 1) * 100_000)
        rows = [row(n, user_id="hot", external_user_id="hot-user", device_id=f"d{n % 15}") for n in numbers]
        put(tmp_path / "in", SESSION, f"{part}", rows)
    put(tmp_path / "in", UPDATE, "u", [row(9_000_000 + n, user_id="hot", language=f"l{n}") for n in range(20_000)])
    actual = run(tmp_path)
    assert actual.report["rows"]["events"] == 300_000
    check(actual, sizes)


def test_no_element_is_too_large_with_a_unit_of_very_many_tiny_files(
    tmp_path: Path, sizes: Sizes, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = [avro([row(n, user_id=f"p{n}")], schema=column_types([row(0, user_id="p")])) for n in range(20_000)]
    for number, data in enumerate(content):
        place = tmp_path / "in" / f"event_type={SESSION}" / f"date=2026-01-{1 + number // 1000:02}-00" / "version=11"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"dataexport.us-01.S3.integration.5f3a9c0d7e6b4a21c8d90e12+11+us-01+{number:09}.avro").write_bytes(
            data
        )
    monkeypatch.setattr(command, "survey", functools.partial(command.survey, unit_files=20_000))
    actual = run(tmp_path)
    assert (actual.report["units"], actual.report["rows"]["events"]) == (1, 20_000)
    assert len(sizes[UNIT]) == 1
    check(actual, sizes)


def test_no_element_is_too_large_with_a_file_of_many_fat_rows(tmp_path: Path, sizes: Sizes) -> None:
    """100,000 rows of a kilobyte and more, each of a person, a device and a profile of its own, in one unit."""
    draw = random.Random(7)
    rows = [
        row(
            number,
            user_id=f"{draw.getrandbits(96):024x}",
            external_user_id=f"customer-{draw.getrandbits(256):064x}",
            device_id=f"{draw.getrandbits(512):0128x}",
            name=f"event {number % 300}",
            properties=json.dumps({f"key {key}": f"{draw.getrandbits(800):0200x}" for key in range(4)}),
        )
        for number in range(100_000)
    ]
    put(tmp_path / "in", CUSTOM, "fat", rows)
    updates = [
        row(1_000_000 + number, user_id=each["user_id"], custom_attributes=each["properties"])
        for number, each in enumerate(rows[:10_000])
    ]
    put(tmp_path / "in", UPDATE, "fat", updates)
    del rows, updates
    actual = run(tmp_path)
    assert actual.report["rows"]["events"] == 100_000
    for tag in (LINKS, ANSWER, ATTRIBUTES):
        assert len(sizes[tag]) > 1, KINDS[tag]
    check(actual, sizes)


def huge() -> str:
    """Eleven megabytes that no compression makes less than eight of."""
    return base64.b85encode(secrets.token_bytes(8_800_000)).decode()


def test_values_that_fill_an_element_alone_go_one_to_an_element(tmp_path: Path, sizes: Sizes) -> None:
    """Eleven megabytes that do not compress, in every place that travels: the run goes on without them as ids.

    Names in schemas are as long as they may be.
    """
    plain = {"user_id": "p", "external_user_id": "u", "device_id": "d", "app_group_id": "w"}
    put(tmp_path / "in", SESSION, "ids", [row(n, **{**plain, name: huge()}) for n, name in enumerate(plain)])
    put(
        tmp_path / "in", SESSION, "event-id", [{**row(9, **plain), "id": huge()}, {**row(9, **plain), "id": " " * 9**7}]
    )
    # Alone with its device, so that it is the evidence of a link.
    put(tmp_path / "in", SESSION, "only", [{**row(10), "id": huge(), "user_id": "q", "device_id": "e"}])
    put(tmp_path / "in", UPDATE, "attribute", [
        row(20, user_id="p", external_user_id="u", custom_attributes=json.dumps({"bio": huge(), huge(): "x"})),
        row(21, user_id="p", external_user_id="u", first_name=huge(), custom_attributes=huge()),
        {**row(22, user_id="p", external_user_id="u", language="de"), "id": huge()},
    ])  # fmt: skip
    put(tmp_path / "in", "users.New.Thing", "unknown", [row(30, user_id="p", **{"c" * MAX_NAME: "x"})])
    put(tmp_path / "in", SESSION, "column", [row(31, user_id="p", **{"c" * MAX_NAME: "x"})])
    loose = tmp_path / "in" / "loose.avro"  # its type stands in its schema alone
    loose.write_bytes(
        avro(
            [row(32, user_id="p")],
            schema={**column_types([row(0, user_id="p")]), "name": "dataexport.S3.inner.".ljust(MAX_NAME, "t")},
        )
    )
    put(tmp_path / "in", CUSTOM, "name", [row(40, user_id="p", name=huge(), properties=json.dumps({huge(): 1}))])
    actual = run(tmp_path, "--mixed_workspaces", "--properties=all")
    assert actual.report["rows"]["read"] == 14
    assert {"p", "q"} <= {node[1] for node in actual.ids}
    assert max(len(node[1]) for node in actual.ids) < 100
    check(actual, sizes)


# Each kind by itself


def test_blocks_take_along_only_the_file_names_they_need() -> None:
    """Else each of a unit's shards would have the names of all of the unit's files."""
    count = 50_000
    names = pa.array([f"{number:07}{secrets.token_hex(60)}" for number in range(count)])
    ids = [f"p{number}" for number in range(count)]
    file = pa.DictionaryArray.from_arrays(pa.array(np.arange(count, dtype=np.int32)), names)
    zeros, times = pa.array([0] * count, pa.int8()), pa.array([NOW] * count, pa.int64())
    columns = [zeros, ids, ids, times, ids, file, times]
    table = pa.Table.from_arrays([pa.array(c) if isinstance(c, list) else c for c in columns], names=LINKS_SCHEMA.names)
    blocks = split(table, max_bytes=500_000)
    assert max(map(len, blocks)) <= 500_000
    assert sum(map(len, blocks)) < 1.5 * len(split(table)[0]) * len(split(table))
    assert pa.concat_tables([unpack(block) for block in blocks])["file"].to_pylist() == names.to_pylist()


def test_answers_about_repeats_are_cut() -> None:
    rows = np.arange(3_000_000)
    parts = split_answer(pack_answer(rows, rows + 1))
    assert max(map(len, parts)) < MAXIMUM_BYTES
    drop, kept = (np.concatenate([unpack_answer(part)[side] for part in parts]) for side in (0, 1))
    assert (drop == rows).all()
    assert (kept == rows + 1).all()


@pytest.mark.parametrize("count", [10, 50_000])
def test_figures_of_very_many_names_are_bounded_and_add_up(count: int) -> None:
    name = [f"{number:07}{'x' * 240}" for number in range(count)]
    tally = {
        "rows_by_type": {each: {"read": 2, "events": 1, "rejects": 1} for each in name},
        "withheld_by_type": {each: {"too_old": 1} for each in name},
        "unknown_types": {each: {"rows": 1} for each in name},
        "unknown_columns": {each: dict.fromkeys(name[:500], 1) for each in name[:150]},
        "persons": {"by_type": {each: {"known": 1, "anonymous": 2} for each in name}, "by_month": {}},
        "limits": {
            kind: {each: dict.fromkeys(name[:150], 1) for each in name[:150]}
            for kind in ("events_cut", "keys_cut", "key_collisions", "nested_as_text", "properties_left_out")
        },
    }  # fmt: skip
    before = orjson.loads(orjson.dumps(tally))
    packed = pack_bounded(tally)
    assert len(packed) < MAXIMUM_BYTES / 1.5
    after = orjson.loads(packed)
    if count == 10:
        assert after == before
    for key in ("rows_by_type", "withheld_by_type", "unknown_types", "unknown_columns"):
        assert total(after[key]) == total(before[key]), key
    assert total(after["persons"]) == total(before["persons"])
    assert total(after["limits"]) == total(before["limits"])
    reads = [counts["read"] for counts in after["rows_by_type"].values()]
    assert sum(reads) == 2 * count
    assert pack_bounded(accounting.merge(after, {})) == packed  # bounding again changes nothing


def total(counts: Any) -> int:
    return sum(map(total, counts.values())) if isinstance(counts, dict) else counts


def test_a_unit_of_the_longest_paths_that_stores_allow_is_cut() -> None:
    draw = random.Random(3)
    files = [
        SourceFile(f"gs://b/{draw.getrandbits(8 * 500):01000x}.avro", f"{number}", 10, "1760000000000000", None)
        for number in range(10_000)
    ]
    units = list(cut_units(files, unit_files=10_000))
    assert len(units) == 2
    assert max(len(unit.to_bytes()) for unit in units) < MAXIMUM_BYTES
    assert [file for unit in units for file in Unit.from_bytes(unit.to_bytes()).files] == files


def test_many_workspaces_are_told_as_many(tmp_path: Path, sizes: Sizes, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row(number, user_id="p", app_group_id=f"{number:06}{secrets.token_hex(400)}") for number in range(5_000)]
    put(tmp_path / "in", SESSION, "a", rows)
    argv = [f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}", f"--now={NOW}"]
    assert command.main(argv) == 1
    assert "rows of 100 or more workspaces (app_group_id): [000000" in capsys.readouterr().err
    assert max(sizes[LINKS]) < 100_000


def test_every_kind_of_element_was_measured(sizes: Sizes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transforms.settings._BYTES_AN_ID_SHARD", 500)
    rows = [row(number, user_id=f"p{number % 3}", external_user_id=f"u{number % 3}") for number in range(9)]
    put(tmp_path / "in", SESSION, "a", rows)
    put(tmp_path / "in", SESSION, "b", [row(77, user_id="alone"), row(0, user_id="p0")])
    put(tmp_path / "in", UPDATE, "c", [row(88, user_id="p0", external_user_id="u0", language="de")])
    put(tmp_path / "in", "users.UserDeleteRequest", "d", [row(99, user_id="p2")])
    put(tmp_path / "in", SESSION, "e", [row(120 + n, user_id=f"c{n}", external_user_id="crowd") for n in range(3)])
    check(run(tmp_path, "--crowd_ids=drop", "--max_profiles_per_known_user=2"), sizes)
    assert set(sizes) == set(KINDS)
    assert {ROWS, PERSON_MONTHS} <= set(sizes)
