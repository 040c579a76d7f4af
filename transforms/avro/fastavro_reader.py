"""Rows of one block by the letter of Avro: slow, exact about what is broken, and able to read every schema."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import fastavro
import pyarrow as pa

from transforms.avro.bounds import Allowance
from transforms.avro.broken_text import ESCAPED, repair_rows
from transforms.avro.container import Block, Schema
from transforms.avro.datafusion_reader import ARROW_TYPES
from transforms.avro.logical_types import json_of, named_types, plain_value
from transforms.avro.spec_reader import Bytes, EncodingError, Read, row_reader
from transforms.errors import DataError

JSON_COLUMN = {b"json": b"1"}
_PLAIN_TYPES = {
    **ARROW_TYPES, "enum": pa.string(), "null": pa.string(), "bytes": pa.binary(), "fixed": pa.binary(),
}  # fmt: skip
_INT_LIMIT = 1 << 31
_BATCH_ROWS = 8192


class BlockDecodeError(DataError):
    """The block is not exactly its counted rows; ``reason`` is the short code of the damage."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class _Reader(NamedTuple):
    parsed: Any
    by_letter: Read
    ints: tuple[str, ...]


@functools.lru_cache(maxsize=1024)
def _reader(schema: Schema) -> _Reader:
    parsed = fastavro.parse_schema(json.loads(schema.plain))
    ints = tuple(name for name, kind in schema.fields.items() if kind == "int")
    return _Reader(parsed, row_reader(parsed), ints)


def read_table(
    schema: Schema, block: Block, columns: Sequence[str], allowance: Allowance | None = None
) -> tuple[pa.Table, dict[str, list[int]]]:
    """Exactly ``block.rows`` rows that take exactly the block's bytes, and where a text that is not UTF-8 was replaced:
    positions of rows, by column.

    Such a text is often the first sign that a length is broken. So it is repaired only where the block is exactly its
    rows whatever stands in its texts. Never are all rows there at once as Python's objects, which take a hundred times
    more. What the block has of values without bytes is taken from the ``allowance`` of its file, if one is given.

    Raises:
        BlockDecodeError: ``invalid_utf8``, or ``block_corrupt`` for everything else.
    """
    left = allowance.left if allowance else 0
    try:
        batches = _batches(schema, block, allowance=allowance)
        return pa.concat_tables([rows_to_table(schema, rows, columns) for rows in batches]), {}
    except BlockDecodeError as error:
        if error.reason != "invalid_utf8":
            raise
        if allowance:
            allowance.left = left  # the same values are read once more
        try:
            return _mended_table(schema, block, columns, allowance)
        except BlockDecodeError:
            raise error from None


def _mended_table(
    schema: Schema, block: Block, columns: Sequence[str], allowance: Allowance | None
) -> tuple[pa.Table, dict[str, list[int]]]:
    tables: list[pa.Table] = []
    broken: dict[str, list[int]] = {}
    for rows in _batches(schema, block, ESCAPED, allowance):
        repair_rows(rows, columns, sum(table.num_rows for table in tables), broken)
        tables.append(rows_to_table(schema, rows, columns))
    return pa.concat_tables(tables), broken


def _batches(
    schema: Schema, block: Block, errors: str = "strict", allowance: Allowance | None = None
) -> Iterator[list[dict[str, Any]]]:
    """The block's rows, some thousands at a time; ``errors`` is how texts that are not UTF-8 are decoded."""
    reader = _reader(schema)
    # Elsewhere the bytes bound the values.
    counted = allowance if schema.careful else None
    if counted and counted.left < 0:
        raise BlockDecodeError("block_corrupt", f"the file has more than {counted.most} values that take no bytes")
    source = Bytes(bytes(block.plain()), errors, counted.left if counted else None)
    done = 0
    try:
        while done < block.rows:
            count = min(_BATCH_ROWS, block.rows - done)
            rows = None if schema.careful else _read_ahead(reader, source, count)
            if rows is None:
                rows = []
                for _ in range(count):
                    rows.append(reader.by_letter(source))
                    done += 1
            else:
                done += count
            yield rows
    except UnicodeDecodeError as error:
        raise BlockDecodeError("invalid_utf8", f"row {block.first_row + done} is not UTF-8: {error.reason}") from error
    except EncodingError as error:
        raise BlockDecodeError("block_corrupt", f"row {block.first_row + done}: {error}") from error
    finally:
        if counted:
            counted.left -= source.most_free - source.free
    left = len(source.data) - source.position
    if left:
        raise BlockDecodeError("block_corrupt", f"{left} bytes after the last of {block.rows} rows")


def _read_ahead(reader: _Reader, source: Bytes, count: int) -> list[dict[str, Any]] | None:
    """The next rows by fastavro, much faster than by the letter; None where it does not write them back as they were.

    Its reader takes a good deal for Avro that is not; what it then writes is Avro, and so is not the same.
    """
    data, begin = source.data, source.position
    stream = io.BytesIO(data)
    stream.seek(begin)
    written = io.BytesIO()
    rows: list[dict[str, Any]] = []
    try:
        for _ in range(count):
            row: Any = fastavro.schemaless_reader(stream, reader.parsed, None)
            rows.append(row)
            fastavro.schemaless_writer(written, reader.parsed, row)
            for name in reader.ints:
                if row[name] is not None and not -_INT_LIMIT <= row[name] < _INT_LIMIT:
                    return None
    except Exception:  # broken bytes make it fail in many ways: EOFError, IndexError, OverflowError, MemoryError, ...
        return None
    end = stream.tell()
    if end - begin != written.tell() or memoryview(data)[begin:end] != written.getbuffer():
        return None
    source.position = end
    return rows


def rows_to_table(schema: Schema, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> pa.Table:
    """Rows as an Arrow table; nested values and unions become JSON text, logical types in them what they mean."""
    declared, names = _declared(schema)
    fields = []
    arrays = []
    for name in columns:
        kind = schema.fields[name]
        values = [row[name] for row in rows]
        if kind in _PLAIN_TYPES:
            field = pa.field(name, _PLAIN_TYPES[kind])
        else:
            field = pa.field(name, pa.string(), metadata=JSON_COLUMN)
            given = (plain_value(value, declared[name], names) for value in values)
            values = [None if value is None else json_of(value) for value in given]
        fields.append(field)
        arrays.append(pa.array(values, field.type))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


@functools.lru_cache(maxsize=1024)
def _declared(schema: Schema) -> tuple[dict[str, Any], dict[str, Any]]:
    """Declared types by column, and by name."""
    declared = json.loads(schema.json)
    return {field["name"]: field["type"] for field in declared["fields"]}, named_types(declared)
