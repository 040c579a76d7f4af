"""Rows by the letter of Avro in plain Python: the slow reader that decides, and bounds what it does by the bytes there.

fastavro takes numbers of any length, branches counted from the end, any byte for a boolean; it goes on for ever over
items that take no bytes, and ends the process on a chain of records. It only goes ahead where none of that can be.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from transforms.avro.bounds import LEAST_BYTES, free_values
from transforms.errors import DataError

MAX_DEPTH = 100  # records, arrays and maps in one another
_FLOAT, _DOUBLE = struct.Struct("<f"), struct.Struct("<d")
_INT_LIMIT = 1 << 31


class EncodingError(DataError):
    """The bytes are not what the schema says."""


class Bytes:
    """A block's plain bytes with the place that has been reached in them, and what may still be made of them."""

    def __init__(self, data: bytes, errors: str = "strict", most_free: int | None = None) -> None:
        """``most_free`` is what the file still allows of values without bytes; None where it does not count."""
        self.data = data
        self.position = 0
        self.errors = errors
        self.depth = 0
        own = free_values(len(data))
        self.most_free = self.free = own if most_free is None else min(own, most_free)
        self.withheld = own - self.free  # what the block alone might hold besides

    def long(self) -> int:
        shift = value = 0
        data, position = self.data, self.position
        while True:
            if position >= len(data):
                raise EncodingError("the bytes end inside a number")
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:
                raise EncodingError("a number of more than 64 bits")
        if value >> 64:
            raise EncodingError("a number of more than 64 bits")
        self.position = position
        return (value >> 1) ^ -(value & 1)

    def take(self, size: int) -> bytes:
        begin = self.position
        if size < 0 or size > len(self.data) - begin:
            raise EncodingError(f"a length of {size} where {len(self.data) - begin} bytes are left")
        self.position = begin + size
        return self.data[begin : self.position]

    def spend(self, count: int) -> None:
        """Counts values that take no bytes."""
        self.free -= count
        if self.free < 0:
            raise EncodingError(f"more than {self.most_free} values that take no bytes")

    def enter(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise EncodingError(f"values nested deeper than {MAX_DEPTH}")


Read = Callable[[Bytes], Any]


def row_reader(parsed: Any) -> Read:
    """A function that reads one row from where ``Bytes`` stands; ``parsed`` is a record, names resolved by fastavro.

    What it returns raises EncodingError, UnicodeDecodeError (``Bytes.errors`` is ``strict``).
    """
    return _reader(parsed, {})


def _reader(node: Any, named: dict[str, Read]) -> Read:
    if isinstance(node, list):
        return _union([_reader(branch, named) for branch in node])
    if isinstance(node, str):
        return _PRIMITIVES[node] if node in _PRIMITIVES else _reference(node, named)
    kind = node["type"]
    if kind == "array":
        return _array(_reader(node["items"], named), _least(node["items"]))
    if kind == "map":
        return _map(_reader(node["values"], named), 1 + _least(node["values"]))
    if kind == "record":
        fields = [(field["name"], _reader(field["type"], named)) for field in node["fields"]]
        free = sum(field["type"] == "null" or _is_empty_fixed(field["type"]) for field in node["fields"])
        read = _record(fields, free + (not fields))
    elif kind == "enum":
        read = _enum(node["symbols"])
    else:
        read = _fixed(node["size"])
    named[node["name"]] = read
    return read


def _least(node: Any) -> int:
    """Fewest bytes of a value; those of records named elsewhere count as none."""
    if isinstance(node, str):
        return LEAST_BYTES.get(node, 0)
    if isinstance(node, list):
        return 1 + min(map(_least, node), default=0)
    if node["type"] == "record":
        return sum(_least(field["type"]) for field in node["fields"])
    return int(node["size"]) if node["type"] == "fixed" else 1


def _is_empty_fixed(node: Any) -> bool:
    return isinstance(node, dict) and node["type"] == "fixed" and not node["size"]


def _null(source: Bytes) -> None:
    return None


def _boolean(source: Bytes) -> bool:
    byte = source.take(1)[0]
    if byte > 1:
        raise EncodingError(f"a boolean of {byte}")
    return byte == 1


def _int(source: Bytes) -> int:
    value = source.long()
    if not -_INT_LIMIT <= value < _INT_LIMIT:
        raise EncodingError(f"[{value}] is not a 32-bit int")
    return value


def _float(source: Bytes) -> float:
    value: float = _FLOAT.unpack(source.take(4))[0]
    return value


def _double(source: Bytes) -> float:
    value: float = _DOUBLE.unpack(source.take(8))[0]
    return value


def _bytes(source: Bytes) -> bytes:
    return source.take(source.long())


def _string(source: Bytes) -> str:
    return source.take(source.long()).decode("utf-8", source.errors)


_PRIMITIVES: dict[str, Read] = {
    "null": _null,
    "boolean": _boolean,
    "int": _int,
    "long": Bytes.long,
    "float": _float,
    "double": _double,
    "bytes": _bytes,
    "string": _string,
}


def _reference(name: str, named: dict[str, Read]) -> Read:
    def read(source: Bytes) -> Any:
        return named[name](source)

    return read


def _union(branches: list[Read]) -> Read:
    def read(source: Bytes) -> Any:
        return branches[_index(source, len(branches), "branch")](source)

    return read


def _enum(symbols: list[str]) -> Read:
    def read(source: Bytes) -> str:
        return symbols[_index(source, len(symbols), "symbol")]

    return read


def _index(source: Bytes, count: int, what: str) -> int:
    number = source.long()
    if not 0 <= number < count:
        raise EncodingError(f"{what} {number} of {count}")
    return number


def _fixed(size: int) -> Read:
    def read(source: Bytes) -> bytes:
        return source.take(size)

    return read


def _record(fields: list[tuple[str, Read]], free: int) -> Read:
    def read(source: Bytes) -> dict[str, Any]:
        source.enter()
        if free:
            source.spend(free)
        row = {name: field(source) for name, field in fields}
        source.depth -= 1
        return row

    return read


def _array(item: Read, least: int) -> Read:
    def read(source: Bytes) -> list[Any]:
        source.enter()
        items: list[Any] = []
        while count := source.long():
            size, begin = _begun(source, count, least)
            for _ in range(abs(count)):
                before = source.position
                items.append(item(source))
                if source.position == before:
                    source.spend(1)
            _check_size(source, size, begin)
        source.depth -= 1
        return items

    return read


def _map(value: Read, least: int) -> Read:
    def read(source: Bytes) -> dict[str, Any]:
        source.enter()
        entries: dict[str, Any] = {}
        while count := source.long():
            size, begin = _begun(source, count, least)
            for _ in range(abs(count)):
                key = _string(source)
                entries[key] = value(source)
            _check_size(source, size, begin)
        source.depth -= 1
        return entries

    return read


def _begun(source: Bytes, count: int, least: int) -> tuple[int | None, int]:
    """The bytes of a run of items where its count, being negative, has them follow; and where they begin."""
    size = source.long() if count < 0 else None
    left = len(source.data) - source.position
    if abs(count) * least > left or abs(count) > left + source.free:
        if abs(count) * least <= left and abs(count) <= left + source.free + source.withheld:
            source.spend(source.free + 1)  # the file's allowance is what is too small
        raise EncodingError(f"{abs(count)} items where {left} bytes are left")
    return size, source.position


def _check_size(source: Bytes, size: int | None, begin: int) -> None:
    if size is not None and source.position - begin != size:
        raise EncodingError(f"items of {source.position - begin} bytes where {size} are said")
