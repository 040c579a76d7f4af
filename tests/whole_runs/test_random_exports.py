"""Whole runs of random exports, in every policy and mode, against the oracle; every line against Mixpanel's rules."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import fastavro
import pytest

from tests.commands.several_units import cut_small
from tests.commands.whole_run import MODULE, Actual, compare, flags, read_output, run_cli, run_in_process
from tests.exports.random_exports import NOW, random_export, write_export
from tests.oracle import whole_job as oracle
from tests.oracle.mixpanel_rules import check_deletion, check_event, check_profile
from tests.oracle.mixpanel_simulator import SimplifiedIdMerge, event_key
from transforms.currents import catalog

pytest.importorskip(MODULE)

AGENT_EXECUTED = "agentconsole.AgentExecuted"
CASES: list[tuple[int, dict[str, Any]]] = [
    (0, {}),
    (1, {"device_links": "first"}),
    (2, {"device_links": "none", "properties": "all", "tag": "backfill 1"}),
    (3, {"device_links": "first", "max_profiles_per_device": 2, "anonymous": "none"}),
    (4, {"id_merge": "none", "anonymous": "behaviors", "deleted_users": "send"}),
    (5, {"id_merge": "native", "properties": "all"}),
    (6, {"native_since": NOW - 4000, "profile_updates": "set_once"}),
    (7, {"users_share": 0.5, "profile_updates": "off", "exclude_events": ("*Session*", "Purchase")}),
    (
        8,
        {
            "event_types": (catalog.CUSTOM_EVENT, catalog.PROFILE_UPDATE, AGENT_EXECUTED),
            "properties": "all",
        },
    ),
    (9, {"event_types": ("users.behaviors.*", "*Bucket*"), "id_merge": "none"}),
    (10, {"max_profiles_per_device": 1, "deleted_users": "send", "device_links": "first"}),
    (12, {"events_since": NOW - 4000, "exclude_events": ("Purchase",)}),
    (21, {"events_since": NOW - 86_400, "events_until": NOW - 3600, "deleted_users": "send"}),
    (14, {"crowd_ids": "drop", "max_profiles_per_known_user": 2, "device_links": "first"}),
    (15, {"crowd_ids": "drop", "max_profiles_per_known_user": 1, "native_since": NOW - 90_000, "anonymous": "none"}),
    (16, {"no_id": ("Same-String ", "bob", "ПРИВЕТ", "日本", "tablet"), "native_since": NOW - 90_000}),
    (17, {"crowd_ids": "drop", "max_profiles_per_known_user": 1, "id_merge": "none", "no_id": ("alice",)}),
    (18, {"crowd_ids": "drop", "max_profiles_per_known_user": 1, "id_merge": "native"}),
    (22, {"drop": ("pii", "[Custom event property] *a*"), "hash": ("user_id", "external_user_id", "*_id", "pii+")}),
    (23, {"drop": ("*name", "profile:*e*"), "hash": ("[*", "properties", "user_id"), "properties": "all"}),
    (24, {"hash": ("external_user_id", "*"), "unknown_fields": "withhold", "id_merge": "none"}),
    (
        25,
        {
            "hash": ("external_user_id", "profile:*", "device_id"),
            "drop": ("users.b*:os*", "$device"),
            "id_merge": "native",
        },
    ),
    (26, {"suppress": ("external_user_id:same-string", "external_user_id:10", "user_id:5f0c1e2a9d3b4c5d6e7f8004")}),
    (
        27,
        {
            "suppress": ("external_user_id:10", "user_id:5f0c1e2a9d3b4c5d6e7f8003", "user_id:same-string"),
            "deleted_users": "send",
            "crowd_ids": "drop",
            "max_profiles_per_known_user": 1,
        },
    ),
    (11, {"id_merge": "native", "native_since": NOW - 3600, "users_share": 0.7, "device_links": "none"}),
]
CODECS = ("null", "deflate", "snappy", "zstandard", "bzip2", "xz")
ALWAYS = (f"--now={NOW}", "--max_reject_share=1")


@pytest.mark.parametrize(("seed", "policy"), CASES)
def test_a_run_publishes_what_the_oracle_expects(
    seed: int, policy: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURRENTS_HASH_KEY", "a key of the tests")
    export = random_export(seed)
    write_export(export, tmp_path / "in", codec=CODECS[seed % len(CODECS)])

    given = dict(policy)
    if "suppress" in given:
        (tmp_path / "ids").write_text("\n".join(given["suppress"]), "utf-8")
        given["suppress"] = tmp_path / "ids"

    assert run_in_process(tmp_path / "in", tmp_path / "out", *ALWAYS, *flags(**given)) == 0

    actual = read_output(tmp_path / "out")
    compare(actual, oracle.run(export, now=NOW, **policy))
    assert_mixpanel_takes(actual)
    if policy.get("id_merge", "simplified") == "simplified":
        assert_persons_do_not_depend_on_order(actual)


def test_many_shards_give_what_one_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids, event ids and persons gathered in several shards, as of exports of gigabytes."""
    monkeypatch.setattr("transforms.settings._BYTES_A_SHARD", 3_000)
    monkeypatch.setattr("transforms.settings._BYTES_AN_ID_SHARD", 4_000)
    cut_small(monkeypatch)
    export = random_export(13)
    write_export(export, tmp_path / "in")
    assert run_in_process(tmp_path / "in", tmp_path / "out", *ALWAYS) == 0
    actual = read_output(tmp_path / "out")
    assert actual.report["timing"]["shuffled"]["resolved profiles"]["elements"] > 2  # one of each shard, at least
    compare(actual, oracle.run(export, now=NOW))


@pytest.mark.parametrize("seed", [31, 32])
def test_many_shards_keep_out_and_hash_whom_one_does(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURRENTS_HASH_KEY", "a key of the tests")
    suppress = ("external_user_id:10", "external_user_id:same-string", "user_id:5f0c1e2a9d3b4c5d6e7f8011")
    (tmp_path / "ids").write_text("\n".join(suppress))
    rules: dict[str, Any] = {
        "hash": ("external_user_id", "user_id"),
        "crowd_ids": "drop",
        "max_profiles_per_known_user": 2,
    }
    export = random_export(seed)
    write_export(export, tmp_path / "in")
    argv = [*ALWAYS, *flags(**rules), f"--suppress={tmp_path / 'ids'}"]
    assert run_in_process(tmp_path / "in", tmp_path / "one", *argv) == 0
    monkeypatch.setattr("transforms.settings._BYTES_A_SHARD", 3_000)
    monkeypatch.setattr("transforms.settings._BYTES_AN_ID_SHARD", 4_000)
    cut_small(monkeypatch)
    assert run_in_process(tmp_path / "in", tmp_path / "many", *argv) == 0
    one, many = (read_output(tmp_path / name) for name in ("one", "many"))
    assert many.report["timing"]["shuffled"]["resolved profiles"]["elements"] > 2
    assert many.report["withheld"]["suppressed"] > 0
    compare(many, oracle.run(export, now=NOW, suppress=suppress, **rules))
    for section in ("cost", "what_leaves", "persons"):
        assert many.report[section] == one.report[section], section


def test_the_command_publishes_what_the_oracle_expects(tmp_path: Path) -> None:
    export = random_export(12, size="medium")
    write_export(export, tmp_path / "in", block_rows=10)

    completed = run_cli(tmp_path / "in", tmp_path / "out", *ALWAYS)

    assert completed.returncode == 0, completed.stderr
    compare(read_output(tmp_path / "out"), oracle.run(export, now=NOW))


def assert_mixpanel_takes(actual: Actual) -> None:
    for line in actual.event_lines:
        check_event(line, NOW)
    for line in actual.profile_lines:
        check_profile(line)
    for line in actual.deletion_lines:
        check_deletion(line)


def assert_persons_do_not_depend_on_order(actual: Actual) -> None:
    events = [json.loads(line) for line in actual.event_lines]
    wanted = {event_key(event): event["properties"]["distinct_id"] for event in events}
    for seed in range(3):
        random.Random(seed).shuffle(events)
        assert SimplifiedIdMerge(events).persons() == wanted


def test_columns_of_unusual_types_are_sent_as_they_are_or_as_text(tmp_path: Path) -> None:
    """No file of Braze's has them; a run must not die of one either."""
    custom = [{"id": "a", "time": NOW - 5, "user_id": "p", "name": 7, "properties": ["x"], "machine_open": True}]
    update = [{"id": "b", "time": NOW - 5, "time_ms": "now", "user_id": "p", "country": 49, "custom_attributes": 3}]
    array = {"type": "array", "items": "string"}
    for kind, rows, types in (
        (
            "users.behaviors.CustomEvent",
            custom,
            {"time": "int", "name": "int", "properties": array, "machine_open": "boolean"},
        ),
        ("users.profile.Update", update, {"time": "long", "country": "int", "custom_attributes": "int"}),
    ):
        fields = [{"name": name, "type": types.get(name, "string")} for name in rows[0]]
        folder = tmp_path / "in" / f"event_type={kind}" / "date=2026-01-01-00"
        folder.mkdir(parents=True)
        with (folder / "a.avro").open("wb") as file:
            fastavro.writer(file, {"type": "record", "name": kind, "fields": fields}, rows)
    assert run_in_process(tmp_path / "in", tmp_path / "out", *ALWAYS) == 0
    actual = read_output(tmp_path / "out")
    (event,) = (json.loads(line) for line in actual.event_lines)
    assert event["event"] == "[Braze Custom Event] 7"
    assert event["properties"]["[Custom event property] properties"] == '["x"]'
    assert actual.report["withheld"] == {"anonymous_profile": 1}
