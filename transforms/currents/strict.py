"""Rows of one block by the letter of Avro: slow, exact about what is broken, and able to read every schema."""

from __future__ import annotations

import base64
import functools
import io
import json
from collections.abc import Sequence
from typing import Any

import fastavro
import orjson
import pyarrow as pa

from transforms.currents.container import Block, Schema
from transforms.currents.engine import ARROW_TYPES

JSON_COLUMN = {b"json": b"1"}
_TEXT_KINDS = ("string", "enum", "null")
_INT_LIMIT = 1 << 31


class StrictError(ValueError):
    """The block is not exactly its counted rows; ``reason`` is the short code of the damage."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@functools.lru_cache(maxsize=1024)
def _parsed(schema: Schema) -> tuple[Any, tuple[str, ...]]:
    ints = tuple(name for name, kind in schema.fields.items() if kind == "int")
    return fastavro.parse_schema(json.loads(schema.plain)), ints


def read_rows(schema: Schema, block: Block) -> list[dict[str, Any]]:
    """Exactly ``block.rows`` rows that take exactly the block's bytes.

    Raises:
        StrictError: ``invalid_utf8``, or ``block_corrupt`` for everything else.
    """
    parsed, ints = _parsed(schema)
    data = io.BytesIO(block.data)
    rows: list[dict[str, Any]] = []
    try:
        for _ in range(block.rows):
            row: Any = fastavro.schemaless_reader(data, parsed, None)
            for name in ints:
                if row[name] is not None and not -_INT_LIMIT <= row[name] < _INT_LIMIT:
                    raise ValueError(f"[{row[name]}] in column [{name}] is no 32-bit int")
            rows.append(row)
    except UnicodeDecodeError as error:
        raise StrictError("invalid_utf8", f"row {block.first_row + len(rows)} is not UTF-8: {error.reason}") from error
    except Exception as error:
        # Broken bytes make fastavro fail in many ways: EOFError, IndexError, OverflowError, MemoryError, ...
        name = type(error).__name__
        raise StrictError("block_corrupt", f"row {block.first_row + len(rows)}: {name} {error}") from error
    left = len(block.data) - data.tell()
    if left:
        raise StrictError("block_corrupt", f"{left} bytes behind the last of {block.rows} rows")
    return rows


def rows_to_table(schema: Schema, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> pa.Table:
    """Rows as an Arrow table; what Arrow columns are not made for here becomes compact JSON text."""
    fields = []
    arrays = []
    for name in columns:
        kind = schema.fields[name]
        values = [row[name] for row in rows]
        if kind in ARROW_TYPES or kind in _TEXT_KINDS:
            field = pa.field(name, ARROW_TYPES.get(kind, pa.string()))
        else:
            field = pa.field(name, pa.string(), metadata=JSON_COLUMN)
            values = [None if value is None else _json(value) for value in values]
        fields.append(field)
        arrays.append(pa.array(values, field.type))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _json(value: Any) -> str:
    return orjson.dumps(value, default=_base64, option=orjson.OPT_NON_STR_KEYS).decode()


def _base64(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"[{type(value).__name__}] is no Avro value")
