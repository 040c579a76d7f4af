"""What Mixpanel's strict import would refuse or mangle in one line of output.

Written from the public documentation of /import, /engage and the deletion API, with the safe reading where pages
disagree. Each check raises AssertionError naming the rule that the line breaks.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

DISALLOWED_IDS = frozenset(
    {
        "00000000-0000-0000-0000-000000000000",
        "anon",
        "anonymous",
        "nil",
        "none",
        "null",
        "n/a",
        "na",
        "undefined",
        "unknown",
        "<nil>",
        "0",
        "-1",
        "true",
        "false",
        "[]",
        "{}",
        "lmy47d",
    }
)
MERGE_VERBS = frozenset({"$identify", "$create_alias", "$merge"})
EVENT_DOLLAR_NAMES = frozenset({"$user_id", "$device_id", "$insert_id", "$partner_id", "$device", "$os"})
MANGLING_NAMES = frozenset({"token", "alias", "bucket"})
PROFILE_DOLLAR_NAMES = frozenset(
    {"$first_name", "$last_name", "$name", "$email", "$phone", "$city", "$region", "$timezone", "$country_code"}
)
EARLIEST_TIME = 31_536_000  # 1971-01-01T00:00Z, seconds
MAX_EVENT_BYTES, MAX_PROFILE_BYTES = 1_000_000, 1_000_000
MAX_NESTED_BYTES, MAX_PROFILE_NESTED_BYTES = 8192, 256 * 1024


def check_event(line: bytes, now: int) -> None:
    """Check one line for /import; ``now`` is the clock of the run in UNIX seconds."""
    event = _parse(line, MAX_EVENT_BYTES)
    assert set(event) == {"event", "properties"}, f"an event has event and properties only, not {sorted(event)}"
    name, properties = event["event"], event["properties"]
    assert isinstance(name, str), f"event name is no string: {name!r}"
    assert name.strip(), "event name is empty"
    assert len(name.encode()) <= 255, f"event name over 255 bytes: {name!r}"
    assert name not in MERGE_VERBS, f"{name} makes /import refuse the whole batch on a Simplified project"
    assert not name.startswith(("$", "mp_")), f"event name is reserved: {name!r}"
    assert isinstance(properties, dict), "properties is not an object"
    assert len(properties) <= 250, f"{len(properties)} properties: with those that importers add more than 254"
    for key, value in properties.items():
        _check_key(key)
        if key.startswith("$"):
            assert key in EVENT_DOLLAR_NAMES, f"{key} is reserved: Mixpanel gives it a meaning of its own"
        assert not key.startswith("mp_"), f"{key} is reserved: Mixpanel gives it a meaning of its own"
        assert key not in MANGLING_NAMES, f"{key} changes how Mixpanel treats the event"
        _check_value(key, value, MAX_NESTED_BYTES)
    check_time(properties.get("time"), now)
    check_insert_id(properties.get("$insert_id"))
    assert properties.get("$partner_id") == "braze", "$partner_id is not braze"
    ip = properties.get("ip")
    assert type(ip) is int, "without a numeric ip Mixpanel locates every user at the importer"
    assert ip == 0, "ip other than 0 is looked up and consumed"
    _check_event_ids(properties)


def _check_event_ids(properties: dict[str, Any]) -> None:
    assert "distinct_id" in properties, "no distinct_id: Mixpanel would make one from the request's IP"
    distinct_id, user, device = (properties.get(name) for name in ("distinct_id", "$user_id", "$device_id"))
    assert isinstance(distinct_id, str), f"distinct_id is no string: {distinct_id!r}"
    for name in ("$user_id", "$device_id"):
        if name in properties:
            check_id(name, properties[name])
    if distinct_id:
        check_id("distinct_id", distinct_id)
    if user is not None:
        assert distinct_id == user, f"distinct_id {distinct_id!r} contradicts $user_id {user!r}"
    elif device is not None:
        assert distinct_id == "$device:" + device, f"distinct_id {distinct_id!r} contradicts $device_id {device!r}"
    else:
        assert not distinct_id.startswith("$device:"), f"distinct_id {distinct_id!r} without its $device_id"
    if device is not None:
        assert not device.startswith("$device:"), f"$device_id is sent without its prefix: {device!r}"


def check_profile(line: bytes) -> None:
    """Check one line for /engage (``$token`` is added on delivery)."""
    update = _parse(line, MAX_PROFILE_BYTES)
    operation = {"$set", "$set_once", "$unset"} & set(update)
    assert len(operation) == 1, f"an update has exactly one operation, not {sorted(operation)}"
    assert set(update) == {"$distinct_id", "$ip", "$ignore_time"} | operation, f"unexpected keys: {sorted(update)}"
    check_id("$distinct_id", update["$distinct_id"])
    assert not update["$distinct_id"].startswith("$device:"), "a device's profile is lost when the device is linked"
    assert update["$ip"] == "0", '$ip other than "0" locates the user'
    assert update["$ignore_time"] is True, "$ignore_time is not true: $last_seen would change"
    attributes = update[next(iter(operation))]
    if operation == {"$unset"}:
        assert isinstance(attributes, list), "$unset holds no list"
        assert attributes == sorted(set(attributes), key=str.encode), "$unset names an attribute twice, or in no order"
        attributes = dict.fromkeys(attributes, "")
    assert isinstance(attributes, dict), "the operation holds no object"
    assert attributes, "the update sets nothing"
    assert len(attributes) <= 2000, f"{len(attributes)} properties: a profile holds 2000"
    for key, value in attributes.items():
        _check_key(key)
        if key.startswith("$"):
            assert key in PROFILE_DOLLAR_NAMES, f"{key} is reserved on profiles"
        assert not key.startswith("mp_"), f"{key} is reserved on profiles"
        _check_value(key, value, MAX_PROFILE_NESTED_BYTES)
    country = attributes.get("$country_code", "AA")
    assert re.fullmatch(r"[A-Za-z]{2}", country), f"$country_code is not two letters: {country!r}"


def check_deletion(line: bytes) -> None:
    """Check one line of the deletions."""
    deletion = _parse(line, MAX_EVENT_BYTES)
    expected = {"distinct_id", "user_id", "time", "via", "whole_person"}
    assert set(deletion) == expected, f"unexpected keys: {sorted(deletion)}"
    check_id("distinct_id", deletion["distinct_id"])
    check_id("user_id", deletion["user_id"])
    assert type(deletion["time"]) is int, f"time is no integer: {deletion['time']!r}"
    assert deletion["via"] in {"own", "profile", "device", "none"}, f"unknown via: {deletion['via']!r}"
    assert type(deletion["whole_person"]) is bool, f"whole_person is no boolean: {deletion['whole_person']!r}"
    if deletion["via"] == "none":
        anonymous = {deletion["user_id"], "$device:" + deletion["user_id"]}
        assert deletion["distinct_id"] in anonymous, f"via none but distinct_id {deletion['distinct_id']!r}"


def _parse(line: bytes, max_bytes: int) -> dict[str, Any]:
    assert len(line) < max_bytes, f"line of {len(line)} bytes: under {max_bytes} are taken"
    assert b"\n" not in line.rstrip(b"\n"), "more than one line"
    try:
        text = line.decode("utf-8")
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeError as e:
        raise AssertionError(f"not valid UTF-8: {e}") from e
    except ValueError as e:
        raise AssertionError(f"not valid JSON: {e}") from e
    assert isinstance(value, dict), f"not an object: {text[:80]}"
    return value


def _refuse_constant(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    assert len(unique) == len(pairs), f"a key stands twice: {sorted(key for key, _ in pairs)}"
    return unique


def check_id(name: str, value: Any) -> None:
    """Check an id of a person or device; ``name`` is said where it breaks a rule."""
    assert isinstance(value, str), f"{name} is no string: {value!r}"
    assert value.strip(), f"{name} is blank"
    assert value.strip().casefold() not in DISALLOWED_IDS, f"{name} is a disallowed value: {value!r}"


def check_insert_id(insert_id: Any) -> None:
    """Check what Mixpanel tells repeats by."""
    assert isinstance(insert_id, str), f"$insert_id is no string: {insert_id!r}"
    assert re.fullmatch(r"[A-Za-z0-9-]{1,36}", insert_id), f"$insert_id is invalid: {insert_id!r}"
    assert insert_id.casefold() not in DISALLOWED_IDS, f"$insert_id is a disallowed value: {insert_id!r}"


def check_time(time: Any, now: int) -> None:
    """Check the time of an event, in UNIX seconds, against the clock."""
    assert type(time) is int, f"time is no integer: {time!r}"
    assert time >= EARLIEST_TIME, f"time {time} is before 1971"
    assert time <= now + 3600, f"time {time} is more than an hour ahead of {now}"


def _check_key(key: str) -> None:
    assert key, "a key is empty"
    assert len(key.encode()) <= 255, f"key over 255 bytes: {key!r}"


def _check_value(key: str, value: Any, max_bytes: int) -> None:
    assert value is not None, f"{key} is null: it would show as not set"
    if isinstance(value, dict | list):
        size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
        assert size <= max_bytes, f"{key} holds {size} nested bytes: {max_bytes} are taken"
        _check_nested(key, value, 1)
    elif isinstance(value, float):
        assert math.isfinite(value), f"{key} is not finite"


def _check_nested(key: str, value: dict[str, Any] | list[Any], depth: int) -> None:
    assert depth <= 3, f"{key} is nested deeper than 3"
    assert len(value) < 255, f"{key} holds {len(value)} entries on one level: fewer than 255 are taken"
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, dict | list):
            _check_nested(key, item, depth + 1)
        elif isinstance(item, float):
            assert math.isfinite(item), f"{key} holds a number that is not finite"
