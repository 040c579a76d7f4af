"""The catalogue holds the releases of Currents that the pages name, and new types go out under Braze's names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.commands.whole_run import ROOT, Actual, read_output, run_in_process
from tests.exports.small_exports import avro, path, write
from transforms.currents import catalog

TYPES = catalog.event_types()
NEW = {
    "users.messages.landingpage.Impression": "Landing Page Impression",
    "users.messages.landingpage.Click": "Landing Page Click",
    "users.messages.landingpage.FormSubmission": "Landing Page Form Submission",
    "users.messages.survey.Response": "Survey Response",
    "users.canvas.costep.Conversion": "Canvas Content Optimizer Step Conversion",
    "users.campaigns.UniqueReceipt": "Campaign Unique Receipt",
    "users.canvas.sendtodestination.Sent": "Canvas Send to Destination Sent",
    "users.canvas.sendtodestination.NotSent": "Canvas Send to Destination Not Sent",
}
ARBITRARY = {"int": 1_788_000_000, "long": 1_788_000_000, "double": 3.5, "boolean": True}


def _file(event_type: str) -> bytes:
    """One row that has a value in every column of the catalogue."""
    fields = TYPES[event_type].fields
    schema = {
        "type": "record",
        "name": f"dataexport.S3.inner.{event_type}",
        "fields": [
            {"name": f.name, "type": ["null", f.type.rstrip("?")] if f.type.endswith("?") else f.type} for f in fields
        ],
    }
    row: dict[str, Any] = {f.name: ARBITRARY.get(f.type.rstrip("?"), f.name) for f in fields}
    return avro([row | {"id": f"e-{len(event_type)}", "external_user_id": "ada"}], schema=schema)


def _run(tmp_path: Path, *more: str) -> Actual:
    types = [*NEW, "contentoptimizer.ComponentStore", "users.messages.banner.Dismiss", "agentconsole.AgentExecuted"]
    files = {path("a", event_type=kind, hour="2026-08-29-10"): _file(kind) for kind in types}
    source = write(tmp_path / "in", files)
    assert run_in_process(source, tmp_path / "out", "--now=1788100000", *more) == 0
    return read_output(tmp_path / "out")


def test_the_documentation_counts_the_types_that_there_are() -> None:
    text = " ".join((ROOT / "docs/outputs.md").read_text("utf-8").split())
    told = re.search(r"All (\d+) event types of Currents up to release (\d+) are known, and (\d+) that", text)
    assert told is not None
    after = len(catalog.AFTER_RELEASE)
    assert [int(number) for number in told.groups()] == [len(TYPES) - after, catalog.RELEASE, after]
    sent = [kind for kind in TYPES.values() if kind.mixpanel_event is not None]
    native = sum(kind.sent_by_native_connector for kind in sent)
    removed = sum(kind.removed is not None for kind in sent)
    newer = len(sent) - native - removed
    readme = " ".join((ROOT / "README.md").read_text("utf-8").split())
    assert f"All {told[1]} event types of Currents up to release {told[2]} are known, and {told[3]} more" in readme
    text = (ROOT / "docs/rolling-out.md").read_text("utf-8")
    assert f"| {native} | these, {newer} newer ones, {removed} that Braze has removed since" in text


def test_every_new_type_goes_out_under_its_name_with_columns_renamed_as_on_all_types(tmp_path: Path) -> None:
    actual = _run(tmp_path)
    assert actual.report["unknown_types"] == {}
    assert actual.report["unknown_columns"] == {}
    sent = {event["event"]: event["properties"] for event in map(json.loads, actual.event_lines)}
    assert set(sent) == {*NEW.values(), "Banner Dismissal"}
    survey = sent["Survey Response"]
    assert (survey["$os"], survey["$device"]) == ("os_version", "device_model")
    assert survey["canvas_step_message_variation_api_id"] == "canvas_step_message_variation_id"
    assert survey.keys() & {"os_version", "device_model", "canvas_step_message_variation_id"} == set()
    assert sent["Banner Dismissal"]["is_unique"] is True


def test_a_type_that_is_no_act_of_a_user_is_not_exported(tmp_path: Path) -> None:
    by_type = _run(tmp_path).report["rows_by_type"]
    for kind in ("contentoptimizer.ComponentStore", "agentconsole.AgentExecuted"):
        assert by_type[kind]["not_exported"] == by_type[kind]["read"] == 1


def test_beside_the_native_connector_new_types_are_sent_and_named(tmp_path: Path) -> None:
    actual = _run(tmp_path, "--native_since=2026-01-01")
    # Braze's glossary has a Mixpanel tab for the types of release 11, and no word of those after release 12.
    sent = {NEW[kind] for kind in catalog.AFTER_RELEASE}
    assert {json.loads(line)["event"] for line in actual.event_lines} == sent
    left = {kind for kind, why in actual.report["withheld_by_type"].items() if why.get("left_to_native")}
    assert left == {*NEW, "users.messages.banner.Dismiss"} - catalog.AFTER_RELEASE
    (told,) = [text for text in actual.report["warnings"] if "beside the native connector" in text]
    assert told.startswith("3 event types")
    assert all(kind in told for kind in catalog.AFTER_RELEASE)
    assert not any(kind in told for kind in left)


FREE_OF_MTU = (
    "Canvas Entry", "Email Send", "Email Delivery", "Email Bounce", "Email Soft Bounce", "Email Mark As Spam",
    "Email Unsubscribe", "Push Notification Send", "Push Notification Bounce", "Webhook Send", "SMS Send",
    "SMS Delivery", "SMS Delivery Failure", "SMS Rejection", "SMS Send to Carrier",
)  # fmt: skip


def test_the_documentation_says_which_names_on_mixpanels_list_are_names_here() -> None:
    names = {kind.mixpanel_event for kind in TYPES.values()}
    assert set(FREE_OF_MTU) - names == {"SMS Send to Carrier"}
    assert "SMS Carrier Send" in names
    text = " ".join((ROOT / "docs/rolling-out.md").read_text("utf-8").split())
    assert "frees fifteen Braze event names of MTU charges. Fourteen are names here" in text
    assert len(FREE_OF_MTU) == 15
    assert "«SMS Send to Carrier»" in text
    assert "«SMS Carrier Send»" in text
