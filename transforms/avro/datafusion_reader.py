"""Blocks of one simple schema to one Arrow table in a single DataFusion query.

DataFusion's Avro reader never ends on a block with bytes left over behind its counted rows, and does not say where in
the data it stopped. So all blocks are joined into one, followed by a row that this module made itself, and the batch is
exactly as large as all rows: the reader stops there whatever is left, and only if every byte was taken by the right
column is the last row the one that was put there.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import mmap
import os
import struct
import tempfile
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from datafusion import SessionConfig, SessionContext

from transforms.avro.container import Block, Schema
from transforms.avro.encoding_check import is_exact
from transforms.errors import DataError

_MARKER = b"currents-decode\x00"
_END_TEXT = "end of chunk \u2021 5f0c9d"
_END_NUMBERS: dict[str, Any] = {"int": -73_901_113, "long": -(1 << 52) - 77, "float": -0.15625, "double": -0.8203125}

ARROW_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "array<string>": pa.list_(pa.string()),
}


class DataFusionError(DataError):
    """The engine did not read the blocks as exactly the rows that their headers count."""


def decode_blocks(schema: Schema, blocks: Sequence[Block], columns: Sequence[str]) -> pa.Table:
    """The rows of ``blocks`` in order, ``columns`` only (at least one, all of them in ``schema``, which is simple).

    Raises:
        DataFusionError: Some block is broken; which one is not known.
    """
    rows = sum(block.rows for block in blocks)
    end_row, _ = _end_row(schema)
    size = sum(block.size for block in blocks) + len(end_row)
    head = _header(schema) + _varint(rows + 1) + _varint(size)
    parts = [head, *(block.plain() for block in blocks), end_row, _MARKER]
    try:
        kinds = _arrow_schema(schema)
        with _file_of(parts) as path:
            return _decode_file(schema, kinds, blocks, columns, path, len(head), size)
    except DataFusionError:
        raise
    except Exception as error:
        raise DataFusionError(str(error)) from error
    except BaseException as error:
        # A Rust panic; pyo3 derives it from BaseException.
        if type(error).__name__ != "PanicException":
            raise
        raise DataFusionError(f"panic: {error}") from error


def _decode_file(
    schema: Schema, kinds: pa.Schema, blocks: Sequence[Block], columns: Sequence[str], path: str, start: int, size: int
) -> pa.Table:
    """The rows of the joined file at ``path``, in which they and the end row are ``size`` bytes from ``start`` on."""
    rows = sum(block.rows for block in blocks)
    _, end_values = _end_row(schema)
    batches = _query(path, kinds, rows + 1, tuple(columns))
    decoded = sum(batch.num_rows for batch in batches)
    if decoded != rows + 1:
        raise DataFusionError(f"{decoded - 1} rows instead of {rows}")
    table = pa.Table.from_batches(batches)
    table = pa.Table.from_arrays(
        [_as_type(table.column(name), ARROW_TYPES[schema.fields[name]]) for name in columns], names=list(columns)
    )
    # That all text is UTF-8 has been checked by the engine, value by value.
    if table.slice(rows, 1).to_pylist() != [{name: end_values[name] for name in columns}]:
        raise DataFusionError("the rows do not end where the blocks do")
    if len(table.column_names) == len(schema.fields):
        with open(path, "rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        # Not closed here: it ends with what looks at it, which may be a frame that a debugger or profiler holds.
        octets = np.frombuffer(content, np.uint8, size, start)
        if not is_exact(schema, octets, table, _starts(blocks)):
            raise DataFusionError("the rows are not what their bytes say")
    return table.slice(0, rows)


def _starts(blocks: Sequence[Block]) -> dict[int, int]:
    """The first row of each block, and of the end row, to the byte of the joined data at which it begins."""
    rows = itertools.accumulate((block.rows for block in blocks), initial=0)
    return dict(zip(rows, itertools.accumulate((block.size for block in blocks), initial=0), strict=True))


class _Contexts(threading.local):
    """A context a thread, since the batch size is set on it before each query."""

    def __init__(self) -> None:
        # One partition: the rows come in the order of the file.
        self.context = SessionContext(SessionConfig().with_target_partitions(1))


_contexts = _Contexts()


@functools.lru_cache(maxsize=1024)
def _arrow_schema(schema: Schema) -> pa.Schema:
    """What the engine makes of a schema: told, it does not open each chunk once more to find out."""
    with _file_of([_header(schema)]) as path:
        return _contexts.context.read_avro(path, file_extension="").schema()


def _query(path: str, kinds: pa.Schema, rows: int, columns: tuple[str, ...]) -> list[pa.RecordBatch]:
    context = _contexts.context
    context.sql(f"SET datafusion.execution.batch_size = {rows}")
    frame = context.read_avro(path, schema=kinds, file_extension="").select(*[f'"{name}"' for name in columns])
    batches: list[pa.RecordBatch] = frame.limit(rows).collect()
    return batches


def _as_type(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return column if column.type.equals(kind) else column.cast(kind)


class _Memory(threading.local):
    """A file in memory a thread, written over by chunk after chunk: its pages need not be made anew each time.

    It leaves nothing behind even when the process is killed.
    """

    def __init__(self) -> None:
        self.descriptor = -1

    def write(self, parts: Sequence[bytes | memoryview]) -> int:
        """The descriptor of a file of just these parts."""
        if self.descriptor < 0:
            self.descriptor = os.memfd_create("chunk")
        os.ftruncate(self.descriptor, sum(map(len, parts)))
        position = 0
        for first in range(0, len(parts), _PARTS_A_WRITE):
            some = parts[first : first + _PARTS_A_WRITE]
            size = sum(map(len, some))
            if os.pwritev(self.descriptor, some, position) != size:
                raise OSError(f"a file in memory took less than {size} bytes")
            position += size
        return self.descriptor


_PARTS_A_WRITE = 1024  # more buffers in one call no system takes
_memory = _Memory()


@contextlib.contextmanager
def _file_of(parts: Sequence[bytes | memoryview]) -> Iterator[str]:
    """The path of a file of these parts: in memory where the system has such."""
    if hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd"):
        yield f"/proc/self/fd/{_memory.write(parts)}"
        return
    descriptor, path = tempfile.mkstemp(suffix=".avro")
    try:
        with open(descriptor, "wb") as file:
            file.writelines(parts)
        yield path
    finally:
        os.unlink(path)


@functools.lru_cache(maxsize=1024)
def _header(schema: Schema) -> bytes:
    text = schema.plain
    return b"".join(
        [b"Obj\x01", _varint(1), _varint(11), b"avro.schema", _varint(len(text)), text, _varint(0), _MARKER]
    )


def _varint(number: int) -> bytes:
    number = (number << 1) ^ (number >> 63)
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


@functools.lru_cache(maxsize=1024)
def _end_row(schema: Schema) -> tuple[bytes, dict[str, Any]]:
    """The row behind the last one: its bytes and its values, none of them null."""
    text = _END_TEXT.encode()
    encoded_text = _varint(len(text)) + text
    encoded: list[bytes] = []
    values: dict[str, Any] = {}
    for field in json.loads(schema.plain)["fields"]:
        name, kind = field["name"], field["type"]
        if isinstance(kind, list):
            branch = next(number for number, one in enumerate(kind) if one != "null")
            encoded.append(_varint(branch))
            kind = kind[branch]
        if kind == "string":
            encoded.append(encoded_text)
            values[name] = _END_TEXT
        elif kind == "boolean":
            encoded.append(b"\x01")
            values[name] = True
        elif kind in ("int", "long"):
            encoded.append(_varint(_END_NUMBERS[kind]))
            values[name] = _END_NUMBERS[kind]
        elif kind in ("float", "double"):
            encoded.append(struct.pack("<f" if kind == "float" else "<d", _END_NUMBERS[kind]))
            values[name] = _END_NUMBERS[kind]
        else:
            items = kind["items"]
            branch_bytes = _varint(items.index("string")) if isinstance(items, list) else b""
            encoded.append(_varint(1) + branch_bytes + encoded_text + _varint(0))
            values[name] = [_END_TEXT]
    return b"".join(encoded), values
