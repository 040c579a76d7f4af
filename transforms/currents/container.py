"""The Avro object container file, walked block by block so that damage costs only the blocks it is in.

Engines stop at the first broken byte or, worse, read on without a word; here every block is checked and whole blocks
before and after a damaged one are kept.
"""

from __future__ import annotations

from dataclasses import dataclass

from transforms.currents.codecs import CODECS, CodecError, decompress
from transforms.currents.schema import Schema, SchemaError, parse_schema

__all__ = ["Block", "Container", "Damage", "Schema", "read_container"]

_MAGIC = b"Obj\x01"
_GZIP_MAGIC = b"\x1f\x8b"
_MARKER_BYTES = 16
_MAX_VARINT_BITS = 63
# Best ratio of deflate; a count beyond it in a block that cannot be decompressed is not believed.
_MAX_RATIO = 1032


@dataclass(frozen=True)
class Block:
    """One whole block.

    Attributes:
        index: Number of the block in its file, lost blocks included.
        offset: Byte of the file at which the block's header begins.
        first_row: Row of the file at which it begins, by the counts of the block headers before it.
        rows: Count of its header.
        data: Its rows, decompressed.
    """

    index: int
    offset: int
    first_row: int
    rows: int
    data: bytes | memoryview


@dataclass(frozen=True)
class Damage:
    """What could not be read of a file.

    Attributes:
        reason: Short code, such as ``gzip`` or ``block_corrupt``.
        detail: What is wrong, and the cure.
        block: Number of the lost block; None for a whole file.
        first_row: Row of the file at which the loss begins; None where unknown.
        rows_lost: None where the block header does not tell.
        bytes_lost: of the file, where a block's rows are not known; None for a whole file.
    """

    reason: str
    detail: str
    block: int | None = None
    first_row: int | None = None
    rows_lost: int | None = None
    bytes_lost: int | None = None


@dataclass(frozen=True)
class Container:
    """One file: its whole blocks, what is damaged, and its rows by all block headers, lost blocks included."""

    schema: Schema | None
    blocks: tuple[Block, ...]
    damages: tuple[Damage, ...]
    rows: int


class _Cut(Exception):
    """The content ends inside a value."""


def _whole_file(reason: str, detail: str, rows_lost: int | None = None) -> Container:
    return Container(None, (), (Damage(reason, detail, None, 0, rows_lost),), rows_lost or 0)


def read_container(content: bytes) -> Container:
    """Opens, checks and decompresses one file. Bad data never raises: it is in ``damages``."""
    if not content:
        return _whole_file("empty_file", "the file has 0 bytes: upload it again, or leave it out with --skip")
    if content[:2] == _GZIP_MAGIC:
        return _whole_file("gzip", "the file is a gzip of something: decompress it (gunzip) and run again")
    if content[:4] != _MAGIC:
        return _whole_file(
            "not_avro",
            f"the file begins with {content[:16]!r}, not with Avro's {_MAGIC!r}: give Avro files, or --skip it",
        )
    try:
        meta, start = _header(content)
    except _Cut:
        return _whole_file("truncated", f"the file ends inside its header at byte {len(content)}: upload it again")
    except ValueError as error:
        return _whole_file("header", f"the header is damaged ({error}): upload the file again")
    if b"avro.schema" not in meta:
        return _whole_file("header", "the header has no avro.schema: upload the file again")
    schema = parse_schema(meta[b"avro.schema"])
    codec = meta.get(b"avro.codec", b"null").decode("utf-8", "replace")
    if isinstance(schema, SchemaError):
        return _whole_file(schema.reason, str(schema), _count_rows(content, start))
    if codec not in CODECS:
        return _whole_file(
            "codec_unknown",
            f"codec [{codec}] is none of {', '.join(CODECS)}: write the file again with one of them",
            _count_rows(content, start),
        )
    walk = _Walk(content, start, schema, codec)
    walk.run()
    return Container(schema, tuple(walk.blocks), tuple(walk.damages), walk.rows)


def _long(content: bytes, position: int) -> tuple[int, int]:
    """A zigzag varint and the position behind it. Raises _Cut at the end, ValueError beyond 64 bits."""
    shift = value = 0
    try:
        while True:
            byte = content[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return (value >> 1) ^ -(value & 1), position
            shift += 7
            if shift > _MAX_VARINT_BITS:
                raise ValueError(f"a number of more than 64 bits at byte {position}")
    except IndexError:
        raise _Cut from None


def _bytes(content: bytes, position: int) -> tuple[bytes, int]:
    size, position = _long(content, position)
    if size < 0:
        raise ValueError(f"a length of {size} at byte {position}")
    end = position + size
    if end > len(content):
        raise _Cut
    return content[position:end], end


def _header(content: bytes) -> tuple[dict[bytes, bytes], int]:
    """The header's metadata and the position of its sync marker."""
    meta = {}
    position = len(_MAGIC)
    while True:
        entries, position = _long(content, position)
        if entries == 0:
            break
        if entries < 0:
            entries = -entries
            _, position = _long(content, position)
        for _ in range(entries):
            key, position = _bytes(content, position)
            meta[key], position = _bytes(content, position)
    if position + _MARKER_BYTES > len(content):
        raise _Cut
    return meta, position


def _count_rows(content: bytes, start: int) -> int | None:
    """Rows by the block headers of a file whose rows cannot be read; None as soon as one is not where it should be."""
    marker = content[start : start + _MARKER_BYTES]
    position = start + _MARKER_BYTES
    rows = 0
    while position < len(content):
        try:
            count, position = _long(content, position)
            size, position = _long(content, position)
        except (_Cut, ValueError):
            return None
        if count < 0 or size < 0 or content[position + size : position + size + _MARKER_BYTES] != marker:
            return None
        rows += count
        position += size + _MARKER_BYTES
    return rows


class _Walk:
    """The walk over the blocks behind a header, with what it has kept, lost and counted so far."""

    def __init__(self, content: bytes, start: int, schema: Schema, codec: str) -> None:
        self.content = content
        self.marker = content[start : start + _MARKER_BYTES]
        self.start = start + _MARKER_BYTES
        self.codec = codec
        # What needs no decompression is not copied either: the blocks are windows on the content.
        self.data: bytes | memoryview = memoryview(content) if codec == "null" else content
        self.least_row_bytes = schema.least_row_bytes
        self.blocks: list[Block] = []
        self.damages: list[Damage] = []
        self.rows = 0
        self.index = 0

    def run(self) -> None:
        self._mend_marker()
        content, marker, total = self.content, self.marker, len(self.content)
        position = self.start
        while position < total:
            offset = position
            count: int | None = None
            size: int | None = None
            try:
                count, position = _long(content, position)
                size, position = _long(content, position)
            except (_Cut, ValueError):
                pass
            if count is None or size is None or count < 0 or size < 0:
                position = self._resume(offset, position, count, size)
                continue
            end = position + size
            if content[end : end + _MARKER_BYTES] == marker:
                self._keep(offset, count, self.data[position:end])
                position = end + _MARKER_BYTES
            elif end + _MARKER_BYTES <= total and self._block_or_end_at(end + _MARKER_BYTES):
                self._lose(
                    "sync_marker",
                    f"the sync marker behind the block at byte {offset} is damaged: upload the file again",
                    self._believed(count, size),
                    size,
                )
                position = end + _MARKER_BYTES
            else:
                position = self._resume(offset, position, count, size)

    def _mend_marker(self) -> None:
        """Takes the marker on which the first two blocks agree where the header's own stands behind no block."""
        first = self._end_of_block_at(self.start)
        if first is None or self._marker_at(first) == self.marker or self.content.find(self.marker, self.start) >= 0:
            return
        second = self._end_of_block_at(first + _MARKER_BYTES)
        if second is None or self._marker_at(second) != self._marker_at(first):
            return
        self.marker = self._marker_at(first)
        detail = "the header's sync marker is damaged, the blocks' own is taken, no row is lost: upload it again"
        self.damages.append(Damage("header", detail, None, None, 0))

    def _marker_at(self, position: int) -> bytes:
        return self.content[position : position + _MARKER_BYTES]

    def _end_of_block_at(self, position: int) -> int | None:
        """Where the data of a block beginning at ``position`` ends by its header; None if that leads nowhere."""
        try:
            count, position = _long(self.content, position)
            size, position = _long(self.content, position)
        except (_Cut, ValueError):
            return None
        end = position + size
        return end if count >= 0 and size >= 0 and end + _MARKER_BYTES <= len(self.content) else None

    def _block_or_end_at(self, position: int) -> bool:
        """Whether the file ends here, or a block begins here that ends in the sync marker."""
        if position == len(self.content):
            return True
        end = self._end_of_block_at(position)
        return end is not None and self._marker_at(end) == self.marker

    def _resume(self, offset: int, position: int, count: int | None, size: int | None) -> int:
        """Loses the block at ``offset``, whose size leads nowhere, and returns where the next one begins."""
        found = self.content.find(self.marker, offset)
        if found < 0:
            known = self._believed(count, size if size is not None else len(self.content) - position)
            detail = f"the file ends inside the block that begins at byte {offset}: upload it again"
            self._lose("truncated", detail, known, len(self.content) - offset)
            return len(self.content)
        detail = f"the header of the block at byte {offset} is damaged: upload the file again"
        self._lose("block_corrupt", detail, self._believed(count, found - position), found - offset)
        return found + _MARKER_BYTES

    def _believed(self, count: int | None, size: int) -> int | None:
        """The count of a lost block where so many rows fit into its bytes, else None."""
        ratio = 1 if self.codec == "null" else _MAX_RATIO
        if count is None or count <= 0 or size < 0 or count * self.least_row_bytes > size * ratio:
            return None
        return count

    def _lose(self, reason: str, detail: str, rows: int | None, size: int) -> None:
        self.damages.append(Damage(reason, detail, self.index, self.rows, rows, size if rows is None else None))
        self.rows += rows or 0
        self.index += 1

    def _keep(self, offset: int, count: int, data: bytes | memoryview) -> None:
        """Takes the block in if it decompresses and can hold so many rows, else loses it."""
        try:
            plain = data if isinstance(data, memoryview) else decompress(self.codec, data)
        except CodecError as error:
            self._lose(
                "block_corrupt",
                f"the block at byte {offset} does not decompress ({error}): upload the file again",
                self._believed(count, len(data)),
                len(data),
            )
            return
        if count * self.least_row_bytes > len(plain) or (count == 0 and plain):
            self._lose(
                "block_corrupt",
                f"the block at byte {offset} says {count} rows but has {len(plain)} bytes: upload the file again",
                None,
                len(data),
            )
            return
        self.blocks.append(Block(self.index, offset, self.rows, count, plain))
        self.rows += count
        self.index += 1
