"""Whether decoded rows are what their bytes say: the place of every value is computed back from the values.

DataFusion takes any union branch that is not null's for the value's, so that one changed byte may move text from one
column into the next without an error. Here each row's encoded size is recomputed from its values, which must add up to
the data's, and each branch number is looked up where it must then stand. Some tenths of a microsecond a row.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from transforms.avro.schema import Schema

_FIXED_BYTES = {"boolean": 1, "float": 4, "double": 8}
Sizes = int | np.ndarray


@dataclass(frozen=True)
class _Column:
    """How a column is written; a tag is the byte of a union's branch, None outside a union."""

    name: str
    kind: str
    value_tag: int | None
    null_tag: int | None
    item_value_tag: int | None = None
    item_null_tag: int | None = None


def is_exact(schema: Schema, octets: np.ndarray, table: pa.Table, starts: Mapping[int, int]) -> bool:
    """Whether ``octets`` (uint8) are the plain Avro encoding of ``table``, of all columns of ``schema``.

    ``starts`` are rows and the bytes at which they must begin.

    Encodings other than every writer's usual one (padded numbers, arrays in several blocks) count as not exact.
    """
    columns = [_Measured(column, table.column(column.name)) for column in _columns(schema)]
    total = np.zeros(table.num_rows, np.int64)
    fixed = 0
    for column in columns:
        if isinstance(column.sizes, int):
            fixed += column.sizes
        else:
            total += column.sizes
    total += fixed
    position = np.cumsum(total)
    if position[-1] != len(octets):
        return False
    position -= total
    if (position[list(starts)] != list(starts.values())).any():
        return False
    shift = 0
    for column in columns:
        if not column.tags_stand(octets[shift:], position):
            return False
        if isinstance(column.sizes, int):
            shift += column.sizes
        else:
            position += column.sizes
    return True


@functools.lru_cache(maxsize=1024)
def _columns(schema: Schema) -> tuple[_Column, ...]:
    columns = []
    for field in json.loads(schema.plain)["fields"]:
        kind, value_tag, null_tag = _tags(field["type"])
        item_tags: tuple[int | None, int | None] = (None, None)
        if isinstance(kind, dict):
            _, *item_tags = _tags(kind["items"])  # type: ignore[assignment]
            kind = "array<string>"
        columns.append(_Column(field["name"], kind, value_tag, null_tag, *item_tags))
    return tuple(columns)


def _tags(kind: Any) -> tuple[Any, int | None, int | None]:
    if not isinstance(kind, list):
        return kind, None, None
    value = next(number for number, branch in enumerate(kind) if branch != "null")
    return kind[value], 2 * value, 2 * kind.index("null") if "null" in kind else None


def _valid(array: pa.Array) -> bool | np.ndarray:
    """True or False where all values are (not) there, else a 0 or 1 for each."""
    if not array.null_count:
        return True
    if array.null_count == len(array):
        return False
    bits = np.frombuffer(array.buffers()[0], np.uint8)
    return np.unpackbits(bits, count=array.offset + len(array), bitorder="little")[array.offset :]


def _offsets(array: pa.Array) -> np.ndarray:
    return np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]


def _varint_bytes(zigzag: np.ndarray) -> Sizes:
    """Encoded size of numbers that are zigzagged already (unsigned)."""
    if not len(zigzag):
        return 1
    least = max(1, (int(zigzag.min()).bit_length() + 6) // 7)
    most = max(1, (int(zigzag.max()).bit_length() + 6) // 7)
    if least == most:
        return least
    sizes = (zigzag >= zigzag.dtype.type(1 << 7 * least)).view(np.uint8)
    for bits in range(7 * least + 7, 7 * most, 7):
        sizes = sizes + (zigzag >= zigzag.dtype.type(1 << bits))
    return sizes + np.uint8(least)


def _value_sizes(array: pa.Array, kind: str) -> Sizes:
    """Encoded size of each value without its tag; anything for nulls."""
    if kind in _FIXED_BYTES:
        return _FIXED_BYTES[kind]
    if kind == "string":
        lengths = np.diff(_offsets(array)).view(np.uint32)
        prefix = _varint_bytes(lengths << np.uint32(1))
        if isinstance(prefix, int) and len(lengths) and lengths.min() == lengths.max():
            return prefix + int(lengths[0])
        return lengths + prefix
    width = 32 if kind == "int" else 64
    values = np.frombuffer(array.buffers()[1], f"int{width}")[array.offset : array.offset + len(array)]
    return _varint_bytes(((values << 1) ^ (values >> (width - 1))).view(f"uint{width}"))


def _with_tag(valid: bool | np.ndarray, sizes: Sizes, value_tag: int | None) -> Sizes:
    tag = 0 if value_tag is None else 1
    if valid is True:
        return sizes + tag
    if valid is False:
        return tag
    return valid * sizes + tag if isinstance(sizes, np.ndarray) else valid * np.uint8(sizes) + np.uint8(tag)


class _Measured:
    """A column with the encoded size of each of its values, tags included."""

    def __init__(self, column: _Column, values: pa.ChunkedArray) -> None:
        self.column = column
        array = values.chunk(0) if values.num_chunks == 1 else values.combine_chunks()
        self.valid = _valid(array)
        if column.kind == "array<string>":
            sizes: Sizes = self._measure_items(array)
        else:
            sizes = 0 if self.valid is False else _value_sizes(array, column.kind)
        self.sizes = _with_tag(self.valid, sizes, column.value_tag)

    def _measure_items(self, array: pa.Array) -> np.ndarray:
        column = self.column
        self.offsets = _offsets(array)
        counts = np.diff(self.offsets)
        self.item_valid = _valid(array.values)
        sizes = _with_tag(self.item_valid, _value_sizes(array.values, "string"), column.item_value_tag)
        ends = np.cumsum(np.broadcast_to(sizes, len(array.values)), dtype=np.int64)
        self.item_starts = np.concatenate([np.zeros(1, np.int64), ends])
        self.count_bytes = np.broadcast_to(_varint_bytes(counts.view(np.uint32) << np.uint32(1)), len(counts))
        self.counts = counts
        payload = self.item_starts[self.offsets[1:]] - self.item_starts[self.offsets[:-1]]
        return payload + self.count_bytes + (counts > 0)

    def tags_stand(self, octets: np.ndarray, position: np.ndarray) -> bool:
        """Whether each branch number stands where it must, the column's values beginning at ``position``."""
        column = self.column
        if column.value_tag is not None and not _stand(octets, position, self.valid, column.value_tag, column.null_tag):
            return False
        if column.kind == "boolean":
            return self._are_zero_or_one(octets[1:] if column.value_tag is not None else octets, position)
        if column.item_value_tag is None or not self.counts.any():
            return True
        first = position + self.count_bytes - self.item_starts[self.offsets[:-1]]
        if column.value_tag is not None:
            first = first + 1
        items = slice(self.offsets[0], self.offsets[-1])
        item_position = np.repeat(first, self.counts) + self.item_starts[:-1][items]
        valid = self.item_valid if isinstance(self.item_valid, bool) else self.item_valid[items]
        return _stand(octets, item_position, valid, column.item_value_tag, column.item_null_tag)

    def _are_zero_or_one(self, octets: np.ndarray, position: np.ndarray) -> bool:
        """Whether no boolean is another byte: the engine takes any for true."""
        return bool(((octets[position] <= 1) | np.logical_not(self.valid)).all())


def _stand(
    octets: np.ndarray, position: np.ndarray, valid: bool | np.ndarray, value_tag: int, null_tag: int | None
) -> bool:
    found = octets[position]
    if valid is True:
        return bool((found == value_tag).all())
    if valid is False:
        return bool((found == null_tag).all())
    # Tags are 0 and 2: twice the mask, or its complement.
    return bool((found == ((valid if value_tag else valid ^ 1) << 1)).all())
