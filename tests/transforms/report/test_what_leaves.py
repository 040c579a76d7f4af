"""The section that a privacy officer signs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from tests.commands.whole_run import read_output, run_cli
from tests.exports.small_exports import NOW, OPEN, SCHEMA, avro, path, rows, write
from transforms.currents.catalog import CUSTOM_EVENT
from transforms.report.what_leaves import figures

NEW = "users.new.Thing"
EMAIL = "ada@example.org"


def wider(event_type: str, **types: Any) -> dict[str, Any]:
    """The schema of a type with more columns."""
    fields = [*SCHEMA["fields"], *({"name": name, "type": kind} for name, kind in types.items())]
    return {**SCHEMA, "name": f"dataexport.S3.inner.{event_type}", "fields": fields}


def lines(report: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    found = report["what_leaves"]["properties"]
    return {line["name"]: (line["field"], line["values"], line["share"], line["mark"], line["rules"]) for line in found}


def test_each_property_is_listed_with_its_field_its_share_its_mark_and_what_the_rules_did(tmp_path: Path) -> None:
    texts = dict.fromkeys(("name", "properties", "ad_id", "platform"), "string")
    schema = wider(CUSTOM_EVENT, **texts)
    custom = rows("c", 12, name="bought", ad_id="one", platform="ios")
    for number, row in enumerate(custom):
        row["properties"] = json.dumps({"to": EMAIL, "secret": number} if number < 3 else {"plan": "pro"})
    custom.append({**custom[0], "id": "late", "time": 1})  # a reject: nothing of it counts as sent
    write(tmp_path / "in", {path("a", event_type=CUSTOM_EVENT): avro(custom, schema=schema)})
    rules = ("--drop=ad_id,[Custom event property] secret,profile:none", "--hash=platform,external_user_id")
    env = {"CURRENTS_HASH_KEY": "k"}
    done = run_cli(tmp_path / "in", tmp_path / "out", f"--now={NOW}", "--max_reject_share=1", *rules, env=env)
    assert done.returncode == 0, done.stderr

    report = read_output(tmp_path / "out").report
    found = lines(report)
    assert found["[Custom event property] to"] == ("properties", 3, 0.25, None, "sent")
    assert found["[Custom event property] secret"] == ("properties", 3, 0.25, None, "dropped")
    assert found["[Custom event property] plan"] == ("properties", 9, 0.75, None, "sent")
    assert found["ad_id"] == ("ad_id", 12, 1.0, "pii", "dropped")
    assert found["platform"] == ("platform", 12, 1.0, None, "hashed")
    assert found["$user_id"] == ("external_user_id", 8, 0.666667, "pii", "hashed")
    assert found["$device_id"] == ("user_id", 12, 1.0, "pii", "sent")
    sent = {name for line in read_output(tmp_path / "out").event_lines for name in json.loads(line)["properties"]}
    assert sent == {name for name, (*_, done) in found.items() if done != "dropped"}
    leaves = report["what_leaves"]
    assert leaves["rules_without_values"] == ["profile:none"]
    assert leaves["looks_personal"]["email"] == {"[Custom event property] to": 3}
    assert any("[profile:none]" in warning for warning in report["warnings"])
    page = (tmp_path / "out" / "report.html").read_text()
    assert "What leaves" in page
    assert EMAIL not in page + json.dumps(report)


def test_what_is_unknown_is_counted_and_listed_whether_it_is_sent_or_not(tmp_path: Path) -> None:
    schema = wider(OPEN, new_field="string")
    write(
        tmp_path / "in",
        {
            path("a"): avro(rows("a", new_field="x"), schema=schema),
            path("b", event_type=NEW): avro([*rows("b"), *rows("late", 1, time=1)], schema=wider(NEW)),
        },
    )
    for choice, events in (("send", 24), ("withhold", 12)):
        out = tmp_path / choice
        done = run_cli(tmp_path / "in", out, f"--now={NOW}", "--max_reject_share=1", f"--unknown_fields={choice}")
        assert done.returncode == 0, done.stderr
        report = read_output(out).report
        assert report["rows"]["events"] == events
        assert report["unknown_types"][NEW]["rows"] == (12 if choice == "send" else 13)
        assert report["unknown_columns"] == {OPEN: {"new_field": 12}}
        (reject,) = read_output(out).rejects
        assert ("campaign_name" in reject["record"]) is (choice == "send")
        assert ("new_field" in lines(report)) is (choice == "send") or lines(report)["new_field"][-1] == "dropped"


def test_a_run_without_rows_has_a_section_of_nothing() -> None:
    nothing: Any = figures({}, {})
    assert nothing == {
        "properties": [],
        "attributes": [],
        "rules": {},
        "rules_without_values": [],
        "looks_personal": {"email": {}, "phone": {}, "card": {}, "ip": {}},
    }


def test_a_number_without_a_hash_is_counted_as_left_out(tmp_path: Path) -> None:
    ended = "users.behaviors.app.SessionEnd"
    durations = [1.5, math.nan, math.inf, 1.5]
    sessions = [{**row, "duration": value} for row, value in zip(rows("s", 4), durations, strict=True)]
    write(tmp_path / "in", {path("a", event_type=ended): avro(sessions, schema=wider(ended, duration="float"))})
    done = run_cli(tmp_path / "in", tmp_path / "out", f"--now={NOW}", "--hash=duration", env={"CURRENTS_HASH_KEY": "k"})
    assert done.returncode == 0, done.stderr
    actual = read_output(tmp_path / "out")
    assert actual.report["limits"] == {"not_finite": {"Session End": {"duration": 2}}}
    assert lines(actual.report)["duration"] == ("duration", 2, 0.5, None, "hashed")
    hashes = [json.loads(line)["properties"].get("duration") for line in actual.event_lines]
    assert hashes[1:3] == [None, None]
    assert hashes[0] == hashes[3] != "1.5"
