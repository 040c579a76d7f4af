"""Random exports hold what they promise, and what the oracle makes of them obeys Mixpanel's rules."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import fastavro
import pytest

from tests.exports.random_exports import NOW, random_export, write_export
from tests.oracle import whole_job as oracle
from tests.oracle.mixpanel_rules import check_deletion, check_event, check_profile
from tests.oracle.mixpanel_simulator import SimplifiedIdMerge, event_key
from tests.oracle.whole_job import compact

T = NOW - 1000


@pytest.mark.parametrize("seed", range(20))
def test_on_random_exports_arrival_order_is_no_matter_and_mixpanel_takes_every_line(seed: int) -> None:
    expected = oracle.run(random_export(seed), now=NOW, device_links=["sole", "first", "none"][seed % 3])
    assert expected.rows["read"] == sum(expected.rows[kind] for kind in oracle.ROW_KINDS)
    assert expected.rows["rejects"] == expected.rejects.total()
    wanted = {event_key(event): event["properties"]["distinct_id"] for event in expected.events}
    for _ in range(3):
        random.Random(seed).shuffle(expected.events)
        assert SimplifiedIdMerge(expected.events).persons() == wanted
    for event in expected.events:
        check_event(compact(event).encode(), NOW)
    for profile in expected.profiles:
        check_profile(compact(profile).encode())
    for deletion in expected.deletions:
        check_deletion(compact(deletion).encode())


@pytest.mark.slow
def test_random_exports_hold_every_outcome() -> None:
    runs = [oracle.run(random_export(seed), now=NOW, max_profiles_per_device=1 + seed % 3) for seed in range(40)]
    reasons = {reason for expected in runs for reason, _, _ in expected.rejects}
    assert reasons == {
        "missing_id", "time_invalid", "missing_user_id", "event_too_large",
    }  # fmt: skip
    found = {link[3] for expected in runs for link in expected.links.values()}
    assert found == {"accepted", "redundant", "refused", "contested", "quarantined"}
    vias = {deletion["via"] for expected in runs for deletion in expected.deletions}
    assert vias == {"own", "profile", "device", "none"}
    assert all(any(expected.rows[kind] for expected in runs) for kind in oracle.ROW_KINDS)
    names = [set(event["properties"]) for expected in runs for event in expected.events]
    assert any("$user_id" in keys and "$device_id" not in keys for keys in names)
    assert any("$device_id" in keys and "$user_id" not in keys for keys in names)


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_written_exports_read_back_as_they_were_and_are_the_same_bytes_each_time(codec: str, tmp_path: Path) -> None:
    export = random_export(3)
    for folder in ("a", "b"):
        write_export(export, tmp_path / folder, codec=codec)
    for path, file in export.items():
        content = (tmp_path / "a" / path).read_bytes()
        assert content == (tmp_path / "b" / path).read_bytes()
        with (tmp_path / "a" / path).open("rb") as stream:
            assert repr(list(fastavro.reader(stream))) == repr(file.rows)  # by repr, since NaN equals nothing


def test_rules_refuse_what_mixpanel_refuses() -> None:
    good = {
        "distinct_id": "$device:p",
        "$device_id": "p",
        "time": T,
        "$insert_id": "1",
        "$partner_id": "braze",
        "ip": 0,
    }
    check_event(compact({"event": "E", "properties": good}).encode(), NOW)
    broken: list[tuple[dict[str, Any], str]] = [
        ({"token": "x"}, "token changes"),
        ({"$ignore": True}, "reserved"),
        ({"ip": "1.2.3.4"}, "importer"),
        ({"$insert_id": "a_b"}, "insert_id is invalid"),
        ({"distinct_id": "p"}, "contradicts"),
        ({"$user_id": "Anonymous"}, "disallowed"),
        ({"time": NOW + 3601}, "more than an hour"),
        ({"time": float(T)}, "no integer"),
        ({"x": None}, "null"),
        ({"x": [[[[]]]]}, "deeper"),
        ({"x": list(range(255))}, "entries"),
        ({"x": ["y" * 8189]}, "nested bytes"),
        ({"x": float("nan")}, "NaN"),
        ({"x" * 256: 1}, "over 255 bytes"),
        ({str(number): number for number in range(249)}, "255 properties"),
        ({"x": "y" * 1_000_000}, "line of"),
    ]
    for change, message in broken:
        with pytest.raises(AssertionError, match=message):
            check_event(compact({"event": "E", "properties": {**good, **change}}).encode(), NOW)
    for line, message in (
        (b'{"event": "\xff"}', "UTF-8"),
        (b'{"event":"\\ud800"}', "UTF-8"),
        (b'{"a":1,"a":2}', "twice"),
    ):
        with pytest.raises(AssertionError, match=message):
            check_event(line, NOW)
