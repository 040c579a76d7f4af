"""The Avro object container file, walked block by block so that damage costs only the blocks it is in.

Engines stop at the first broken byte or, worse, read on without a word; here every block is checked and whole blocks
before and after a damaged one are kept.
"""

from __future__ import annotations

from dataclasses import dataclass

from transforms.avro import gzip_file
from transforms.avro.bounds import free_values
from transforms.avro.codecs import CODECS, MAX_BLOCK_BYTES, Block, BlockTooLarge, CodecError, decompress
from transforms.avro.header import (
    MAGIC,
    MARKER_BYTES,
    TruncatedData,
    codec_of,
    count_rows,
    long_at,
    open_header,
    read_header,
)
from transforms.avro.schema import Schema, SchemaError, parse_schema
from transforms.vocabulary.files import DAMAGE

__all__ = ["Block", "Container", "Damage", "Schema", "read_container"]

# Best ratio of deflate; a count beyond it in a block that cannot be decompressed is not believed.
_MAX_RATIO = 1032
_SPLIT = "files were joined as bytes (cat, getmerge, compose): upload each one separately"
_MOST_HEADERS = 64


@dataclass(frozen=True)
class Damage:
    """What could not be read of a file.

    Attributes:
        reason: A code of ``DAMAGE``, such as ``gzip`` or ``block_corrupt``.
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

    def __post_init__(self) -> None:
        DAMAGE.position(self.reason)  # a LookupError where nobody described it


@dataclass(frozen=True)
class Container:
    """One file: its whole blocks, what is damaged, its rows by all block headers, lost blocks included, its bytes."""

    schema: Schema | None
    blocks: tuple[Block, ...]
    damages: tuple[Damage, ...]
    rows: int
    size: int = 0


def _whole_file(reason: str, detail: str, rows_lost: int | None = None) -> Container:
    return Container(None, (), (Damage(reason, detail, None, 0, rows_lost),), rows_lost or 0)


def read_container(content: bytes, max_block_bytes: int = MAX_BLOCK_BYTES) -> Container:
    """Opens, checks and decompresses one file. Bad data never raises: it is in ``damages``.

    Of all blocks together no more than ``max_block_bytes`` are held decompressed; those behind are tried, and kept as
    they are.
    """
    if not content:
        return _whole_file("empty_file", "the file has 0 bytes: upload it again, or leave it out with --skip")
    if content[:2] == gzip_file.MAGIC:
        try:
            content = gzip_file.opened(content, max_block_bytes)
        except gzip_file.GzipError as error:
            return _whole_file("gzip", str(error))
        if content[:4] != MAGIC:
            return _whole_file(
                "gzip", f"the file is a gzip of what begins with {content[:16]!r}: give Avro files, or --skip it"
            )
    if content[:4] != MAGIC:
        return _whole_file(
            "not_avro",
            f"the file begins with {content[:16]!r}, not with Avro's {MAGIC!r}: give Avro files, or --skip it",
        )
    try:
        meta, start = read_header(content)
    except TruncatedData:
        return _whole_file("truncated", f"the file ends inside its header at byte {len(content)}: upload it again")
    except ValueError as error:
        return _whole_file("header", f"the header is damaged ({error}): upload the file again")
    if b"avro.schema" not in meta:
        return _whole_file("header", "the header has no avro.schema: upload the file again")
    schema = parse_schema(meta[b"avro.schema"])
    codec = codec_of(meta)
    if isinstance(schema, SchemaError):
        return _whole_file(schema.reason, str(schema), count_rows(content, start)[0])
    if codec not in CODECS:
        return _whole_file(
            "codec_unknown",
            f"codec [{codec[:40]}] is none of {', '.join(CODECS)}: write the file again with one of them",
            count_rows(content, start)[0],
        )
    walk = _Walk(content, start, schema, codec, max_block_bytes)
    walk.run()
    return Container(schema, tuple(walk.blocks), tuple(walk.damages), walk.rows, len(content))


class _Walk:
    """The walk over the blocks behind a header, with what it has kept, lost and counted so far."""

    def __init__(self, content: bytes, start: int, schema: Schema, codec: str, max_block_bytes: int) -> None:
        self.content = content
        self.schema = schema
        self.max_block_bytes = max_block_bytes
        # What the file may swell to: a small one to one block, a large one as far as deflate goes.
        self.may_swell = max(max_block_bytes, _MAX_RATIO * len(content))
        self.may_be_free = free_values(len(content))
        self.held_bytes = 0
        self.marker = content[start : start + MARKER_BYTES]
        self.start = start + MARKER_BYTES
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
        content, total = self.content, len(self.content)
        position = self.start
        while position < total:
            if content.startswith(MAGIC, position):
                # No block begins so: its count would be negative.
                position = self._next_file(position)
                continue
            offset = position
            count: int | None = None
            size: int | None = None
            try:
                count, position = long_at(content, position)
                size, position = long_at(content, position)
            except (TruncatedData, ValueError):
                pass
            if count is None or size is None or count < 0 or size < 0:
                position = self._resume(offset, position, count, size)
                continue
            end = position + size
            if content[end : end + MARKER_BYTES] == self.marker:
                self._keep(offset, count, self.data[position:end])
                position = end + MARKER_BYTES
            elif end + MARKER_BYTES <= total and self._block_or_end_at(end + MARKER_BYTES):
                self._lose(
                    "sync_marker",
                    f"the sync marker behind the block at byte {offset} is damaged: upload the file again",
                    self._believed(count, size),
                    size,
                )
                position = end + MARKER_BYTES
            else:
                position = self._resume(offset, position, count, size)

    def _next_file(self, offset: int) -> int:
        """Goes on with a file that was joined to the one before it, or loses it, and returns where to go on."""
        content = self.content
        opened = open_header(content, offset)
        if opened is None:
            return self._lose_file(offset)
        schema, codec, start = opened
        self.marker = content[start : start + MARKER_BYTES]
        self.start = start + MARKER_BYTES
        if schema == self.schema and codec in CODECS:
            self.codec = codec
            self.data = memoryview(content) if codec == "null" else content
            self._mend_marker()
            return self.start
        rows, end = count_rows(content, start)
        what = "of another schema" if codec in CODECS else f"of an unknown codec [{codec[:40]}]"
        detail = f"a second Avro file, {what}, begins at byte {offset}: {_SPLIT}"
        self._lose("joined_files", detail, rows, end - offset)
        return end

    def _lose_file(self, offset: int) -> int:
        """Loses what stands behind a broken header up to the next whole one: nobody knows the schema of its blocks."""
        found = self._find_file(offset + 1, len(self.content))
        end = len(self.content) if found is None else found
        detail = f"behind byte {offset} a second Avro file begins, its header is damaged: {_SPLIT}"
        self._lose("joined_files", detail, None, end - offset)
        return end

    def _mend_marker(self) -> None:
        """Takes the marker on which the first two blocks agree where the header's own stands behind no block."""
        first = self._end_of_block_at(self.start)
        if first is None or self._marker_at(first) == self.marker or self.content.find(self.marker, self.start) >= 0:
            return
        second = self._end_of_block_at(first + MARKER_BYTES)
        if second is None or self._marker_at(second) != self._marker_at(first):
            return
        self.marker = self._marker_at(first)
        detail = "the header's sync marker is damaged, the blocks' own is taken, no row is lost: upload it again"
        self.damages.append(Damage("header", detail, None, None, 0))

    def _marker_at(self, position: int) -> bytes:
        return self.content[position : position + MARKER_BYTES]

    def _end_of_block_at(self, position: int) -> int | None:
        """Where the data of a block beginning at ``position`` ends by its header; None if that leads nowhere."""
        try:
            count, position = long_at(self.content, position)
            size, position = long_at(self.content, position)
        except (TruncatedData, ValueError):
            return None
        end = position + size
        return end if count >= 0 and size >= 0 and end + MARKER_BYTES <= len(self.content) else None

    def _block_or_end_at(self, position: int) -> bool:
        """Whether the file ends here, or another or a block begins here, which ends in the sync marker."""
        if position == len(self.content) or self.content.startswith(MAGIC, position):
            return True
        end = self._end_of_block_at(position)
        return end is not None and self._marker_at(end) == self.marker

    def _resume(self, offset: int, position: int, count: int | None, size: int | None) -> int:
        """Loses the block at ``offset``, whose size leads nowhere, and returns where the next one begins."""
        found = self.content.find(self.marker, offset)
        joined = self._find_file(offset, found if found >= 0 else len(self.content))
        if joined is not None:
            known = self._believed(count, size if size is not None else joined - position)
            detail = f"the block that begins at byte {offset} is cut off by a second Avro file: {_SPLIT}"
            self._lose("truncated", detail, known, joined - offset)
            return joined
        if 0 <= self.content.find(b"avro.schema", offset) < found:
            return self._lose_file(offset)
        if found < 0:
            known = self._believed(count, size if size is not None else len(self.content) - position)
            detail = f"the file ends inside the block that begins at byte {offset}: upload it again"
            self._lose("truncated", detail, known, len(self.content) - offset)
            return len(self.content)
        detail = f"the header of the block at byte {offset} is damaged: upload the file again"
        self._lose("block_corrupt", detail, self._believed(count, found - position), found - offset)
        return found + MARKER_BYTES

    def _find_file(self, begin: int, end: int) -> int | None:
        """Where between two bytes another whole header begins; few are tried, since each costs its size."""
        position = begin
        for _ in range(_MOST_HEADERS):
            position = self.content.find(MAGIC, position, end)
            if position < 0:
                return None
            if open_header(self.content, position) is not None:
                return position
            position += 1
        return None

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
            plain = self._plain(data)
        except BlockTooLarge as error:
            self.may_swell -= error.opened  # a size that is only declared cost nothing
            self._lose(
                "block_too_large",
                f"the block at byte {offset} holds {error}: raise --max_block_mb if the file is to be trusted, "
                "or write it again in smaller blocks",
                self._believed(count, len(data)),
                len(data),
            )
            return
        except CodecError as error:
            detail = f"the block at byte {offset} does not decompress ({error}): upload the file again"
            self._lose("block_corrupt", detail, self._believed(count, len(data)), len(data))
            return
        size = len(plain)
        free = count * self.schema.free_row_values
        if count * self.least_row_bytes > size or free > free_values(size) or (count == 0 and plain):
            detail = f"the block at byte {offset} says {count} rows but has {size} bytes: upload the file again"
            self._lose("block_corrupt", detail, None, len(data))
            return
        self.may_be_free -= free
        if self.may_be_free < 0:
            most = free_values(len(self.content))
            detail = f"up to the block at byte {offset} the file has more than {most} values that take no bytes"
            self._lose("block_corrupt", f"{detail}: upload the file again", count, len(data))
            return
        packed = None
        if not isinstance(data, memoryview):
            self.may_swell -= size
            if self.held_bytes + size > self.max_block_bytes and self.blocks:
                packed, plain = (self.codec, size), memoryview(data)
            else:
                self.held_bytes += size
        self.blocks.append(Block(self.index, offset, self.rows, count, plain, packed))
        self.rows += count
        self.index += 1

    def _plain(self, data: bytes | memoryview) -> bytes | memoryview:
        if not isinstance(data, memoryview):
            return decompress(self.codec, data, max(0, min(self.max_block_bytes, self.may_swell)))
        if len(data) > self.max_block_bytes:
            raise BlockTooLarge(self.max_block_bytes)
        return data
