"""The container walk: codecs, and each kind of damage with exactly the rows kept and lost."""

from __future__ import annotations

import gzip
import io
import time
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.avro.codecs import CODECS
from transforms.avro.container import Container, Damage, read_container
from transforms.avro.schema import event_type_of

SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "dataexport.S3.inner.users.messages.email.Open",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "user_id", "type": ["null", "string"], "default": None},
        {"name": "time", "type": "int"},
    ],
}
ROWS = [{"id": f"event-{i:04}", "user_id": f"u{i}" if i % 2 else None, "time": 1_700_000_000 + i} for i in range(40)]
MARKER = b"0123456789abcdef"


def avro(rows: list[dict[str, Any]] = ROWS, schema: Any = SCHEMA, codec: str = "null", block_bytes: int = 150) -> bytes:
    file = io.BytesIO()
    fastavro.writer(file, schema, rows, codec=codec, sync_interval=block_bytes, sync_marker=MARKER)
    return file.getvalue()


def only_damage(container: Container) -> Damage:
    assert len(container.damages) == 1
    return container.damages[0]


def flipped(content: bytes, position: int, bits: int = 0xFF) -> bytes:
    return content[:position] + bytes([content[position] ^ bits]) + content[position + 1 :]


def with_columns(*fields: tuple[str, Any]) -> dict[str, Any]:
    return {**SCHEMA, "fields": [{"name": name, "type": kind} for name, kind in fields]}


def test_blocks_of_every_codec_are_the_plain_blocks() -> None:
    plain = read_container(avro())
    assert len(plain.blocks) >= 4
    assert plain.rows == len(ROWS)
    assert plain.schema is not None
    assert plain.schema.event_type == "users.messages.email.Open"
    assert plain.schema.simple
    for codec in CODECS:
        container = read_container(avro(codec=codec))
        assert container.damages == ()
        assert [(b.index, b.first_row, b.rows, b.data) for b in container.blocks] == [
            (b.index, b.first_row, b.rows, b.data) for b in plain.blocks
        ]


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_a_broken_block_costs_only_itself(codec: str) -> None:
    content = avro(codec=codec)
    whole = read_container(content)
    middle = whole.blocks[2]
    # In the null codec only the header of a block can be seen broken here.
    position = middle.offset + (1 if codec == "null" else 12)
    damaged = read_container(flipped(content, position))
    assert [b.index for b in damaged.blocks] == [b.index for b in whole.blocks if b.index != 2]
    assert damaged.blocks == tuple(b for b in whole.blocks if b.index != 2)
    damage = only_damage(damaged)
    assert (damage.reason, damage.block, damage.first_row) == ("block_corrupt", 2, middle.first_row)
    assert damage.rows_lost == middle.rows
    assert damaged.rows == len(ROWS)


@pytest.mark.parametrize("codec", sorted(set(CODECS) - {"null"}))
def test_bytes_behind_a_compressed_stream_are_damage(codec: str) -> None:
    content = avro(codec=codec, block_bytes=1 << 20)
    header = content[: read_container(content).blocks[0].offset]
    count = _varint(len(ROWS))
    # The size takes one byte where it is below 64.
    start = len(header) + len(count) + (1 if len(content) - 16 - len(header) - len(count) - 1 < 64 else 2)
    data = content[start:-16]
    assert content == header + count + _varint(len(data)) + data + MARKER
    longer = header + count + _varint(len(data) + 5) + data + b"extra" + MARKER
    container = read_container(longer)
    assert container.blocks == ()
    assert only_damage(container).reason == "block_corrupt"
    assert only_damage(container).rows_lost == len(ROWS)


def _varint(number: int) -> bytes:
    number <<= 1
    encoded = b""
    while number > 127:
        encoded += bytes([number & 127 | 128])
        number >>= 7
    return encoded + bytes([number])


def test_a_truncated_last_block_is_lost_with_its_count() -> None:
    content = avro()
    whole = read_container(content)
    last = whole.blocks[-1]
    for end in range(last.offset + 3, len(content)):
        container = read_container(content[:end])
        assert container.blocks == whole.blocks[:-1]
        damage = only_damage(container)
        assert (damage.reason, damage.block) == ("truncated", last.index)
        assert damage.rows_lost == last.rows
    inside_header = read_container(content[: last.offset + 1])
    assert only_damage(inside_header).reason == "truncated"
    assert read_container(content[: last.offset]).damages == ()


@pytest.mark.parametrize("index", [0, 2, -1])
def test_a_damaged_marker_costs_the_block_before_it(index: int) -> None:
    content = avro()
    whole = read_container(content)
    lost = whole.blocks[index]
    following = whole.blocks[lost.index + 1].offset if lost is not whole.blocks[-1] else len(content)
    container = read_container(flipped(content, following - 3))
    assert container.blocks == tuple(b for b in whole.blocks if b is not lost)
    assert only_damage(container).reason == "sync_marker"
    assert only_damage(container).rows_lost == lost.rows
    assert container.rows == len(ROWS)


def test_a_damaged_marker_in_the_header_costs_nothing_where_the_blocks_agree() -> None:
    content = avro()
    whole = read_container(content)
    container = read_container(flipped(content, whole.blocks[0].offset - 5))
    assert container.blocks == whole.blocks
    assert (only_damage(container).reason, only_damage(container).rows_lost) == ("header", 0)
    alone = read_container(flipped(avro(block_bytes=1 << 20), whole.blocks[0].offset - 5))
    assert (only_damage(alone).reason, only_damage(alone).rows_lost) == ("sync_marker", len(ROWS))


def test_of_two_broken_blocks_side_by_side_each_is_told_and_no_other_is_lost() -> None:
    content = avro()
    whole = read_container(content)
    content = flipped(flipped(content, whole.blocks[1].offset + 1), whole.blocks[2].offset + 1)
    container = read_container(content)
    assert [b.index for b in container.blocks] == [b.index for b in whole.blocks if b.index not in (1, 2)]
    assert [(d.reason, d.rows_lost) for d in container.damages] == [
        ("block_corrupt", whole.blocks[1].rows),
        ("block_corrupt", whole.blocks[2].rows),
    ]


def test_an_implausible_count_is_not_believed() -> None:
    content = avro(block_bytes=1 << 20)
    block = read_container(content).blocks[0]
    huge = content[: block.offset] + _varint(1 << 40) + content[block.offset + 1 :]
    container = read_container(huge)
    assert (container.rows, only_damage(container).rows_lost) == (0, None)


@pytest.mark.parametrize(
    ("content", "reason", "cure"),
    [
        (b"", "empty_file", "upload it again"),
        (b"id,time\n1,2\n", "not_avro", "--skip"),
        (gzip.compress(b"id,time\n1,2\n", mtime=0), "gzip", "--skip"),
        (gzip.compress(avro(), mtime=0)[:-9] + bytes(9), "gzip", "upload it again"),
        (avro()[:40], "truncated", "upload it again"),
        (b"Obj\x01\x03" + avro()[5:], "header", "upload"),
        (avro().replace(b"avro.schema", b"avro.schemb"), "header", "upload"),
        (avro().replace(b'"string"', b'"strinf"'), "header", "export"),
        (avro().replace(b'"fields"', b'"fieldz"'), "header", "export"),
        (avro(codec="deflate").replace(b"deflate", b"deflatf"), "codec_unknown", "write the file again"),
    ],
)
def test_a_file_that_cannot_be_read_at_all_is_damage_with_a_reason_and_a_cure(
    content: bytes, reason: str, cure: str
) -> None:
    container = read_container(content)
    damage = only_damage(container)
    assert (container.schema, container.blocks, damage.block) == (None, (), None)
    assert damage.reason == reason
    assert cure in damage.detail


@pytest.mark.parametrize(
    ("fields", "reason", "column"),
    [
        ([("id", "string")], "missing_column", "time"),
        ([("time", "int")], "missing_column", "id"),
        ([("id", "long"), ("time", "int")], "column_type", "id"),
        ([("id", "null"), ("time", "int")], "column_type", "id"),
        ([("id", "string"), ("time", "string")], "column_type", "time"),
        ([("id", "string"), ("time", {"type": "long", "logicalType": "time-micros"})], "column_type", "time"),
        ([("id", "string"), ("time", "int"), ("device_id", ["null", "long"])], "column_type", "device_id"),
    ],
)
def test_a_file_without_the_required_columns_is_damage_that_names_the_column(
    fields: list[tuple[str, Any]], reason: str, column: str
) -> None:
    values = {"id": "x", "time": 5, "device_id": None}
    if dict(fields).get("time") == "string":
        values["time"] = "5"
    if dict(fields).get("id") in ("long", "null"):
        values["id"] = 7 if dict(fields)["id"] == "long" else None
    container = read_container(avro([values] * 3, with_columns(*fields)))
    damage = only_damage(container)
    assert damage.reason == reason
    assert f"[{column}]" in damage.detail
    assert damage.rows_lost == container.rows == 3


def test_columns_that_are_always_null_or_long_are_fine() -> None:
    schema = with_columns(("id", ["null", "string"]), ("time", ["null", "long"]), ("user_id", "null"))
    container = read_container(avro([{"id": None, "time": None, "user_id": None}], schema))
    assert container.damages == ()
    assert container.schema is not None
    assert not container.schema.simple


def test_a_file_without_blocks_is_whole() -> None:
    container = read_container(avro([]))
    assert (container.blocks, container.damages, container.rows) == ((), (), 0)
    assert container.schema is not None


def test_event_types_in_record_names() -> None:
    assert event_type_of("dataexport.GCS.inner.users.canvas.Entry") == "users.canvas.Entry"
    assert event_type_of("braze.agentconsole.AgentExecuted") == "agentconsole.AgentExecuted"
    assert event_type_of("dataexport.S3.inner.new.Thing") == "new.Thing"
    assert event_type_of("Row") == "Row"


def test_a_size_that_a_block_only_declares_costs_the_blocks_behind_it_nothing() -> None:
    content = avro(codec="zstandard")
    whole = read_container(content)
    container = read_container(flipped(content, whole.blocks[2].offset + 7, 208))  # the frame's size in eight bytes
    assert [damage.reason for damage in container.damages] == ["block_too_large"]
    assert [block.offset for block in container.blocks] == [b.offset for b in whole.blocks if b.index != 2]


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_no_byte_makes_it_raise_and_good_blocks_stay(data: st.DataObject) -> None:
    content = avro(codec=data.draw(st.sampled_from(["null", "deflate", "snappy", "zstandard"])))
    whole = read_container(content)
    position = data.draw(st.integers(0, len(content) - 1))
    container = read_container(flipped(content, position, data.draw(st.integers(1, 255))))
    if position >= whole.blocks[0].offset:
        hit = max(b.index for b in whole.blocks if b.offset <= position)
        kept = {(b.offset, b.rows, b.data) for b in container.blocks}
        assert {(b.offset, b.rows, b.data) for b in whole.blocks if b.index != hit} <= kept
        assert len(container.blocks) + len(container.damages) == len(whole.blocks)
    assert read_container(content[:position]).rows <= len(ROWS)


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_no_bytes_make_it_raise(garbage: bytes) -> None:
    assert read_container(garbage).damages
    read_container(b"Obj\x01" + garbage)
    read_container(avro() + garbage)


def test_a_small_file_costs_a_small_part_of_a_tenth_of_a_millisecond() -> None:
    content = avro(ROWS[:20], block_bytes=1 << 20, codec="deflate")
    read_container(content)
    start = time.process_time()
    for _ in range(500):
        read_container(content)
    assert (time.process_time() - start) / 500 < 0.0001
