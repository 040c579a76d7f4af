"""Whole runs with values that are hard to read: one bad value costs that value, and the report counts it."""

from __future__ import annotations

import json
import math
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.commands.whole_run import Actual, read_output, run_in_process
from tests.exports import small_exports
from tests.exports.small_exports import NOW
from tests.oracle.mixpanel_rules import check_event, check_profile
from transforms.currents import catalog

PURCHASE = catalog.PURCHASE
UPDATE = catalog.PROFILE_UPDATE
SESSION = "users.behaviors.app.SessionStart"
PREFIX = "[Custom event property] "
IDS = {"id": "string", "user_id": "string", "external_user_id": ["null", "string"], "time": "long"}


def published(folder: Path, files: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]], *flags: str) -> Actual:
    """What a run publishes of files: event type to (rows, Avro type by column beside the ids' and ``time``'s)."""
    for event_type, (rows, types) in files.items():
        place = folder / "in" / f"event_type={event_type}" / "date=2026-01-01-00"
        place.mkdir(parents=True, exist_ok=True)
        fields = [{"name": name, "type": kind} for name, kind in {**IDS, **types}.items()]
        schema = {"type": "record", "name": event_type, "fields": fields}
        whole = [{"user_id": "p1", "external_user_id": "ada", "time": NOW - 60, **row} for row in rows]
        (place / "a.avro").write_bytes(small_exports.avro(whole, schema=schema))
    assert run_in_process(folder / "in", folder / "out", f"--now={NOW}", "--max_reject_share=1", *flags) == 0
    actual = read_output(folder / "out")
    for line in actual.event_lines:
        check_event(line, NOW)
    for line in actual.profile_lines:
        check_profile(line)
    return actual


def properties(actual: Actual) -> dict[str, dict[str, Any]]:
    found = [json.loads(line)["properties"] for line in actual.event_lines]
    return {each["$insert_id"]: each for each in found}


def custom(actual: Actual) -> dict[str, dict[str, Any]]:
    """The custom properties of each event, without their prefix."""
    return {
        key: {name.removeprefix(PREFIX): value for name, value in each.items() if name.startswith(PREFIX)}
        for key, each in properties(actual).items()
    }


def test_one_odd_value_in_a_document_costs_that_value(tmp_path: Path) -> None:
    documents = {
        "nan": '{"score": NaN, "plan": "gold", "items": [1, 2]}',
        "huge": '{"huge": 1e400, "plan": "gold", "items": [1, 2]}',
        "half": '{"half": "a\\ud83d", "plan": "gold"}',
        "order": '{"order": 12345678901234567890123, "fits": 18446744073709551615}',
        "nothing": "null",
        "quoted": json.dumps('{"plan": "gold"}'),
        "twice": '{"plan": "tin", "plan": "gold", "": 1}',
        "deep": '{"plan": "gold", "deep": ' + "[" * 3000 + "]" * 3000 + "}",
        "broken": '{"plan": ',
    }
    rows = [{"id": key, "name": "shop", "properties": text} for key, text in documents.items()]
    actual = published(tmp_path, {catalog.CUSTOM_EVENT: (rows, {"name": "string", "properties": "string"})})
    assert custom(actual) == {
        "nan": {"plan": "gold", "items": [1, 2]},
        "huge": {"plan": "gold", "items": [1, 2]},
        "half": {"half": "a\ufffd", "plan": "gold"},
        "order": {"order": "12345678901234567890123", "fits": 18446744073709551615},
        "nothing": {},
        "quoted": {"plan": "gold"},
        "twice": {"plan": "gold"},
        "deep": {"plan": "gold", "deep": "[" * 3000 + "]" * 3000},
        "broken": {"properties": '{"plan": '},
    }
    event = "[Braze Custom Event] shop"
    assert actual.report["limits"] == {
        "not_finite": {event: {PREFIX + "score": 1, PREFIX + "huge": 1}},
        "lone_surrogates": {event: {PREFIX + "half": 1}},
        "integers_as_text": {event: {PREFIX + "order": 1}},
        "documents_unquoted": {event: {PREFIX + "properties": 1}},
        "duplicate_keys": {event: {PREFIX + "plan": 1}},
        "empty_keys": {event: {PREFIX: 1}},
        "nested_as_text": {event: {PREFIX + "deep": 1}},
        "properties_not_json": {event: {PREFIX + "properties": 1}},
    }


def test_custom_attributes_that_nobody_reads_are_sent_as_text_beside_the_standard_ones(tmp_path: Path) -> None:
    rows = [
        {"id": "1", "first_name": "Ada", "custom_attributes": '{"plan": '},
        {"id": "2", "external_user_id": "bob", "first_name": "Bob", "custom_attributes": '{"n": NaN, "plan": "gold"}'},
        {"id": "3", "external_user_id": "eve", "first_name": "Eve", "custom_attributes": '{"order": %s}' % ("7" * 30)},
    ]
    actual = published(tmp_path, {UPDATE: (rows, {"first_name": "string", "custom_attributes": "string"})})
    assert {line["$distinct_id"]: line["$set"] for line in map(json.loads, actual.profile_lines)} == {
        "ada": {"$first_name": "Ada", "custom_attributes": '{"plan": '},
        "bob": {"$first_name": "Bob", "plan": "gold"},
        "eve": {"$first_name": "Eve", "order": "7" * 30},
    }
    assert actual.report["rows"]["rejects"] == 0
    assert actual.report["limits"] == {
        "properties_not_json": {UPDATE: {"custom_attributes": 1}},
        "not_finite": {UPDATE: {"n": 1}},
        "integers_as_text": {UPDATE: {"order": 1}},
    }


@pytest.mark.parametrize("operation", ["set", "set_once"])
def test_an_attribute_set_to_null_is_removed_unless_a_later_update_sets_it(operation: str, tmp_path: Path) -> None:
    rows = [
        {"id": "1", "time_ms": 1, "custom_attributes": '{"plan": "gold", "score": 7, "gone": 1, "tags": null}'},
        {"id": "2", "time_ms": 3, "custom_attributes": '{"gone": null, "plan": null, "first_name": null}'},
        {"id": "3", "time_ms": 2, "custom_attributes": '{"gone": 2}'},
        {"id": "4", "time_ms": 4, "custom_attributes": '{"plan": "tin", "country": null}', "country": "Germany"},
        {"id": "5", "time_ms": 1, "external_user_id": "bob", "custom_attributes": '{"plan": null}'},
    ]
    types = {"time_ms": "long", "custom_attributes": "string", "country": ["null", "string"]}
    actual = published(tmp_path, {UPDATE: (rows, types)}, f"--profile_updates={operation}")
    lines = [json.loads(line) for line in actual.profile_lines]
    common = {"$ip": "0", "$ignore_time": True}
    ada = {"$distinct_id": "ada", **common}
    if operation == "set":
        assert lines == [
            {**ada, "$set": {"plan": "tin", "score": 7, "country": "Germany"}},
            {**ada, "$unset": ["first_name", "gone", "tags"]},
            {"$distinct_id": "bob", **common, "$unset": ["plan"]},
        ]
    else:
        assert lines == [{**ada, "$set_once": {"country": "Germany", "gone": 2, "plan": "tin", "score": 7}}]
    assert actual.report["rows"]["profile_updates"] == actual.report["rows"]["read"] == 5


@pytest.mark.parametrize(
    ("time", "said"),
    [
        ((NOW - 5) * 1_000, "in milliseconds"),
        ((NOW - 5) * 1_000_000, "in microseconds"),
        ((NOW - 5) * 1_000_000_000, "in nanoseconds"),
        (NOW + 90_000, "an hour after now"),
        (7, "before 1971"),
        (None, "is null"),
    ],
)
def test_a_time_that_is_not_in_seconds_is_a_reject_that_says_so(time: int | None, said: str, tmp_path: Path) -> None:
    actual = published(tmp_path, {SESSION: ([{"id": "1", "time": time}], {"time": ["null", "long"]})})
    (reject,) = actual.rejects
    assert reject["reason"] == "time_invalid"
    assert said in reject["detail"]
    assert str(time) in reject["detail"] or time is None


def test_an_event_leaves_room_for_what_importers_add(tmp_path: Path) -> None:
    document = json.dumps({f"k{number:03}": number for number in range(300)})
    rows = [{"id": "1", "name": "shop", "properties": document}]
    actual = published(tmp_path, {catalog.CUSTOM_EVENT: (rows, {"name": "string", "properties": "string"})})
    (event,) = properties(actual).values()
    assert len(event) == 250
    (left_out,) = actual.report["limits"]["properties_left_out"].values()
    assert sum(left_out.values()) == 300 - len(custom(actual)["1"])


def test_columns_that_the_catalogue_lacks_stand_back_like_custom_properties(tmp_path: Path) -> None:
    document = json.dumps({f"k{number:03}": number for number in range(240)})
    rows = [{"id": "1", "name": "shop", "properties": document, **{f"x{number}": "y" for number in range(9)}}]
    types = {"name": "string", "properties": "string", **{f"x{number}": "string" for number in range(9)}}
    (event,) = properties(published(tmp_path, {catalog.CUSTOM_EVENT: (rows, types)})).values()
    own = 7  # distinct_id, $user_id, $device_id, time, $insert_id, $partner_id, ip
    assert len(event) == 250
    assert sum(name.startswith(PREFIX) for name in event) == 240
    assert [name for name in event if name.startswith("x")] == [f"x{number}" for number in range(250 - own - 240)]


def logical(base: str, logical_type: str, **more: Any) -> dict[str, Any]:
    return {"type": base, "logicalType": logical_type, **more}


SIXTEEN = bytes(range(16))
MILLIS = 1_788_000_000_123  # 2026-08-29T10:40:00.123Z


def test_logical_types_of_columns_that_the_catalogue_lacks_are_what_they_mean(tmp_path: Path) -> None:
    columns: dict[str, tuple[Any, Any, Any]] = {
        "amount": (logical("bytes", "decimal", precision=10, scale=2), Decimal("19.90"), 19.9),
        "negative": (logical("fixed", "decimal", precision=9, scale=3, name="F", size=8), Decimal("-0.125"), -0.125),
        "order": (logical("bytes", "decimal", precision=38, scale=0), Decimal("12345678901234567890123"),
                  "12345678901234567890123"),
        "whole": (["null", logical("bytes", "decimal", precision=38, scale=0)], Decimal(7), 7),
        "fine": (logical("bytes", "decimal", precision=38, scale=19), Decimal("3.1415926535897932384"),
                 "3.1415926535897932384"),
        "day": (["null", logical("int", "date")], date(2026, 8, 29), "2026-08-29"),
        "clock": (logical("int", "time-millis"), 36_000_500, "10:00:00.5"),
        "at_millis": (logical("long", "timestamp-millis"), MILLIS, "2026-08-29T10:40:00.123Z"),
        "at_micros": (logical("long", "timestamp-micros"), 1_788_000_000_000_000, "2026-08-29T10:40:00Z"),
        "at_nanos": (logical("long", "timestamp-nanos"), MILLIS * 1_000_000, "2026-08-29T10:40:00.123Z"),
        "local": (logical("long", "local-timestamp-micros"), MILLIS * 1_000, "2026-08-29T10:40:00.123"),
        "text_uuid": (logical("string", "uuid"), "00010203-0405-0607-0809-0a0b0c0d0e0f",
                      "00010203-0405-0607-0809-0a0b0c0d0e0f"),
        "raw_uuid": (logical("fixed", "uuid", name="U", size=16), SIXTEEN, "00010203-0405-0607-0809-0a0b0c0d0e0f"),
        "words": ("bytes", "ü".encode(), "ü"),
        "noise": ("bytes", b"\xff\x00", "data:;base64,/wA="),
        "noises": ({"type": "array", "items": "bytes"}, [b"\xff", b"\xfe"], ["data:;base64,/w==", "data:;base64,/g=="]),
        "nested": ({"type": "array", "items": logical("bytes", "decimal", precision=5, scale=1)}, [Decimal("1.5")],
                   [1.5]),
        "record": ({"type": "record", "name": "R", "fields": [
                       {"name": "at", "type": logical("long", "timestamp-millis")},
                   ]}, {"at": MILLIS}, {"at": "2026-08-29T10:40:00.123Z"}),
    }  # fmt: skip
    row = {"id": "1", **{name: value for name, (_, value, _) in columns.items()}}
    actual = published(tmp_path, {SESSION: ([row], {name: kind for name, (kind, _, _) in columns.items()})})
    (event,) = properties(actual).values()
    assert {name: event[name] for name in columns} == {name: wanted for name, (_, _, wanted) in columns.items()}
    assert actual.report["limits"] == {"bytes_as_base64": {SESSION: {"noise": 1, "noises": 2}}}


@pytest.mark.parametrize("beside", [{}, {"extra": (logical("bytes", "decimal", precision=5, scale=1), Decimal("1.5"))}])
@pytest.mark.parametrize(
    ("unit", "factor"),
    [(f"{local}timestamp-{unit}", factor) for unit, factor in (("millis", 1_000), ("micros", 1_000_000),
     ("nanos", 1_000_000_000)) for local in ("", "local-")],
)  # fmt: skip
def test_a_time_that_is_a_timestamp_becomes_seconds(
    unit: str, factor: int, beside: dict[str, tuple[Any, Any]], tmp_path: Path
) -> None:
    """In both readers; a row's time decides on links too."""
    time = (NOW - 60) * factor + factor // 2
    more = {name: value for name, (_, value) in beside.items()}
    rows = [
        {"id": "1", "time": time, "external_user_id": "ada", **more},
        {"id": "2", "time": time + factor, "external_user_id": None, **more},
        {"id": "3", "time": (NOW + 90_000) * factor, **more},
    ]
    types = {"time": logical("long", unit), **{name: kind for name, (kind, _) in beside.items()}}
    actual = published(tmp_path, {SESSION: (rows, types)})
    found = properties(actual)
    assert [(found[key]["time"], found[key]["distinct_id"]) for key in ("1", "2")] == [
        (NOW - 60, "ada"), (NOW - 59, "ada"),
    ]  # fmt: skip
    assert [reject["id"] for reject in actual.rejects] == ["3"]


def test_columns_of_the_catalogue_take_its_types_or_are_left_out_with_a_warning(tmp_path: Path) -> None:
    decimal = logical("bytes", "decimal", precision=10, scale=2)
    purchases = {
        "price": (decimal, Decimal("0.99")),
        "product_id": (logical("fixed", "uuid", name="U", size=16), SIXTEEN),
        "currency": ("bytes", b"EUR"),
        "platform": ("bytes", b"\xff\x00"),
        "ad_tracking_enabled": (decimal, Decimal(1)),
        "properties": ({"type": "map", "values": "string"}, {"plan": "gold"}),
    }
    locations = {"latitude": ("bytes", b"1.5"), "longitude": (["null", "double", "string"], "east"),
                 "altitude": (logical("long", "timestamp-millis"), MILLIS)}  # fmt: skip
    updates = {"time_ms": (logical("long", "timestamp-micros"), MILLIS * 1_000), "dob": (logical("int", "date"), 7_000),
               "score": (decimal, Decimal("2.50"))}  # fmt: skip
    files = {
        kind: ([{"id": kind[-2:], **{name: value for name, (_, value) in columns.items()}}],
               {name: type_ for name, (type_, _) in columns.items()})
        for kind, columns in ((PURCHASE, purchases), ("users.behaviors.Location", locations), (UPDATE, updates))
    }  # fmt: skip
    actual = published(tmp_path, files)
    found = properties(actual)
    purchase, location = found["se"], found["on"]
    assert (purchase["price"], purchase["currency"]) == (0.99, "EUR")
    assert purchase["product_id"] == "00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert purchase["[Purchase property] plan"] == "gold"
    assert not {"platform", "ad_tracking_enabled"} & set(purchase)
    assert not {"latitude", "longitude", "altitude", "$latitude", "$longitude"} & set(location)
    (profile,) = map(json.loads, actual.profile_lines)
    assert profile["$set"] == {"dob": "1989-03-02", "score": 2.5}
    assert actual.report["limits"]["types_left_out"] == {
        PURCHASE: {"platform": 1, "ad_tracking_enabled": 1},
        "users.behaviors.Location": {"latitude": 1, "longitude": 1, "altitude": 1},
    }
    (warning,) = (each for each in actual.report["warnings"] if "Braze's" in each)
    assert "5 values left out" in warning
    assert "altitude of users.behaviors.Location" in warning


def test_ids_may_be_uuids_of_sixteen_bytes(tmp_path: Path) -> None:
    kind = logical("fixed", "uuid", name="U", size=16)
    rows = [{"id": SIXTEEN, "user_id": "p"}, {"id": SIXTEEN, "user_id": "p"}]
    actual = published(tmp_path, {SESSION: (rows, {"id": kind})})
    assert list(properties(actual)) == ["00010203-0405-0607-0809-0a0b0c0d0e0f"]
    assert actual.report["rows"]["repeats"] == 1


def sets_and_unsets(actual: Actual) -> tuple[dict[str, Any], list[str]]:
    """What the updates of ada set, and which attributes they remove."""
    given: dict[str, Any] = {}
    removed: list[str] = []
    for line in map(json.loads, actual.profile_lines):
        assert line["$distinct_id"] == "ada"
        given |= line.get("$set", line.get("$set_once", {}))
        removed += line.get("$unset", ())
    return given, removed


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("operation", ["set", "set_once"])
def test_an_attribute_that_is_not_finite_is_left_out_and_removes_nothing(
    operation: str, odd: float, tmp_path: Path
) -> None:
    rows = [
        {"id": "1", "time_ms": 1, "score": 2.5, "rank": 7.0, "first_name": "Ada"},
        {"id": "2", "time_ms": 2, "score": odd, "rank": odd, "first_name": "Augusta"},
    ]
    types = {"time_ms": "long", "score": ["null", "double"], "rank": ["null", "double", "string"],
             "first_name": "string"}  # fmt: skip
    actual = published(tmp_path, {UPDATE: (rows, types)}, f"--profile_updates={operation}")
    assert sets_and_unsets(actual) == ({"score": 2.5, "rank": 7.0, "$first_name": "Augusta"}, [])
    assert actual.report["limits"] == {"not_finite": {UPDATE: {"score": 1, "rank": 1}}}


ATTRIBUTES_RECORD = {"type": "record", "name": "Attributes", "fields": [
    {"name": name, "type": ["null", kind]} for name, kind in (("plan", "string"), ("score", "double"))
]}  # fmt: skip


@pytest.mark.parametrize("kind", [ATTRIBUTES_RECORD, {"type": "map", "values": ["null", "string", "double"]}])
@pytest.mark.parametrize("odd", [None, math.nan])
def test_a_null_in_a_record_or_map_of_custom_attributes_removes_nothing(
    kind: Any, odd: float | None, tmp_path: Path
) -> None:
    rows = [
        {"id": "1", "time_ms": 1, "custom_attributes": {"plan": "gold", "score": 2.5}},
        {"id": "2", "time_ms": 2, "custom_attributes": {"plan": None, "score": odd}},
        {"id": "3", "time_ms": 3, "custom_attributes": None},
    ]
    actual = published(tmp_path, {UPDATE: (rows, {"time_ms": "long", "custom_attributes": ["null", kind]})})
    assert sets_and_unsets(actual) == ({"plan": "gold", "score": 2.5}, [])


@pytest.mark.parametrize(
    ("kind", "made"),
    [("string", str), ("double", float), (["null", "long", "string"], int), (["null", "double", "string"], float)],
)
def test_the_latest_update_is_found_whatever_type_its_time_in_milliseconds_has(
    kind: Any, made: type[Any], tmp_path: Path
) -> None:
    rows = [{"id": str(9 - ms), "time_ms": made(NOW * 1000 + ms), "first_name": f"at {ms}"} for ms in (1, 3, 2)]
    actual = published(tmp_path, {UPDATE: (rows, {"time_ms": kind, "first_name": "string"})})
    assert sets_and_unsets(actual) == ({"$first_name": "at 3"}, [])


def test_custom_attributes_that_are_cut_or_get_one_name_are_counted(tmp_path: Path) -> None:
    long = "k" * 255
    document = json.dumps({long + "b": 2, long + "a": 1, "ip": 3, "braze_ip": 4, "gender": "x", "gone": None})
    rows = [{"id": "1", "gender": "f", "custom_attributes": document}]
    actual = published(tmp_path, {UPDATE: (rows, {"gender": "string", "custom_attributes": "string"})})
    assert sets_and_unsets(actual) == ({long: 1, "braze_ip": 4, "gender": "f"}, ["gone"])
    assert actual.report["limits"] == {
        "keys_cut": {UPDATE: {long: 2}},
        "key_collisions": {UPDATE: {long: 1, "braze_ip": 1, "gender": 1}},
    }
