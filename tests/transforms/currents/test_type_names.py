"""The event type of a file: its schema and its path agree, or one of them counts and a warning names the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.command_line.exit_status import Status
from tests.commands.whole_run import read_output, run_in_process
from tests.exports.small_exports import NOW, OPEN, SCHEMA, avro, rows, write
from tests.transforms.report.test_page import Page
from transforms.currents.type_names import TypeNames, type_names

INNER = "dataexport.S3.inner."
NEW, OTHER_NEW = "users.messages.newthing.Arrived", "users.messages.newthing.Left"
ENTRY = "users.canvas.Entry"


@pytest.mark.parametrize(
    ("path_type", "record", "taken", "differ"),
    [
        (OPEN, INNER + OPEN, OPEN, False),
        (None, INNER + OPEN, OPEN, False),
        (ENTRY, INNER + OPEN, OPEN, True),
        (NEW, INNER + OPEN, OPEN, True),
        ("Emails opened", INNER + OPEN, OPEN, True),
        (OPEN, INNER + NEW, OPEN, True),
        (NEW, INNER + OTHER_NEW, NEW, True),
        (NEW, INNER + NEW, NEW, False),
        (None, INNER + NEW, NEW, False),
        ("users_messages_email_open", INNER + OPEN, OPEN, False),
        ("users_messages_email_open", "topLevelRecord", OPEN, False),
        ("USERS.MESSAGES.EMAIL.OPEN", "Root", OPEN, False),
        ("usersmessagesemailopen", "", OPEN, False),
        (OPEN, "users_messages_email_Open", OPEN, False),
        (None, "users_messages_email_Open", OPEN, False),
        (None, "warehouse.users_messages_email_open", OPEN, False),
        ("emails", "users_messages_email_open", OPEN, True),
        ("emails", "topLevelRecord", "emails", False),
        (NEW, "io.confluent.connect.avro.ConnectDefault", NEW, False),
        ("__HIVE_DEFAULT_PARTITION__", INNER + OPEN, OPEN, False),
    ],
)
def test_the_type_is_the_schemas_where_it_is_known_else_the_paths(
    path_type: str | None, record: str, taken: str, differ: bool
) -> None:
    names = type_names(path_type, record)
    assert (names.taken, names.differ) == (taken, differ)


@pytest.mark.parametrize(
    "record",
    [
        "topLevelRecord", "Root", "root", "__root__", "", "schema", "spark_schema", "nifiRecord", "baseRecord",
        "org.apache.nifi.nifiRecord", "io.confluent.connect.avro.ConnectDefault", "hive.email_opens", "QueryResult",
        "Microsoft.ServiceBus.Messaging.EventData",
    ],
)  # fmt: skip
def test_a_tools_name_tells_no_type(record: str) -> None:
    assert type_names(None, record) == TypeNames(None, None, None)
    assert type_names("__HIVE_DEFAULT_PARTITION__", record).taken is None


def named(record: str, prefix: str, count: int = 3) -> bytes:
    return avro(rows(prefix, count), schema={**SCHEMA, "name": record})


def published(source: Path, output: Path) -> dict[str, Any]:
    assert run_in_process(source, output, f"--now={NOW}") == 0
    return read_output(output).report


def test_rewritten_files_are_sent_by_their_path_and_rejected_without_one(tmp_path: Path) -> None:
    # Three rows of twelve are lost: too few to judge the run by.
    files = {
        f"event_type={OPEN}/a.avro": named("topLevelRecord", "a"),
        "event_type=users_messages_email_open/b.avro": named("Root", "b"),
        "event_type=our.own_thing/c.avro": named("ConnectDefault", "c"),
        "flat/d.avro": named("topLevelRecord", "d"),
        "flat/without-rows.avro": named("topLevelRecord", "e", 0),
    }
    report = published(write(tmp_path / "in", files), tmp_path / "out")
    assert {kind: found["events"] for kind, found in report["rows_by_type"].items()} == {OPEN: 6, "our.own_thing": 3}
    assert report["type_conflicts"] == {"files": 0, "examples": []}
    (reject,) = read_output(tmp_path / "out").rejects
    assert (reject["reason"], reject["file"]) == ("event_type_unknown", "flat/d.avro")
    assert "[topLevelRecord]" in reject["detail"]
    assert "put the file into a folder event_type=TYPE" in reject["detail"]
    assert (report["damaged"]["files"], report["damaged"]["rows_lost"]) == (1, 3)


def test_nothing_is_published_of_an_export_whose_types_nobody_can_tell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "in", {"email_opens/part-0.avro": named("topLevelRecord", "a")})
    assert run_in_process(source, tmp_path / "out", f"--now={NOW}") == Status.LIMIT
    assert "event_type=users.messages.email.Open" in capsys.readouterr().err


def test_a_warning_names_files_that_lie_in_the_wrong_folder_in_bounded_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {f"event_type={ENTRY}/{number:02}.avro": named(INNER + OPEN, f"r{number}", 1) for number in range(30)}
    report = published(write(tmp_path / "in", files), tmp_path / "out")
    assert {kind: found["events"] for kind, found in report["rows_by_type"].items()} == {OPEN: 30}
    conflicts = report["type_conflicts"]
    assert (conflicts["files"], len(conflicts["examples"])) == (30, 20)
    first = f"event_type={ENTRY}/00.avro"
    assert conflicts["examples"][0] == {"file": first, "path_type": ENTRY, "schema_type": OPEN, "taken_as": OPEN}
    (warning,) = [text for text in report["warnings"] if "name different event types" in text]
    assert warning.startswith(f"30 files whose path and schema name different event types: {first} (path {ENTRY}, ")
    assert warning.endswith(" and 27 more")
    assert f"warning    {warning}" in capsys.readouterr().out
    text = Page((tmp_path / "out" / "report.html").read_text()).text
    assert "By the schema" in text
    assert first in text
    assert json.loads((tmp_path / "out" / "report.json").read_bytes())["type_conflicts"] == conflicts
