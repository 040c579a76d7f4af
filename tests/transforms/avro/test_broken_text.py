"""A text that is not UTF-8 costs itself: the rest of its row, block, file and run stay; an id costs its row."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import fastavro
import pytest

from pipelines import currents_to_mixpanel
from pipelines.command_line.exit_status import Status
from tests.commands.whole_run import Actual, compare, read_output, run_in_process
from tests.exports import random_exports, small_exports
from tests.exports.small_exports import MARKER, NOW, OPEN, SCHEMA, path, rows, write
from tests.oracle import whole_job as oracle
from transforms.avro.container import Block, Schema, read_container
from transforms.avro.decode import Chunk, FileDamage, decode
from transforms.avro.schema import parse_schema
from transforms.currents import catalog

pytestmark = pytest.mark.slow

BAD = "\udcff"  # the byte FF, which no UTF-8 text has


def avro(rows: list[dict[str, Any]], schema: Any = SCHEMA, block_rows: int = 4, codec: str = "null") -> bytes:
    """A file whose texts may have ``BAD`` in them: written as bytes, which Avro encodes alike."""
    columns = [{**field, "type": _as_bytes(field["type"])} for field in schema["fields"]]
    encoded = [{name: _encoded(value) for name, value in row.items()} for row in rows]
    body = small_exports.avro(encoded, schema={**schema, "fields": columns}, block_rows=block_rows, codec=codec)
    head = small_exports.avro([], schema=schema, codec=codec)
    return head + body[body.index(MARKER) + len(MARKER) :]


def _as_bytes(kind: Any) -> Any:
    if isinstance(kind, list):
        return [_as_bytes(branch) for branch in kind]
    if isinstance(kind, dict):
        inner = {"items", "values"} & kind.keys()
        fields = [{**field, "type": _as_bytes(field["type"])} for field in kind.get("fields", ())]
        changed = {name: _as_bytes(kind[name]) for name in inner}
        return {**kind, **changed, **({"fields": fields} if fields else {})}
    return "bytes" if kind == "string" else kind


def _encoded(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="surrogateescape")
    if isinstance(value, list):
        return [_encoded(item) for item in value]
    return {name: _encoded(item) for name, item in value.items()} if isinstance(value, dict) else value


def decoded(content: bytes, columns: list[str] | None = None) -> tuple[list[Chunk], list[FileDamage]]:
    items = list(decode([(0, read_container(content))], columns))
    return [i for i in items if isinstance(i, Chunk)], [i for i in items if isinstance(i, FileDamage)]


def broken_of(chunk: Chunk) -> dict[str, list[int]]:
    return {name: mask.nonzero()[0].tolist() for name, mask in chunk.broken.items()}


def open_rows(prefix: str = "r", count: int = 12, **changed: dict[int, Any]) -> list[dict[str, Any]]:
    """Rows of opens, with the given values of some columns at some rows: ``campaign_name={5: "x"}``."""
    made = rows(prefix, count)
    for column, values in changed.items():
        for row, value in values.items():
            made[row][column] = value
    return made


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy"])
def test_only_the_text_itself_is_changed_and_marked(codec: str) -> None:
    bad = open_rows(campaign_name={5: f"a{BAD}b", 6: "\ufffd", 10: BAD}, external_user_id={5: f"{BAD}{BAD}"})
    chunks, damages = decoded(avro(bad, codec=codec))
    (chunk,) = chunks
    assert damages == []
    expected = open_rows(campaign_name={5: "a\ufffdb", 6: "\ufffd", 10: "\ufffd"}, external_user_id={5: "\ufffd\ufffd"})
    assert chunk.table.to_pylist() == expected
    assert broken_of(chunk) == {"campaign_name": [5, 10], "external_user_id": [5]}
    assert chunk.row.tolist() == list(range(12))


def test_only_columns_that_are_asked_for_are_marked() -> None:
    content = avro(open_rows(campaign_name={5: BAD}, user_id={5: BAD}))
    (narrow,), _ = decoded(content, ["time", "user_id"])
    assert broken_of(narrow) == {"user_id": [5]}
    (other,), _ = decoded(content, ["time"])
    assert broken_of(other) == {}


def test_texts_in_lists_maps_and_records_are_repaired_too() -> None:
    schema = {
        "type": "record",
        "name": "dataexport.S3.inner.users.behaviors.app.FooBar",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "time", "type": "long"},
            {"name": "tags", "type": {"type": "array", "items": ["null", "string"]}},
            {"name": "map", "type": {"type": "map", "values": "string"}},
            {
                "name": "inner",
                "type": {"type": "record", "name": "I", "fields": [{"name": "a", "type": ["null", "string"]}]},
            },
            {"name": "raw", "type": "bytes"},
        ],
    }
    row: dict[str, Any] = {"id": "x", "time": 1, "tags": ["a", None], "map": {"k": "v"}, "inner": {"a": "b"}}
    row["raw"] = "\udcfe"  # bytes are not text
    bad = {**row, "tags": [BAD, None, "c"], "map": {"k": f"v{BAD}"}, "inner": {"a": BAD}}
    (chunk,), damages = decoded(avro([row, bad, row], schema))
    assert damages == []
    assert broken_of(chunk) == {"tags": [1], "map": [1], "inner": [1]}
    assert chunk.table["tags"].to_pylist() == [["a", None], ["\ufffd", None, "c"], ["a", None]]
    assert json.loads(chunk.table["map"][1].as_py()) == {"k": "v\ufffd"}
    assert json.loads(chunk.table["inner"][1].as_py()) == {"a": "\ufffd"}
    assert chunk.table["raw"].to_pylist() == [b"\xfe"] * 3


LETTERS: dict[str, Any] = {
    "type": "record",
    "name": "dataexport.S3.inner.users.behaviors.app.FooBar",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "time", "type": "long"},
        {"name": "a", "type": ["null", "string"]},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "b", "type": ["string", "null"]},
    ],
}


def by_the_letter(block: Block) -> tuple[list[dict[str, Any]], dict[str, list[int]]] | None:
    """The rows of a block of ``LETTERS`` and its broken texts; None where it is not exactly its rows."""
    as_bytes = fastavro.parse_schema(
        {**LETTERS, "fields": [{**field, "type": _as_bytes(field["type"])} for field in LETTERS["fields"]]}
    )
    data = io.BytesIO(block.data)
    found: list[dict[str, Any]] = []
    broken: dict[str, list[int]] = {}
    try:
        for position in range(block.rows):
            row: Any = fastavro.schemaless_reader(data, as_bytes, None)
            texts = {name: _read(value) for name, value in row.items()}
            for name, value in row.items():
                if _encoded(texts[name]) != value:
                    broken.setdefault(name, []).append(position)
            found.append(texts)
    except Exception:
        return None
    return (found, broken) if not data.read() else None


def _read(value: Any) -> Any:
    if isinstance(value, list):
        return [_read(item) for item in value]
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def test_mutated_blocks_are_read_as_by_the_letter_or_are_damage() -> None:
    pick = random.Random(7)
    whole = [
        {
            "id": f"e{n}",
            "time": n,
            "a": pick.choice([None, "ab"]),
            "tags": ["t"] * (n % 3),
            "b": pick.choice([None, ""]),
        }
        for n in range(3)
    ]
    schema = parse_schema(json.dumps(LETTERS).encode())
    assert isinstance(schema, Schema)
    (block,) = read_container(avro(whole, LETTERS)).blocks
    outcomes = {"repaired": 0, "damage": 0, "as it was": 0}
    for _ in range(1500):
        data = bytearray(block.data)
        for _ in range(pick.choice([1, 1, 2])):
            data[pick.randrange(len(data))] = pick.choice([0, 2, 4, 0x80, 0xC3, 0xFF, pick.randrange(256)])
        mutant = Block(0, 0, 0, block.rows, bytes(data))
        container = read_container(avro(whole, LETTERS))
        items = list(decode([(0, type(container)(schema, (mutant,), (), block.rows))]))
        expected = by_the_letter(mutant)
        (item,) = items
        if expected is None:
            assert isinstance(item, FileDamage), bytes(data)
            outcomes["damage"] += 1
        else:
            assert isinstance(item, Chunk), bytes(data)
            assert item.table.to_pylist() == expected[0]
            assert broken_of(item) == expected[1]
            outcomes["repaired" if expected[1] else "as it was"] += 1
    assert min(outcomes.values()) > 50, outcomes


def published(tmp_path: Path, files: dict[str, bytes], *flags: str) -> Actual:
    source = write(tmp_path / "in", files)
    assert run_in_process(source, tmp_path / "out", f"--now={NOW}", *flags) == 0
    return read_output(tmp_path / "out")


def by_id(actual: Actual) -> dict[str, dict[str, Any]]:
    events = [json.loads(line) for line in actual.event_lines]
    return {event["properties"]["$insert_id"]: event for event in events}


def count_restarts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    restarts: list[int] = []
    begin_again = currents_to_mixpanel.begin_again

    def counted(*arguments: Any) -> None:
        restarts.append(1)
        begin_again(*arguments)

    monkeypatch.setattr(currents_to_mixpanel, "begin_again", counted)
    return restarts


def test_a_row_goes_out_with_a_sign_in_the_place_of_what_is_not_utf8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restarts = count_restarts(monkeypatch)
    bad = open_rows(campaign_name={5: f"Frühling{BAD}", 7: "\ufffd"}, app_group_id={2: f"workspace-1{BAD}"})
    actual = published(tmp_path, {path("a"): avro(bad), path("b"): avro(open_rows("s"))})
    events = by_id(actual)
    assert len(events) == 24
    assert events["r-0005"]["properties"]["campaign_name"] == "Frühling\ufffd"
    assert events["r-0007"]["properties"]["campaign_name"] == "\ufffd"
    assert actual.rejects == []
    assert actual.report["damaged"]["files"] == 0
    assert actual.report["limits"] == {"invalid_utf8": {OPEN: {"campaign_name": 1, "app_group_id": 1}}}
    assert restarts == []
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Texts sent with U+FFFD in them" in page


def test_a_broken_workspace_is_none_and_the_others_are_found_where_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = avro(open_rows(app_group_id={0: f"workspace{BAD}"}))
    other = avro(open_rows("s", app_group_id=dict.fromkeys(range(12), "workspace-2")))
    source = write(tmp_path / "in", {path("a"): first, path("b"): other})
    assert run_in_process(source, tmp_path / "out", f"--now={NOW}") == 1
    message = capsys.readouterr().err
    assert "rows of 2 workspaces" in message
    assert path("a") in message
    assert path("b") in message


@pytest.mark.parametrize("column", ["id", "user_id", "external_user_id"])
def test_a_row_with_a_broken_id_is_a_reject_and_no_evidence(
    column: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restarts = count_restarts(monkeypatch)
    made = open_rows(count=8)
    for row in made:
        row |= {"user_id": f"p{row['id']}", "external_user_id": None}
    made[5] |= {"user_id": "p", "external_user_id": "ada"}
    made[6] |= {"user_id": "p"}
    made[5][column] += BAD
    actual = published(tmp_path, {path("a"): avro(made), path("b"): avro(open_rows("s"))}, "--max_reject_share=1")
    (reject,) = actual.rejects
    assert (reject["reason"], reject["file"], reject["row"], reject.get("block")) == (
        "invalid_utf8",
        path("a"),
        5,
        None,
    )
    assert f"{column} [{made[5][column][:-1]}\ufffd]" in reject["detail"]
    assert reject["record"][column] == made[5][column][:-1] + "\ufffd"
    events = by_id(actual)
    assert len(events) == 8 - 1 + 12
    assert events["r-0006"]["properties"]["distinct_id"] == "$device:p"
    assert not any("ada" in node or "\ufffd" in node[1] for node in actual.ids)
    assert actual.report["rejects"] == {"invalid_utf8": 1}
    assert actual.report["limits"] == {}
    assert restarts == []


def test_a_row_that_repeats_one_with_a_broken_id_goes_out(tmp_path: Path) -> None:
    first = open_rows(count=4, user_id={1: f"profile-2{BAD}"}, campaign_name={2: BAD})
    actual = published(tmp_path, {path("a"): avro(first), path("b"): avro(open_rows(count=4))}, "--max_reject_share=1")
    assert sorted(by_id(actual)) == ["r-0000", "r-0001", "r-0002", "r-0003"]
    assert by_id(actual)["r-0002"]["properties"]["campaign_name"] == "\ufffd"
    assert (actual.report["rows"]["repeats"], actual.report["rows"]["rejects"]) == (3, 1)


def custom_rows(*names: str) -> list[dict[str, Any]]:
    return [
        {"id": f"c{n}", "time": NOW - 9, "user_id": "p", "external_user_id": "ada", "name": name, "properties": "{}"}
        for n, name in enumerate(names)
    ]


CUSTOM = {
    "type": "record",
    "name": f"dataexport.S3.inner.{catalog.CUSTOM_EVENT}",
    "fields": [{"name": name, "type": "int" if name == "time" else ["null", "string"]} for name in custom_rows("x")[0]],
}


@pytest.mark.parametrize("repeated", [False, True])
def test_a_custom_event_without_a_readable_name_is_a_reject_and_takes_no_repeat_with_it(
    repeated: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pass 1 reads no names: only where it took rows for repeats of such a row is the run made again."""
    restarts = count_restarts(monkeypatch)
    files = {path("a", event_type=catalog.CUSTOM_EVENT): avro(custom_rows("one", f"tw{BAD}", "three"), CUSTOM)}
    if repeated:
        files[path("b", event_type=catalog.CUSTOM_EVENT)] = avro(custom_rows("one", "two"), CUSTOM)
    actual = published(tmp_path, files, "--max_reject_share=1")
    names = sorted(event["event"] for event in by_id(actual).values())
    prefix = "[Braze Custom Event] "
    assert names == [f"{prefix}one", f"{prefix}three", *([f"{prefix}two"] if repeated else [])]
    assert actual.report["rejects"] == {"invalid_utf8": 1}
    assert "name [tw\ufffd]" in actual.rejects[0]["detail"]
    assert actual.report["rows"]["repeats"] == int(repeated)
    assert len(restarts) == int(repeated)


def test_damage_of_the_block_and_a_row_rejected_are_named_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = avro(open_rows("t", id={1: BAD}))
    short = bad.replace(b"campaign 0006", b"campaign \xff006")
    lost = short.replace(b"\x02\x1acampaign 0007", b"\x04\x1acampaign 0007")
    source = write(tmp_path / "in", {path("a"): lost, path("b"): avro(rows("b", 1000))})
    assert run_in_process(source, tmp_path / "out", f"--now={NOW}", "--max_reject_share=0.001") == Status.LIMIT
    assert "invalid_utf8: 5" in capsys.readouterr().err


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_exports_with_broken_texts_are_what_the_oracle_says(seed: int, tmp_path: Path) -> None:
    pick = random.Random(seed)
    export = random_exports.random_export(seed, too_large=False)
    for name in sorted(export):
        file = export[name]
        torn = [
            {column: _torn(pick, value) if pick.random() < 0.03 else value for column, value in row.items()}
            for row in file.rows
        ]
        export[name] = file._replace(rows=torn)
        target = tmp_path / "in" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(avro(torn, file.schema, block_rows=3))
    expected = oracle.run(export, now=random_exports.NOW)
    flags = (f"--now={random_exports.NOW}", "--max_reject_share=1", "--mixed_workspaces")
    assert run_in_process(tmp_path / "in", tmp_path / "out", *flags) == 0
    actual = read_output(tmp_path / "out")
    compare(actual, expected)
    assert any(reason == "invalid_utf8" for reason, _, _ in expected.rejects)
    counted = {kind: dict(columns) for kind, columns in expected.broken.items() if columns}
    assert actual.report["limits"]["invalid_utf8"] == counted


def _torn(pick: random.Random, value: Any) -> Any:
    if isinstance(value, list) and value:
        return [_torn(pick, value[0]), *value[1:]]
    if not isinstance(value, str):
        return value
    place = pick.randint(0, len(value))
    return value[:place] + pick.choice([BAD, "\udcc3", "\udced\udca0\udc80"]) + value[place:]


def test_rows_of_a_block_are_numbered_through_its_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transforms.avro.fastavro_reader._BATCH_ROWS", 2)
    (chunk,), _ = decoded(avro(open_rows(campaign_name={1: BAD, 6: BAD, 11: BAD}), block_rows=12))
    assert broken_of(chunk) == {"campaign_name": [1, 6, 11]}


def test_who_opened_a_message_by_a_text_that_cannot_be_read_is_not_linked_to_the_device(tmp_path: Path) -> None:
    schema = {
        **SCHEMA,
        "fields": [*SCHEMA["fields"], *({"name": n, "type": "string"} for n in ("device_id", "machine_open"))],
    }
    made = [
        {**row, "device_id": f"d{n}", "machine_open": f"tr{BAD}e" if n else ""}
        for n, row in enumerate(open_rows(count=2))
    ]
    actual = published(tmp_path, {path("a"): avro(made, schema)})
    assert {node for node in actual.ids if node[0] == "device_id"} == {("device_id", "d0")}
