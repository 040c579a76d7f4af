"""The header of an Avro file, and the numbers in it and in front of blocks."""

from __future__ import annotations

from transforms.avro.schema import Schema, SchemaError, parse_schema
from transforms.errors import DataError

MAGIC = b"Obj\x01"
MARKER_BYTES = 16
_MAX_VARINT_BITS = 63


class TruncatedData(DataError):
    """The content ends inside a value."""


def long_at(content: bytes, position: int) -> tuple[int, int]:
    """A zigzag varint and the position behind it. Raises TruncatedData at the end, ValueError beyond 64 bits."""
    shift = value = 0
    try:
        while True:
            byte = content[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> 64:
                    break
                return (value >> 1) ^ -(value & 1), position
            shift += 7
            if shift > _MAX_VARINT_BITS:
                break
    except IndexError:
        raise TruncatedData from None
    raise ValueError(f"a number of more than 64 bits at byte {position}")


def _bytes(content: bytes, position: int) -> tuple[bytes, int]:
    size, position = long_at(content, position)
    if size < 0:
        raise ValueError(f"a length of {size} at byte {position}")
    end = position + size
    if end > len(content):
        raise TruncatedData
    return content[position:end], end


def open_header(content: bytes, offset: int) -> tuple[Schema | SchemaError, str, int] | None:
    """Schema, codec and the position of the sync marker by the header at ``offset``; None if that is not one."""
    try:
        meta, start = read_header(content, offset)
    except (TruncatedData, ValueError):
        return None
    schema = parse_schema(meta.get(b"avro.schema", b""))
    if isinstance(schema, SchemaError) and schema.reason == "header":
        return None
    return schema, codec_of(meta), start


def codec_of(meta: dict[bytes, bytes]) -> str:
    return meta.get(b"avro.codec", b"null").decode("utf-8", "replace")


def read_header(content: bytes, offset: int = 0) -> tuple[dict[bytes, bytes], int]:
    """The metadata of the header at ``offset`` and the position of its sync marker."""
    meta = {}
    position = offset + len(MAGIC)
    while True:
        entries, position = long_at(content, position)
        if entries == 0:
            break
        size = None
        if entries < 0:
            entries = -entries
            size, position = long_at(content, position)
        begin = position
        for _ in range(entries):
            key, position = _bytes(content, position)
            meta[key], position = _bytes(content, position)
        if size is not None and position - begin != size:
            raise ValueError(f"metadata of {position - begin} bytes where {size} are said")
    if position + MARKER_BYTES > len(content):
        raise TruncatedData
    return meta, position


def count_rows(content: bytes, start: int) -> tuple[int | None, int]:
    """Rows by the block headers of a file whose rows cannot be read, and where it ends: there or where another begins.

    The rows are None as soon as a header is not where it should be.
    """
    marker = content[start : start + MARKER_BYTES]
    position = start + MARKER_BYTES
    rows = 0
    while position < len(content) and not content.startswith(MAGIC, position):
        try:
            count, position = long_at(content, position)
            size, position = long_at(content, position)
        except (TruncatedData, ValueError):
            return None, len(content)
        if count < 0 or size < 0 or content[position + size : position + size + MARKER_BYTES] != marker:
            return None, len(content)
        rows += count
        position += size + MARKER_BYTES
    return rows, position
