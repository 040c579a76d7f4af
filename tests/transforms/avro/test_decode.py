"""Decoding blocks of many files: values, order, row numbers, and blocks that only decoding finds broken."""

from __future__ import annotations

import io
import json
import os
import random
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.avro import decode as decode_module
from transforms.avro.codecs import CODECS
from transforms.avro.container import Block, Container, read_container
from transforms.avro.datafusion_reader import DataFusionError, decode_blocks
from transforms.avro.decode import Chunk, FileDamage, decode
from transforms.avro.fastavro_reader import BlockDecodeError, read_table

SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "dataexport.S3.inner.users.behaviors.Purchase",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "user_id", "type": ["null", "string"], "default": None},
        {"name": "time", "type": "int"},
        {"name": "time_ms", "type": ["null", "long"]},
        {"name": "price", "type": ["null", "float"]},
        {"name": "score", "type": "double"},
        {"name": "archived", "type": ["boolean", "null"]},
        {"name": "media_urls", "type": ["null", {"type": "array", "items": ["null", "string"]}]},
        {"name": "properties", "type": ["string", "null"]},
        {"name": "reasons", "type": {"type": "array", "items": "string"}},
    ],
}


def make_rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    pick = random.Random(seed)
    return [
        {
            "id": f"{seed}-{i}",
            "user_id": pick.choice([None, f"ü{i}"]),
            "time": 1_700_000_000 + i,
            "time_ms": pick.choice([None, i * 10**12, -i, 2**63 - 1]),
            "price": pick.choice([None, 3.140000104904175, -0.0]),
            "score": i / 3,
            "archived": pick.choice([None, True, False]),
            "media_urls": pick.choice([None, [], ["x", None, "y" * 80]]),
            "properties": pick.choice([None, "", "{}" * i]),
            "reasons": ["q"] * (i % 3),
        }
        for i in range(count)
    ]


def avro(rows: Sequence[dict[str, Any]], schema: Any = SCHEMA, codec: str = "null", block_bytes: int = 300) -> bytes:
    file = io.BytesIO()
    fastavro.writer(file, schema, rows, codec=codec, sync_interval=block_bytes)
    return file.getvalue()


def split(items: Iterable[Chunk | FileDamage]) -> tuple[list[Chunk], list[FileDamage]]:
    listed = list(items)
    return [i for i in listed if isinstance(i, Chunk)], [i for i in listed if isinstance(i, FileDamage)]


def with_data(container: Container, index: int, data: bytes, rows: int | None = None) -> Container:
    """The container with one block's bytes replaced, as if they had been damaged on disk."""
    blocks = [
        Block(b.index, b.offset, b.first_row, b.rows if rows is None else rows, data) if b.index == index else b
        for b in container.blocks
    ]
    return Container(container.schema, tuple(blocks), container.damages, container.rows)


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_every_kind_of_simple_column_has_fastavros_values(codec: str) -> None:
    rows = make_rows(50)
    chunks, damages = split(decode([(7, read_container(avro(rows, codec=codec)))]))
    assert damages == []
    (chunk,) = chunks
    assert list(map(repr, chunk.table.to_pylist())) == list(map(repr, rows))
    assert chunk.table.schema.types == [
        *(pa.string(), pa.string(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.bool_()),
        *(pa.list_(pa.string()), pa.string(), pa.list_(pa.string())),
    ]
    assert chunk.file.tolist() == [7] * 50
    assert chunk.row.tolist() == chunk.unit_row.tolist() == list(range(50))
    assert [column.dtype.name for column in (chunk.file, chunk.row, chunk.unit_row)] == ["int32", "int64", "int64"]


def test_many_tiny_files_of_two_schemas_make_two_chunks_in_order() -> None:
    other = {**SCHEMA, "fields": SCHEMA["fields"][:3]}
    files = []
    expected: dict[bool, list[tuple[int, int, str]]] = {False: [], True: []}
    for number in range(300):
        rows = make_rows(number % 5, seed=number)
        small = number % 3 == 0
        files.append((number, read_container(avro(rows, other if small else SCHEMA))))
        expected[small] += [(number, i, row["id"]) for i, row in enumerate(rows)]
    chunks, _ = split(decode(files))
    assert [len(chunk.table.column_names) for chunk in chunks] == [10, 3]
    starts = np.cumsum([0, *(container.rows for _, container in files)])
    for chunk, small in zip(chunks, (False, True), strict=True):
        found = list(zip(chunk.file.tolist(), chunk.row.tolist(), chunk.table.column("id").to_pylist(), strict=True))
        assert found == expected[small]
        assert chunk.unit_row.tolist() == [starts[file] + row for file, row, _ in found]


def test_chunks_stay_below_their_limits_and_are_the_same_rows() -> None:
    rows = make_rows(200)
    container = read_container(avro(rows))
    largest = max(block.rows for block in container.blocks)
    chunks, _ = split(decode([(0, container), (1, container)], chunk_rows=30))
    assert len(chunks) > 10
    assert max(chunk.table.num_rows for chunk in chunks) <= 30
    assert largest <= 30
    assert np.concatenate([chunk.unit_row for chunk in chunks]).tolist() == list(range(400))
    tables = pa.concat_tables([chunk.table for chunk in chunks])
    assert tables.column("id").to_pylist() == [row["id"] for row in rows] * 2
    one_by_one, _ = split(decode([(0, container)], chunk_bytes=1))
    assert len(one_by_one) == len(container.blocks)


def test_held_blocks_of_many_schemas_are_bounded() -> None:
    containers = []
    for number in range(20):
        schema = {**SCHEMA, "name": f"dataexport.S3.inner.users.Type{number}"}
        containers.append((number, read_container(avro(make_rows(20), schema))))
    size = sum(len(block.data) for block in containers[0][1].blocks)
    read = 0

    def files() -> Iterable[tuple[int, Container]]:
        nonlocal read
        for item in containers:
            read += 1
            yield item

    next(iter(decode(files(), chunk_bytes=size + 1)))
    assert read <= 4
    chunks, _ = split(decode(files(), chunk_bytes=size + 1))
    assert sum(chunk.table.num_rows for chunk in chunks) == 400


def test_projection_takes_what_there_is_and_numbers_rows_the_same() -> None:
    rows = make_rows(60)
    files = [(0, read_container(avro(rows))), (1, read_container(avro(rows)))]
    (whole,), _ = split(decode(files))
    (narrow,), _ = split(decode(files, ["time", "device_id", "id"]))
    assert narrow.table.column_names == ["time", "id"]
    assert narrow.table.equals(whole.table.select(["time", "id"]))
    assert narrow.unit_row.tolist() == whole.unit_row.tolist()
    (empty,), _ = split(decode(files, ["device_id"]))
    assert (empty.table.column_names, len(empty.row)) == ([], 120)


def test_row_numbers_do_not_move_when_a_block_is_lost() -> None:
    rows = make_rows(60)
    content = bytearray(avro(rows))
    whole = read_container(bytes(content))
    lost = whole.blocks[1]
    content[whole.blocks[2].offset - 1] ^= 1
    files = [(3, read_container(bytes(content))), (4, whole)]
    (chunk,), damages = split(decode(files, ["id"]))
    assert damages == []
    kept = [i for i in range(60) if not lost.first_row <= i < lost.first_row + lost.rows]
    assert chunk.unit_row.tolist() == kept + list(range(60, 120))
    assert chunk.row.tolist() == kept + list(range(60))
    assert chunk.table.column("id").to_pylist() == [rows[i]["id"] for i in kept] + [row["id"] for row in rows]


BROKEN = {
    "bytes left over": lambda b: (bytes(b.data) + b"\x00\x01", b.rows, "block_corrupt"),
    "one byte short": lambda b: (bytes(b.data)[:-1], b.rows, "block_corrupt"),
    "count too small": lambda b: (bytes(b.data), b.rows - 1, "block_corrupt"),
    "count too large": lambda b: (bytes(b.data), b.rows + 1, "block_corrupt"),
    "negative length": lambda b: (b"\x01" + bytes(b.data)[1:], b.rows, "block_corrupt"),
    "not UTF-8, and left over": lambda b: (
        bytes(b.data)[:1] + b"\xff" + bytes(b.data)[2:] + b"\x00",
        b.rows,
        "invalid_utf8",
    ),
    "not UTF-8, and short": lambda b: (bytes(b.data)[:1] + b"\xff" + bytes(b.data)[2:-1], b.rows, "invalid_utf8"),
    "not UTF-8, and one row more": lambda b: (
        bytes(b.data)[:1] + b"\xff" + bytes(b.data)[2:],
        b.rows + 1,
        "invalid_utf8",
    ),
}


@pytest.mark.parametrize("index", [0, 3, -1])
@pytest.mark.parametrize(
    ("what", "columns"),
    [(what, columns) for what in sorted(BROKEN) for columns in (None, ["time", "id"], ["score"])],
)
def test_a_block_that_does_not_decode_is_named_and_the_others_stay(
    what: str, index: int, columns: list[str] | None
) -> None:
    rows = make_rows(80)
    whole = read_container(avro(rows))
    block = whole.blocks[index]
    data, count, reason = BROKEN[what](block)
    files = [(0, whole), (1, with_data(whole, block.index, data, count)), (2, whole)]
    (chunk,), (damage,) = split(decode(files, columns))
    assert damage.file == 1
    assert (damage.damage.reason, damage.damage.block, damage.damage.rows_lost) == (reason, block.index, count)
    assert damage.damage.first_row == block.first_row
    kept = [row for i, row in enumerate(rows) if not block.first_row <= i < block.first_row + block.rows]
    expected = [{name: row[name] for name in columns or row} for row in rows + kept + rows]
    assert list(map(repr, chunk.table.to_pylist())) == list(map(repr, expected))
    assert chunk.file.tolist() == [0] * 80 + [1] * len(kept) + [2] * 80


def test_a_number_too_large_for_its_column_is_damage() -> None:
    as_long = {**SCHEMA, "fields": [*SCHEMA["fields"][:2], {"name": "time", "type": "long"}]}
    as_int = {**SCHEMA, "fields": SCHEMA["fields"][:3]}
    large = read_container(avro([{"id": "x", "user_id": None, "time": 1 << 33}], as_long))
    declared = read_container(avro(make_rows(1), as_int))
    container = Container(declared.schema, large.blocks, (), 1)
    chunks, (damage,) = split(decode([(0, container)]))
    assert (chunks, damage.damage.reason) == ([], "block_corrupt")


def test_a_character_torn_between_two_values_costs_both() -> None:
    first, second = ({**row, "properties": None, "reasons": []} for row in make_rows(2))
    container = read_container(avro([{**first, "user_id": "mA"}, {**second, "user_id": "Bm"}]))
    torn = bytes(container.blocks[0].data).replace(b"A", b"\xc3").replace(b"B", b"\xa9")
    (chunk,), damages = split(decode([(0, with_data(container, 0, torn))], ["id", "user_id"]))
    assert damages == []
    assert chunk.table["user_id"].to_pylist() == ["m\ufffd", "\ufffdm"]
    assert {name: mask.tolist() for name, mask in chunk.broken.items()} == {"user_id": [True, True]}


def test_a_changed_byte_that_moves_text_into_the_next_column_is_seen() -> None:
    """A shorter text whose last byte then passes for a union branch: the engine takes it without an error."""
    rows = [{**row, "properties": "xyz", "reasons": [], "archived": None} for row in make_rows(3)]
    schema = {**SCHEMA, "fields": [*SCHEMA["fields"], {"name": "carrier", "type": ["null", "string"]}]}
    schema["fields"] = [field for field in schema["fields"] if field["name"] != "reasons"]
    container = read_container(avro([{**row, "carrier": None} for row in rows], schema))
    data = bytes(container.blocks[0].data)
    moved = data.replace(b"\x06xyz", b"\x04xyz", 1)
    assert moved != data
    chunks, (damage,) = split(decode([(0, with_data(container, 0, moved))]))
    assert (chunks, damage.damage.reason) == ([], "block_corrupt")


def test_a_row_that_runs_over_the_end_of_its_block_is_seen() -> None:
    """Joined, the bytes below are two good rows; only the first block's end tells that they are not."""
    schema = {**SCHEMA, "fields": [SCHEMA["fields"][2], SCHEMA["fields"][0]]}
    container = read_container(avro([{"time": 1, "id": "abc"}, {"time": 1, "id": "x\x02z"}], schema, block_bytes=1))
    assert [block.data for block in container.blocks] == [b"\x02\x06abc", b"\x02\x06x\x02z"]
    (chunk,), (damage,) = split(decode([(0, with_data(container, 0, b"\x02\x06a"))]))
    assert damage.damage.block == 0
    assert chunk.table.to_pylist() == [{"time": 1, "id": "x\x02z"}]


def test_a_block_that_only_the_engine_refuses_is_read_strictly(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = make_rows(80)
    container = read_container(avro(rows))

    def refuses_one(schema: Any, blocks: Sequence[Block], columns: Sequence[str]) -> pa.Table:
        if any(block.index == 2 for block in blocks):
            raise DataFusionError("not today")
        return decode_blocks(schema, blocks, columns)

    monkeypatch.setattr(decode_module, "decode_blocks", refuses_one)
    (chunk,), damages = split(decode([(0, container)]))
    assert damages == []
    assert list(map(repr, chunk.table.to_pylist())) == list(map(repr, rows))


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_schemas_that_are_not_simple_come_as_json_text(codec: str) -> None:
    schema = {
        "type": "record",
        "name": "Row",
        "namespace": "x.inner.users",
        "fields": [
            {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
            {"name": "time", "type": ["null", "long"]},
            {"name": "user_id", "type": "null"},
            {"name": "kind", "type": {"type": "enum", "name": "E", "symbols": ["A", "B"]}},
            {"name": "tags", "type": {"type": "map", "values": "long"}},
            {"name": "raw", "type": ["null", "bytes"]},
            {"name": "either", "type": ["null", "string", "long"]},
            {"name": "day", "type": {"type": "int", "logicalType": "date"}},
            {
                "name": "nested",
                "type": {"type": "record", "name": "N", "fields": [{"name": "a", "type": "bytes"}]},
            },
        ],
    }
    plain = json.loads(json.dumps(schema).replace(', "logicalType": "uuid"', "").replace(', "logicalType": "date"', ""))
    uuid = "6f9619ff-8b86-d011-b42d-00c04fc964ff"
    fixed: dict[str, Any] = {"time": 5, "user_id": None, "kind": "B", "tags": {"k": 1}, "day": 3}
    rows = [
        {"id": uuid, **fixed, "raw": b"\xff\x00", "either": 7, "nested": {"a": b"z"}},
        {"id": uuid, **fixed, "raw": None, "either": "s", "nested": {"a": b""}},
    ]
    content = avro(rows, plain, codec)
    declared = json.dumps(schema, separators=(",", ":")).encode()
    container = read_container(_with_schema(content, declared))
    assert container.schema is not None
    assert (container.schema.event_type, container.schema.simple) == ("users.Row", False)
    (chunk,), damages = split(decode([(0, container)]))
    assert damages == []
    expected = {**fixed, "id": uuid, "tags": '{"k":1}'}
    assert chunk.table.to_pylist() == [
        {**expected, "raw": b"\xff\x00", "either": "7", "nested": '{"a":"z"}'},
        {**expected, "raw": None, "either": '"s"', "nested": '{"a":""}'},
    ]
    as_json = [field.name for field in chunk.table.schema if field.metadata]
    assert as_json == ["tags", "either", "nested"]
    assert chunk.table.schema.field("tags").metadata == {b"json": b"1"}
    broken = with_data(container, 0, bytes(container.blocks[0].data) + b"\x00")
    chunks, (damage,) = split(decode([(0, broken), (1, container)]))
    assert (damage.file, [chunk.file.tolist() for chunk in chunks]) == (0, [[1, 1]])


def _with_schema(content: bytes, text: bytes) -> bytes:
    """The file with another schema in its header: what a writer that knows logical types leaves."""
    reader = fastavro.reader(io.BytesIO(content))
    codec = reader.metadata["avro.codec"].encode()
    head = b"Obj\x01" + b"\x04"
    for part in (b"avro.codec", codec, b"avro.schema", text):
        head += _length(len(part)) + part
    marker = content[-16:]
    return head + b"\x00" + content[content.index(marker) :]


def _length(number: int) -> bytes:
    number <<= 1
    encoded = b""
    while number > 127:
        encoded += bytes([number & 127 | 128])
        number >>= 7
    return encoded + bytes([number])


def test_threads_decode_side_by_side() -> None:
    containers = [read_container(avro(make_rows(20 + 30 * number, seed=number))) for number in range(8)]

    def ids(number: int) -> list[str]:
        found: list[str] = []
        for _ in range(10):
            (chunk,), _ = split(decode([(0, containers[number])]))
            found = chunk.table.column("id").to_pylist()
        return found

    with ThreadPoolExecutor(4) as pool:
        assert list(map(len, pool.map(ids, range(8)))) == [container.rows for container in containers]


def test_no_file_is_left_open() -> None:
    container = read_container(avro(make_rows(30)))
    list(decode([(0, container)]))
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(20):
        list(decode([(0, container), (1, with_data(container, 0, b"\x00" * 100))]))
    assert (len(os.listdir("/proc/self/fd")) if before else 0) == before


FUZZED_ROWS = make_rows(25, seed=5)
FUZZED = avro(FUZZED_ROWS, block_bytes=200)


@pytest.mark.slow
@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_changed_byte_is_seen_exactly_where_the_strict_reader_sees_it(data: st.DataObject) -> None:
    whole = read_container(FUZZED)
    position = data.draw(st.integers(whole.blocks[0].offset, len(FUZZED) - 1))
    content = bytearray(FUZZED)
    content[position] ^= data.draw(st.sampled_from([1, 2, 4, 8, 16, 32, 64, 128, 255]))
    container = read_container(bytes(content))
    expected: list[dict[str, Any]] = []
    bad: list[int] = []
    assert container.schema is not None
    for block in container.blocks:
        try:
            expected += read_table(container.schema, block, list(container.schema.fields))[0].to_pylist()
        except BlockDecodeError:
            bad.append(block.index)
    chunks, damages = split(decode([(0, whole), (1, container)]))
    assert [damage.damage.block for damage in damages] == bad
    (chunk,) = chunks
    assert list(map(repr, chunk.table.slice(25).to_pylist())) == list(map(repr, expected))
