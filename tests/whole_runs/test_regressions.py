"""Whole runs that once went wrong: what was found when the program was held against its description."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipelines.command_line.exit_status import Status
from tests.commands.whole_run import Actual, read_output, run_in_process
from tests.exports import small_exports
from tests.exports.small_exports import NOW
from tests.oracle import whole_job as oracle

SESSION = "users.behaviors.app.SessionStart"
CUSTOM = "users.behaviors.CustomEvent"


def row(event_id: str | None, **columns: Any) -> dict[str, Any]:
    return {"id": event_id, "time": NOW - 60, "user_id": "p1", "external_user_id": None, **columns}


def avro(rows: list[dict[str, Any]], *, event_type: str, block_rows: int = 4) -> bytes:
    """A file whose columns are those of its rows: strings and ints, nullable but for the first three."""
    names = list(dict.fromkeys(name for each in rows for name in each))
    whole = {name for each in rows for name, value in each.items() if isinstance(value, int)}
    kinds = {name: "long" if name in whole else "string" for name in names}
    fields = [
        {"name": name, "type": kinds[name]}
        if name in ("time", "user_id")
        else {"name": name, "type": ["null", kinds[name]]}
        for name in names
    ]
    schema = {"type": "record", "name": event_type, "fields": fields}
    return small_exports.avro(rows, schema=schema, block_rows=block_rows)


def put(folder: Path, name: str, event_type: str, content: bytes) -> None:
    place = folder / f"event_type={event_type}" / "date=2026-01-01-00"
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{name}.avro").write_bytes(content)


def published(tmp_path: Path, *flags: str) -> Actual:
    assert run_in_process(tmp_path / "in", tmp_path / "out", f"--now={NOW}", *flags) == 0
    return read_output(tmp_path / "out")


def properties(actual: Actual) -> dict[str, dict[str, Any]]:
    found = [json.loads(line)["properties"] for line in actual.event_lines]
    return {each["$insert_id"]: each for each in found}


def test_a_row_that_only_whole_rows_show_to_be_damaged_joins_nobody(tmp_path: Path) -> None:
    """One byte makes user 20492's id the shorter one of another customer, and the columns of pass 1 still fit."""
    known = [row(f"{n:08x}-1111-4111-8111-{n:012x}", user_id=f"p{n}", external_user_id=f"2049{n}") for n in range(4)]
    content = avro([{**each, "device_id": None, "sdk": "7.1"} for each in known], event_type=SESSION, block_rows=2)
    at = content.index(b"\x0a20492")
    put(tmp_path / "in", "a", SESSION, content[:at] + b"\x08" + content[at + 1 :])
    clean = [row("other", user_id="q", external_user_id="2049"), row("clean-1", user_id="p2")]
    put(tmp_path / "in", "b", SESSION, avro(clean, event_type=SESSION))
    actual = published(tmp_path, "--max_reject_share=1")
    assert properties(actual)["clean-1"]["distinct_id"] == "$device:p2"
    assert actual.report["damaged"]["rows_lost"] == 2
    assert set(properties(actual)) == {known[0]["id"], known[1]["id"], "other", "clean-1"}


def test_rows_without_an_id_are_rejects_and_no_repeats(tmp_path: Path) -> None:
    put(tmp_path / "in", "a", SESSION, avro([row(""), row("  "), row(""), row(None), row("x")], event_type=SESSION))
    actual = published(tmp_path, "--max_reject_share=1")
    assert actual.report["rejects"] == {"missing_id": 4}
    assert list(properties(actual)) == ["x"]


@pytest.mark.parametrize("flag", ["--native_since=", "--now=", "--since=20260301", "--until=2026"])
def test_a_time_that_is_none_is_refused(flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "in", "a", SESSION, avro([row("x")], event_type=SESSION))
    assert run_in_process(tmp_path / "in", tmp_path / "out", flag) == 2
    assert flag.split("=")[0] in capsys.readouterr().err


def test_blocks_of_unknown_size_count_as_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(30):
        rows = [row(f"{number}-{n}", user_id=f"p{number}") for n in range(50)]
        content = bytearray(avro(rows, event_type=SESSION, block_rows=50))
        if number % 2:
            marker = content[-16:]
            start = content.index(marker) + 16
            content[start : start + 2] = b"\xff\xff"
        put(tmp_path / "in", f"f{number:02d}", SESSION, bytes(content))
    assert run_in_process(tmp_path / "in", tmp_path / "out", f"--now={NOW}") == Status.LIMIT
    assert "are rejected or lost" in capsys.readouterr().err


def test_no_event_has_more_properties_than_mixpanel_takes(tmp_path: Path) -> None:
    extra = {f"extra_{n:03d}": "v" for n in range(300)}
    put(tmp_path / "in", "a", CUSTOM, avro([row("x", name="n", properties='{"k": 1}', **extra)], event_type=CUSTOM))
    (event,) = properties(published(tmp_path)).values()
    assert len(event) == 250
    assert event["[Custom event property] k"] == 1


def test_a_column_cannot_take_the_place_of_the_tag(tmp_path: Path) -> None:
    put(tmp_path / "in", "a", SESSION, avro([row("x", braze_import="other")], event_type=SESSION))
    (event,) = properties(published(tmp_path, "--tag=mine")).values()
    assert (event["braze_import"], event["braze_braze_import"]) == ("mine", "other")


def test_profile_updates_send_new_columns_and_one_country(tmp_path: Path) -> None:
    update = "users.profile.Update"
    first = row("a", external_user_id="ada", time_ms=1, country="DE", middle_name="M")
    rows = [first, {**first, "id": "b", "time_ms": 2, "country": "Germany", "middle_name": None}]
    put(tmp_path / "in", "a", update, avro(rows, event_type=update))
    actual = published(tmp_path)
    (line,) = map(json.loads, actual.profile_lines)
    assert line["$set"] == {"country": "Germany", "middle_name": "M"}
    assert actual.report["unknown_columns"] == {update: {"middle_name": 1}}


@pytest.mark.parametrize(
    ("updates", "sent"),
    [
        ([("Germany", None), (None, "Austria")], {"country": "Austria"}),
        ([(None, "Austria"), ("Germany", None)], {"country": "Germany"}),
        ([("Germany", "Austria")], {"country": "Germany"}),
        ([("DE", None), (None, "Austria")], {"$country_code": "DE", "country": "Austria"}),
        ([(None, "Austria"), ("DE", None)], {"$country_code": "DE", "country": "Austria"}),
        ([("Germany", None), (None, "Austria"), (None, "Poland"), ("DE", None)],
         {"$country_code": "DE", "country": "Poland"}),
    ],
)  # fmt: skip
def test_of_a_standard_and_a_custom_country_the_later_one_stays(
    updates: list[tuple[str | None, str | None]], sent: dict[str, str], tmp_path: Path
) -> None:
    update = "users.profile.Update"
    rows = [
        row(f"u-{at}", external_user_id="ada", time_ms=at, country=standard,
            custom_attributes=json.dumps({"country": custom}) if custom else None)
        for at, (standard, custom) in enumerate(updates)
    ]  # fmt: skip
    put(tmp_path / "in", "a", update, avro(rows, event_type=update))
    actual = published(tmp_path)
    (line,) = map(json.loads, actual.profile_lines)
    assert line["$set"] == sent
    name = f"event_type={update}/date=2026-01-01-00/a.avro"
    (told,) = oracle.run({name: (update, rows)}, now=NOW).profiles
    assert told["$set"] == sent


def test_a_type_that_only_a_schema_names_may_be_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.avro").write_bytes(avro([row("x")], event_type="users.messages.newthing.ReadReceipt"))
    actual = published(tmp_path, "--event_types=users.messages.newthing.ReadReceipt")
    assert len(actual.event_lines) == 1


def test_a_truth_that_is_none_is_refused_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "in", "a", SESSION, avro([row("x")], event_type=SESSION))
    (tmp_path / "truth.json").write_text("[1]")
    assert run_in_process(tmp_path / "in", tmp_path / "out", f"--truth={tmp_path / 'truth.json'}") == 2
    assert "profile to person" in capsys.readouterr().err


def test_a_name_that_is_no_utf8_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "in", "a", SESSION, avro([row("x")], event_type=SESSION))
    bad = os.fsencode(tmp_path / "in") + b"/\xff.avro"
    with open(bad, "wb") as file:
        file.write(avro([row("y")], event_type=SESSION))
    assert run_in_process(tmp_path / "in", tmp_path / "out") == 2
    assert "rename the file" in capsys.readouterr().err


def test_the_hour_of_a_file_is_told_by_its_own_path(tmp_path: Path) -> None:
    put(tmp_path / "date=2020-01-01-00" / "in", "a", SESSION, avro([row("x")], event_type=SESSION))
    flags = (f"--now={NOW}", "--since=2025-12-31")
    assert run_in_process(tmp_path / "date=2020-01-01-00" / "in", tmp_path / "out", *flags) == 0


@pytest.mark.parametrize(
    ("columns", "sent", "collisions"),
    [
        ([{"ip": "a", "braze_ip": "b"}], ["b"], 1),
        (
            [{"ip": "a", "braze_ip": None}, {"ip": None, "braze_ip": "b"}, {"ip": "a", "braze_ip": "b"}],
            ["a", "b", "b"],
            1,
        ),
        ([{"ip": "a", "braze_ip": 7}], [7], 1),
        ([{"ip": None, "braze_ip": 7}], [7], 0),
    ],
)
def test_of_two_columns_that_get_one_name_one_is_sent_and_the_other_counted(
    columns: list[dict[str, Any]], sent: list[Any], collisions: int, tmp_path: Path
) -> None:
    rows = [row(f"e-{number}", **found) for number, found in enumerate(columns)]
    put(tmp_path / "in", "a", SESSION, avro(rows, event_type=SESSION))
    actual = published(tmp_path)
    found = properties(actual)
    assert [found[f"e-{number}"]["braze_ip"] for number in range(len(rows))] == sent
    counted = actual.report["limits"].get("key_collisions", {})
    assert counted == ({"Session Start": {"braze_ip": collisions}} if collisions else {})
    name = f"event_type={SESSION}/date=2026-01-01-00/a.avro"
    expected = oracle.run({name: (SESSION, rows)}, now=NOW).events
    assert [event["properties"]["braze_ip"] for event in expected] == sent
