"""The entry that is made from a file's schema is the catalogue's own, where the catalogue has one to compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines import catalog_entry
from pipelines.sample_export.files import schema as written_by_braze
from tests.commands.whole_run import ROOT
from tests.exports.small_exports import avro
from transforms.avro.schema import event_type_of
from transforms.currents import catalog

NEW = "users.messages.hologram.Click"


def file_of(folder: Path, schema: dict[str, Any]) -> str:
    path = folder / "a.avro"
    path.write_bytes(avro([], schema=schema))
    return str(path)


def record(name: str, **columns: Any) -> dict[str, Any]:
    fields = [{"name": column, "type": kind} for column, kind in columns.items()]
    return {"type": "record", "name": f"dataexport.S3.inner.{name}", "fields": fields}


def test_the_catalogues_file_is_written_as_the_script_writes_entries() -> None:
    text = ",\n".join(map(catalog_entry.shown, catalog.entries()))
    assert (ROOT / "transforms/currents/catalog.json").read_text("utf-8") == f"[\n{text}\n]\n"


def test_every_type_of_the_catalogue_gives_its_own_entry_and_lacks_nothing() -> None:
    for known, of in zip(catalog.event_types().values(), catalog.entries(), strict=True):
        assert catalog_entry.entry(written_by_braze(known, era=2)) == (of, [])


def test_a_new_type_gets_the_names_that_other_types_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = {
        "id": "string", "external_user_id": ["null", "string"], "time": "long", "os_version": ["null", "string"],
        "device_model": ["string", "null"], "message_extras": ["null", "string"], "depth": ["null", "double"],
        "words": ["null", {"type": "array", "items": ["null", "string"]}], "seen": {"type": "boolean"},
    }  # fmt: skip
    assert catalog_entry.main([file_of(tmp_path, record(NEW, **columns))]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {
        "event_type": NEW,
        "mixpanel_event": "Hologram Click",
        "partner_page": False,
        "native": False,
        "fields": [
            ["id", "string", "$insert_id"],
            ["external_user_id", "string?", "distinct_id", ["pii"]],
            ["time", "long", "time"],
            ["os_version", "string?", "$os"],
            ["device_model", "string?", "$device"],
            ["message_extras", "string?", "message_extras", ["pii", "json"]],
            ["depth", "double?", "depth"],
            ["words", "array<string?>?", "words"],
            ["seen", "boolean", "seen"],
        ],
    }
    assert captured.err.startswith(f"{NEW} is new. To decide: mixpanel_event")


def test_new_columns_of_a_known_type_are_added_to_its_entry_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "users.messages.email.Open"
    assert catalog_entry.main([file_of(tmp_path, record(name, id="string", gaze=["null", "int"]))]) == 0
    captured = capsys.readouterr()
    fields = json.loads(captured.out)["fields"]
    assert fields[:-1] == next(of["fields"] for of in catalog.entries() if of["event_type"] == name)
    assert fields[-1] == ["gaze", "int?", "gaze"]
    assert captured.err == f"{name} is in the catalogue; new: gaze\n"


def test_new_columns_of_a_type_without_a_mixpanel_form_have_none() -> None:
    found, lacking = catalog_entry.entry(record("agentconsole.AgentExecuted", mood=["null", "string"]))
    assert (found["fields"][-1], lacking) == (["mood", "string?", None], ["mood"])


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (record(NEW, at={"type": "long", "logicalType": "timestamp-millis"}), "column at has the type"),
        (record(NEW, either=["null", "string", "int"]), "column either has the type"),
        (record(NEW, counts={"type": "map", "values": "int"}), "column counts has the type"),
    ],
)
def test_a_column_that_braze_does_not_write_is_refused_by_name(
    schema: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert catalog_entry.main([file_of(tmp_path, schema)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, b"", b"PK", b"Obj\x01\x02"])
def test_what_is_not_an_avro_file_is_refused_in_one_line(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "b.avro"
    if content is not None:
        path.write_bytes(content)
    assert catalog_entry.main([str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"catalog_entry: {path}: ")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("name", catalog.event_types())
def test_a_record_of_a_namespace_of_its_own_has_its_type(name: str) -> None:
    assert event_type_of(f"com.example.{name}") == name


def test_the_page_on_a_new_release_names_what_is_there() -> None:
    page = (ROOT / "docs" / "new-release-of-currents.md").read_text("utf-8")
    for name in (
        "pipelines/catalog_entry.py",
        "transforms/currents/catalog.json",
        "tests/transforms/currents/test_catalog.py",
    ):
        assert f"`{name}`" in page
        assert (ROOT / name).exists()
    assert f"release {catalog.RELEASE}" in page
    assert "python -m pipelines.catalog_entry" in page
