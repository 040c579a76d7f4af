"""Avro object container files by the letter of the specification, in plain Python: what the program is held to.

It shares nothing with the program. It reads from the first byte on and stops at the first one that is not as it
should be: rows before the block that is broken stand, nothing behind it does.
"""

from __future__ import annotations

import bz2
import json
import lzma
import struct
import zlib
from typing import Any, NamedTuple

import cramjam
import zstandard

MOST_PLAIN_BYTES = 8 << 20  # of a block; the mutants' own are much smaller
MOST_DEPTH = 60
MOST_EMPTY = 1 << 15  # values that take no bytes, of a file


class NotAvro(Exception):
    """The bytes are not Avro."""


class Beyond(Exception):
    """The bytes are Avro, but ask for more than this reader does: depth, or values without bytes."""


class Read(NamedTuple):
    """Rows of the blocks that are whole, by (offset of the block, row of the block); where reading stopped, or None."""

    schema: Any
    blocks: dict[int, list[Any]]
    stopped_at: int | None
    beyond: bool = False  # whether it stopped because it goes no further


class _In:
    def __init__(self, data: bytes, at: int = 0, empty: int = 0) -> None:
        self.data = data
        self.at = at
        self.empty = empty

    def raw(self, size: int) -> bytes:
        if size < 0 or self.at + size > len(self.data):
            raise NotAvro(f"{size} bytes at {self.at}")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self) -> int:
        encoded = 0
        for place in range(10):
            byte = self.raw(1)[0]
            encoded += (byte % 128) * 128**place
            if byte < 128:
                if encoded >= 2**64:
                    break
                return encoded // 2 if encoded % 2 == 0 else -(encoded // 2) - 1
        raise NotAvro("a number beyond 64 bits")


def read_file(content: bytes) -> Read:
    """Every whole block of the files that stand in ``content`` one behind the other, of the first one's schema.

    Raises:
        NotAvro: The first header is not one.
    """
    source = _In(content)
    schema, codec, marker = _header(source)
    blocks: dict[int, list[Any]] = {}
    empty = 0
    while source.at < len(content):
        offset = source.at
        try:
            if content[offset : offset + 4] == b"Obj\x01":
                another, codec, marker = _header(source)
                if another != schema:
                    return Read(schema, blocks, offset)
                continue
            count, size = source.number(), source.number()
            if count < 0:
                return Read(schema, blocks, offset)
            data = source.raw(size)
            if source.raw(16) != marker:
                return Read(schema, blocks, offset)
            blocks[offset], empty = _rows(schema, _plain(codec, data), count, empty)
        except Beyond:
            return Read(schema, blocks, offset, True)
        except (NotAvro, ValueError):
            return Read(schema, blocks, offset)
    return Read(schema, blocks, None)


def read_block_at(content: bytes, offset: int, schema: Any) -> list[Any]:
    """The block whose header is at ``offset``, by the header nearest before it: one that stands behind a broken one.

    Raises:
        NotAvro: It is not one.
        Beyond: This reader goes no further.
    """
    begin = offset
    while (begin := content.rfind(b"Obj\x01", 0, begin)) >= 0:
        try:
            another, codec, _ = _header(_In(content, begin))
        except NotAvro:
            continue
        if another != schema:
            raise NotAvro("a block of another schema")
        source = _In(content, offset)
        count, size = source.number(), source.number()
        return read_block(schema, _plain(codec, source.raw(size)), count)
    raise NotAvro("no header")


def read_block(schema: Any, plain: bytes, count: int) -> list[Any]:
    """Exactly ``count`` rows that take exactly all bytes; a text that is not UTF-8 has U+FFFD."""
    return _rows(schema, plain, count, 0)[0]


def _rows(schema: Any, plain: bytes, count: int, empty: int) -> tuple[list[Any], int]:
    """The rows, and the values without bytes up to here: ``empty`` of them are in the blocks before."""
    named: dict[str, Any] = {}
    source = _In(plain, 0, empty)
    rows = []
    try:
        _declare(schema, "", named)
        for _ in range(count):
            rows.append(_value(source, schema, "", named, 0))
    except (KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise NotAvro(f"not a schema: {error!r}") from error
    if source.at != len(plain):
        raise NotAvro("bytes behind the last row")
    return rows, source.empty


def _header(source: _In) -> tuple[Any, str, bytes]:
    if source.raw(4) != b"Obj\x01":
        raise NotAvro("magic")
    meta: dict[bytes, bytes] = {}
    while count := source.number():
        size = source.number() if count < 0 else None
        start = source.at
        for _ in range(abs(count)):
            key = source.raw(source.number())
            meta[key] = source.raw(source.number())
        if size is not None and source.at - start != size:
            raise NotAvro("size of the metadata")
    marker = source.raw(16)
    try:
        schema = json.loads(meta[b"avro.schema"])
        codec = meta.get(b"avro.codec", b"null").decode()
    except (KeyError, ValueError, RecursionError) as error:
        raise NotAvro("schema") from error
    return schema, codec, marker


def _plain(codec: str, data: bytes) -> bytes:
    try:
        if codec == "null":
            return data
        if codec == "deflate":
            return _deflate(data)
        if codec == "bzip2":
            return _stream(bz2.BZ2Decompressor(), data)
        if codec == "xz":
            return _stream(lzma.LZMADecompressor(), data)
        if codec == "zstandard":
            return _zstandard(data)
        if codec == "snappy":
            plain = bytes(cramjam.snappy.decompress_raw(data[:-4]))
            if len(data) < 5 or zlib.crc32(plain) != int.from_bytes(data[-4:], "big"):
                raise NotAvro("checksum")
            return plain
    except (ValueError, OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
        raise NotAvro(f"{codec}: {error}") from error
    except cramjam.DecompressionError as error:
        raise NotAvro(f"{codec}: {error}") from error
    raise NotAvro(f"codec {codec}")


def _deflate(data: bytes) -> bytes:
    inflating = zlib.decompressobj(-15)
    plain = inflating.decompress(data, MOST_PLAIN_BYTES)
    left = inflating.unused_data
    # fastavro leaves three of the four bytes of zlib's checksum behind the stream.
    if not inflating.eof or (left and (len(left) < 3 or not zlib.adler32(plain).to_bytes(4, "big").startswith(left))):
        raise NotAvro("deflate")
    return plain


def _stream(decompressing: Any, data: bytes) -> bytes:
    plain: bytes = decompressing.decompress(data, MOST_PLAIN_BYTES)
    if not decompressing.eof or decompressing.unused_data:
        raise NotAvro("cut, or followed by bytes")
    return plain


def _zstandard(data: bytes) -> bytes:
    decompressing = zstandard.ZstdDecompressor().decompressobj()
    plain = decompressing.decompress(data)
    if not decompressing.eof or decompressing.unused_data:
        raise NotAvro("cut, or followed by bytes")
    return plain


_PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")


def _full(node: Any, space: str) -> tuple[str, str]:
    """Full name and namespace of a named type."""
    name = node["name"]
    if "." in name:
        return name, name.rpartition(".")[0]
    space = node.get("namespace", space)
    return (f"{space}.{name}" if space else name), space


def _declare(node: Any, space: str, named: dict[str, Any]) -> None:
    if isinstance(node, list):
        for branch in node:
            _declare(branch, space, named)
    elif isinstance(node, dict):
        kind = node["type"]
        if kind in ("record", "error", "enum", "fixed"):
            full, space = _full(node, space)
            named[full] = (node, space)
            for field in node.get("fields", ()):
                _declare(field["type"], space, named)
        elif kind == "array":
            _declare(node["items"], space, named)
        elif kind == "map":
            _declare(node["values"], space, named)
        else:
            _declare(kind, space, named)


def _value(source: _In, node: Any, space: str, named: dict[str, Any], depth: int) -> Any:
    if depth > MOST_DEPTH:
        raise Beyond("depth")
    if isinstance(node, str):
        if node in _PRIMITIVES:
            return _primitive(source, node)
        full = node if "." in node or not space else f"{space}.{node}"
        found, space = named[full] if full in named else named[node]
        return _value(source, found, space, named, depth)
    if isinstance(node, list):
        return _value(source, node[_place(source, len(node))], space, named, depth + 1)
    kind = node["type"]
    if kind in ("record", "error"):
        _, space = _full(node, space)
        if not node["fields"]:
            _spend(source)
        return {field["name"]: _value(source, field["type"], space, named, depth + 1) for field in node["fields"]}
    if kind == "enum":
        return node["symbols"][_place(source, len(node["symbols"]))]
    if kind == "fixed":
        if not node["size"]:
            _spend(source)
        return source.raw(node["size"])
    if kind == "array":
        items: list[Any] = []
        for _ in _items(source):
            items.append(_value(source, node["items"], space, named, depth + 1))
        return items
    if kind == "map":
        entries = {}
        for _ in _items(source):
            key = _primitive(source, "string")
            entries[key] = _value(source, node["values"], space, named, depth + 1)
        return entries
    return _value(source, kind, space, named, depth + 1)


def _items(source: _In) -> Any:
    while count := source.number():
        size = source.number() if count < 0 else None
        start = source.at
        yield from range(abs(count))
        if size is not None and source.at - start != size:
            raise NotAvro("size of items")


def _place(source: _In, count: int) -> int:
    place = source.number()
    if not 0 <= place < count:
        raise NotAvro(f"place {place} of {count}")
    return place


def _spend(source: _In) -> None:
    source.empty += 1
    if source.empty > MOST_EMPTY:
        raise Beyond("values without bytes")


def _primitive(source: _In, kind: str) -> Any:
    if kind == "null":
        _spend(source)
        return None
    if kind == "boolean":
        byte = source.raw(1)[0]
        if byte > 1:
            raise NotAvro("boolean")
        return byte == 1
    if kind in ("int", "long"):
        value = source.number()
        if kind == "int" and not -(2**31) <= value < 2**31:
            raise NotAvro("int")
        return value
    if kind in ("float", "double"):
        return struct.unpack("<f" if kind == "float" else "<d", source.raw(4 if kind == "float" else 8))[0]
    data = source.raw(source.number())
    if kind == "bytes":
        return data
    return data.decode("utf-8", "replace")
