"""Files that ask for more than their bytes hold: items without end, recursion, bombs, schemas beyond measure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from pipelines.command_line.failures import worker_lost
from pipelines.command_line.options import parse
from pipelines.launch import local
from tests.commands.whole_run import ROOT, read_output, run_in_process
from tests.exports.mutants import number
from tests.exports.small_exports import MARKER, NOW, avro, path, rows, with_fields, write
from transforms.avro import decode as decode_module
from transforms.avro.codecs import CODECS, BlockTooLarge, decompress
from transforms.avro.container import Container, Damage, read_container
from transforms.avro.decode import Chunk, decode
from transforms.errors import UsageError
from transforms.telemetry import progress

EMPTY: dict[str, Any] = {"type": "record", "name": "Nothing", "fields": []}
CHAIN = {"type": "record", "name": "Chain", "fields": [{"name": "next", "type": ["null", "Chain"]}]}
MUCH = 10**15


def file_of(column: Any, value: bytes, count: int = 1, codec: str = "null") -> bytes:
    """A file of one block: ``id``, ``time`` and a column of any type with these bytes, ``count`` by its header."""
    return file_with([{"name": "x", "type": column}], b"\x02a\x02" + value, count)


def file_with(fields: list[dict[str, Any]], data: bytes, count: int = 1) -> bytes:
    columns = [{"name": "id", "type": "string"}, {"name": "time", "type": "int"}, *fields]
    text = json.dumps({"type": "record", "name": "x.inner.users.Any", "fields": columns}).encode()
    head = b"Obj\x01\x02" + number(11) + b"avro.schema" + number(len(text)) + text + b"\x00" + MARKER
    return head + number(count) + number(len(data)) + data + MARKER


def outcome(content: bytes) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows that are read, and the reasons of all damages."""
    container = read_container(content)
    found: list[dict[str, Any]] = []
    reasons = [damage.reason for damage in container.damages]
    for item in decode([(0, container)]):
        if isinstance(item, Chunk):
            found += item.table.to_pylist()
        else:
            reasons.append(item.damage.reason)
    return found, reasons


@pytest.mark.parametrize("count", [MUCH, -MUCH, 2**63 - 1, -(2**63), 10**7])
@pytest.mark.parametrize(
    "items",
    ["null", EMPTY, {"type": "fixed", "name": "F", "size": 0}, "string", ["null", "string"], "int", CHAIN, "bytes"],
)
def test_a_count_beyond_what_the_bytes_can_hold_is_damage(items: Any, count: int) -> None:
    size = number(0) if count < 0 else b""
    content = file_of({"type": "array", "items": items}, number(count) + size + b"\x00" * 3)
    assert outcome(content) == ([], ["block_corrupt"])


def test_some_items_without_bytes_are_read() -> None:
    content = file_of({"type": "array", "items": "null"}, number(1000) + b"\x00")
    assert outcome(content) == ([{"id": "a", "time": 1, "x": json.dumps([None] * 1000).replace(" ", "")}], [])


def test_values_without_bytes_are_bounded_over_all_lists_of_a_block() -> None:
    wide = {"type": "record", "name": "W", "fields": [{"name": f"n{i}", "type": "null"} for i in range(4000)]}
    content = file_of({"type": "array", "items": ["null", wide]}, number(400) + b"\x02" * 400 + b"\x00")
    assert outcome(content) == ([], ["block_corrupt"])
    nulls = [{"name": f"n{i}", "type": "null"} for i in range(1900)]
    assert outcome(file_with(nulls, b"\x02a\x02" * 2000, 2000)) == ([], ["block_corrupt"])


def repeated(content: bytes, blocks: int) -> bytes:
    """The file with its only block so many times."""
    begin = content.index(MARKER) + len(MARKER)
    return content[:begin] + content[begin:] * blocks


@pytest.mark.parametrize("columns", [None, ["id"]])
def test_values_without_bytes_are_bounded_over_all_blocks_of_a_file(columns: list[str] | None) -> None:
    many = file_of({"type": "array", "items": "null"}, number(1_000_000) + b"\x00")
    few = file_of({"type": "array", "items": "null"}, number(10) + b"\x00")
    last = repeated(few, 1)[few.index(MARKER) + len(MARKER) :]
    items = list(decode([(0, read_container(repeated(many, 50) + last))], columns))
    chunks = [item for item in items if isinstance(item, Chunk)]
    lost = [item.damage for item in items if not isinstance(item, Chunk)]
    assert [row for chunk in chunks for row in chunk.row.tolist()] == [0]
    assert [(damage.reason, damage.block, damage.rows_lost) for damage in lost] == [
        ("block_corrupt", block, 1) for block in range(1, 51)
    ]
    if columns is None:
        assert sum(chunk.table["x"][0].as_py().count("null") for chunk in chunks) == 1_000_000


def test_a_count_that_no_block_may_hold_costs_no_other_block_of_the_file() -> None:
    kind = {"type": "array", "items": "null"}
    good, bad = (repeated(file_of(kind, number(count) + b"\x00"), 1) for count in (1000, MUCH))
    begin = good.index(MARKER) + len(MARKER)
    found, reasons = outcome(good + bad[begin:] + good[begin:])
    assert (len(found), reasons) == (2, ["block_corrupt"])


def test_columns_without_bytes_are_bounded_over_all_blocks_of_a_file() -> None:
    nulls = [{"name": f"n{i}", "type": "null"} for i in range(1900)]
    one = file_with(nulls, b"\x02a\x02" * 500, 500)
    container = read_container(repeated(one, 50))
    assert 1 <= len(container.blocks) < 4
    assert [block.index for block in container.blocks] == list(range(len(container.blocks)))
    assert {(damage.reason, damage.rows_lost) for damage in container.damages} == {("block_corrupt", 500)}
    assert container.rows == 50 * 500
    assert len(container.blocks) + len(container.damages) == 50


def test_chunks_are_bounded_by_what_their_rows_have_become(monkeypatch: pytest.MonkeyPatch) -> None:
    content = file_of({"type": "array", "items": "null"}, number(1000) + b"\x00")
    monkeypatch.setattr(decode_module, "_PART_BYTES", 12_000)
    chunks = [
        item for item in decode([(file, read_container(content)) for file in range(7)]) if isinstance(item, Chunk)
    ]
    assert [chunk.file.tolist() for chunk in chunks] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [chunk.unit_row.tolist() for chunk in chunks] == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_count_of_rows_beyond_the_bytes_is_damage() -> None:
    assert outcome(file_with([], b"\x02a\x02", MUCH)) == ([], ["block_corrupt"])
    assert outcome(file_with([{"name": "x", "type": "null"}], b"\x00" * 400, 201)) == ([], ["block_corrupt"])


@pytest.mark.parametrize("depth", [200, 100_000])
def test_a_chain_of_records_is_damage_and_ends_no_process(depth: int) -> None:
    assert outcome(file_of(["null", CHAIN], b"\x02" * depth + b"\x00")) == ([], ["block_corrupt"])
    (short,), damages = outcome(file_of(["null", CHAIN], b"\x02" * 3 + b"\x00"))
    assert (short["x"], damages) == ('{"next":{"next":{"next":null}}}', [])


def _doubled() -> Any:
    inner: Any = EMPTY
    for level in range(40):
        again = f"L{level - 1}" if level else "Nothing"
        fields = [{"name": "a", "type": inner}, {"name": "b", "type": again}]
        inner = {"type": "record", "name": f"L{level}", "fields": fields}
    return inner


def _deep() -> Any:
    kind: Any = "string"
    for _ in range(100):
        kind = {"type": "array", "items": kind}
    return kind


SCHEMAS = {
    "records that hold one another twice": ({"type": "array", "items": _doubled()}, "more than 10000 values"),
    "a record that holds itself": ({"type": "record", "name": "S", "fields": [{"name": "s", "type": "S"}]}, "itself"),
    "types in types": (_deep(), "nested deeper"),
    "a wide record": (
        {"type": "record", "name": "W", "fields": [{"name": f"n{i}", "type": "null"} for i in range(11_000)]},
        "more than 10000 types",
    ),
    "a wide enum": ({"type": "enum", "name": "E", "symbols": [f"S{i}" for i in range(200_000)]}, "bytes, more than"),
    "a long name": ({"type": "enum", "name": "E" * 1001, "symbols": ["A"]}, "a name of 1001 characters"),
    "a large fixed": ({"type": "fixed", "name": "F", "size": MUCH}, "a fixed of"),
    "a negative fixed": ({"type": "fixed", "name": "F", "size": -1}, "a fixed of [-1]"),
    "half a surrogate pair in a symbol": ({"type": "enum", "name": "E", "symbols": ["\ud800"]}, "surrogate"),
    "half a surrogate pair in a name": ({"type": "record", "name": "\udfff", "fields": []}, "surrogate"),
    "an unknown type with half of one": ("\ud800", "surrogate"),
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_beyond_measure_is_damage_of_its_file(name: str) -> None:
    kind, told = SCHEMAS[name]
    container = read_container(file_of(kind, b"\x00" * 100))
    (damage,) = container.damages
    assert (damage.reason, container.schema, container.blocks) == ("header", None, ())
    assert told in damage.detail
    assert len(damage.detail) < 400
    damage.detail.encode()


def test_too_many_columns_are_damage_of_their_file() -> None:
    fields = [{"name": f"n{i}", "type": ["null", "string"]} for i in range(2001)]
    (damage,) = read_container(file_with(fields, b"\x02a\x02" + b"\x00" * 2001)).damages
    assert (damage.reason, "2003 columns" in damage.detail) == ("header", True)
    (row,), damages = outcome(file_with(fields[:-3], b"\x02a\x02" + b"\x00" * 1998))
    assert (len(row), damages) == (2000, [])


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("boolean", b"\x02"),
        (["null", "boolean"], b"\x02\xff"),
        ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, b"\x01"),
        ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, b"\x04"),
        (["null", "bytes"], b"\x01\x02a"),
        (["null", "string"], b"\x01\x02a"),
        (["null", "long", "string"], b"\x02" + b"\x80" * 10 + b"\x01"),
        (["null", "long", "string"], b"\x02" + b"\xff" * 9 + b"\x7f"),
        (["string", "int"], b"\x02" + number(1 << 31)),
        ({"type": "array", "items": "long"}, number(-1) + number(2) + b"\x02\x00"),
        ({"type": "map", "values": "long"}, number(-1) + number(9) + b"\x02k\x02\x00"),
        ({"type": "map", "values": "bytes"}, b"\xff" * 9 + b"\x01" + b"\x00\x00"),
    ],
)
def test_what_the_letter_does_not_allow_is_damage(kind: Any, value: bytes) -> None:
    assert outcome(file_of(kind, value)) == ([], ["block_corrupt"])


def _block(codec: str, rows_text: int) -> bytes:
    return avro(rows("r", 1, campaign_name="x" * rows_text), codec=codec)


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_a_block_that_swells_beyond_the_limit_is_damage(codec: str) -> None:
    content = _block(codec, 3 << 20)
    size = len(read_container(content).blocks[0].data)
    assert read_container(content, size).damages == ()
    container = read_container(content, size - 1)
    (damage,) = container.damages
    assert (container.blocks, damage.reason, damage.block, damage.rows_lost) == ((), "block_too_large", 0, 1)
    assert "--max_block_mb" in damage.detail


@pytest.mark.slow
@pytest.mark.parametrize("codec", sorted(set(CODECS) - {"null"}))
def test_a_bomb_is_not_decompressed_whole(codec: str) -> None:
    content = _block(codec, 48 << 20)
    position = content.index(MARKER) + len(MARKER) + 1  # behind the count of the only block
    while content[position] > 127:  # its size
        position += 1
    data = content[position + 1 : -16]
    tracemalloc.start()
    try:
        with pytest.raises(BlockTooLarge):
            decompress(codec, data, 4 << 20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30 << 20


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_blocks_beyond_what_is_held_decompressed_are_read_the_same(codec: str) -> None:
    content = avro(rows("r", 40), codec=codec)
    whole = read_container(content)
    limit = max(block.size for block in whole.blocks)
    packed = read_container(content, limit)
    assert [bytes(block.plain()) for block in packed.blocks] == [bytes(block.data) for block in whole.blocks]
    held = sum(block.size for block in packed.blocks if block.packed is None)
    assert codec == "null" or held <= limit
    (chunk,) = decode([(0, packed)])
    assert isinstance(chunk, Chunk)
    assert chunk.table.to_pylist() == rows("r", 40)


def only_damage(container: Container) -> Damage:
    (damage,) = container.damages
    return damage


OTHER = with_fields(campaign_name=["null", "long"])


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_files_joined_as_bytes_are_read_one_after_the_other(codec: str) -> None:
    first, second = avro(rows("a", 6)), avro(rows("b", 6), codec=codec).replace(MARKER, b"another marker!!")
    assert outcome(first + second + first) == (rows("a", 6) + rows("b", 6) + rows("a", 6), [])
    assert outcome(avro([]) + second) == (rows("b", 6), [])
    # The first is cut off, inside a block or before its marker: it costs that block.
    for cut in (1, 16, 40):
        assert outcome(first[:-cut] + second) == (rows("a", 4) + rows("b", 6), ["truncated"])


def test_a_joined_file_of_another_schema_is_named_with_its_rows() -> None:
    first = avro(rows("a", 6))
    second = avro(rows("b", 5, campaign_name=7), schema=OTHER).replace(MARKER, b"another marker!!")
    damage = only_damage(read_container(first + second + first))
    assert (damage.reason, damage.rows_lost) == ("joined_files", 5)
    assert f"begins at byte {len(first)}" in damage.detail
    assert outcome(first + second + first)[0] == rows("a", 6) * 2


def test_blocks_behind_a_broken_joined_header_are_not_read_by_another_schema() -> None:
    first, second = avro(rows("a", 6)), avro(rows("b", 5, campaign_name=7), schema=OTHER)
    for broken in (second.replace(b"Obj\x01", b"Obk\x01"), second.replace(b"avro.schema", b"avro.schemb")):
        found, reasons = outcome(first + broken)
        assert found == rows("a", 6)
        assert reasons == ["joined_files"]


def test_a_run_with_hostile_files_keeps_the_others(tmp_path: Path) -> None:
    hostile = {
        path("items"): file_of({"type": "array", "items": "null"}, number(MUCH) + b"\x00"),
        path("chain"): file_of(["null", CHAIN], b"\x02" * 100_000 + b"\x00"),
        path("half"): file_of({"type": "enum", "name": "E", "symbols": ["\ud800"]}, b"\x00"),
        path("bomb"): _block("deflate", 3 << 20),
        path("joined"): avro(rows("b", 3)) + avro(rows("c", 3)),
    }
    source = write(tmp_path / "in", {path("a"): avro(rows("a")), **hostile})
    assert run_in_process(source, tmp_path / "out", f"--now={NOW}", "--max_block_mb=2") == 0
    actual = read_output(tmp_path / "out")
    assert actual.report["rows"]["events"] == 12 + 6
    found = sorted((Path(line["file"]).stem, line["reason"]) for line in actual.rejects)
    assert found == [
        ("bomb", "block_too_large"), ("chain", "block_corrupt"), ("half", "header"), ("items", "block_corrupt"),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["0", "1025", "-1", "2.5", "all", ""])
def test_a_block_size_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a size: write megabytes"):
        parse(["--input=in", "--output=out", f"--max_block_mb={text}"])
    assert parse(["--input=in", "--output=out", "--max_block_mb=1024"]).settings.max_block_mb == 1024


def test_a_process_leaves_word_of_the_file_it_is_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(progress.FOLDER_VARIABLE, str(tmp_path))
    progress.advance("read_ids", 1, 2)
    progress.reading("in/a-long-name.avro")
    progress.reading("in/b.avro")
    assert progress.files_read(str(tmp_path)) == {os.getpid(): "in/b.avro"}
    assert progress.totals(str(tmp_path))["read_ids"] == (1, 2)
    progress.reading("")
    assert progress.files_read(str(tmp_path)) == {}


def test_the_file_of_the_process_that_went_is_told_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(progress.FOLDER_VARIABLE, str(tmp_path))
    program = (
        "import os, sys\n"
        "from transforms.telemetry import progress\n"
        "progress.reading(sys.argv[1])\n"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program, "in/heavy.avro"], cwd=ROOT, check=False)
    assert done.returncode == -9
    progress.reading("in/other.avro")
    assert sorted(progress.files_read(str(tmp_path)).values()) == ["in/heavy.avro", "in/other.avro"]
    assert local.file_of_the_lost() == "in/heavy.avro"
    message = worker_lost(-9, "", local.file_of_the_lost())
    assert message.startswith("a worker process was killed")
    assert "while it was reading in/heavy.avro: run the same command with --workers 1" in message
