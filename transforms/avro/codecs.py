"""One Avro block and its decompression, refusing what is not exactly one whole compressed stream."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cramjam
import zstandard
from isal import isal_zlib

from transforms.errors import DataError

# A Currents event is under 1 MB and a block some dozens of them: a block this large is a decompression bomb.
MAX_BLOCK_BYTES = 256 << 20
_RAW_DEFLATE = -15
# Bytes handed over at a time, far from the limit and near it: four of them may become 128 KB.
_ZSTANDARD_STEP, _ZSTANDARD_SMALL_STEP = 4096, 64
_ZSTANDARD_WINDOW = 1 << 27
# What xz may take for its dictionary beside the output: the largest preset's 64 MB, twice.
_XZ_MEMORY = 128 << 20

_ERRORS: tuple[Any, ...] = (
    ValueError,
    OSError,
    EOFError,
    isal_zlib.error,
    lzma.LZMAError,
    zstandard.ZstdError,
    cramjam.DecompressionError,
)


@dataclass(frozen=True)
class Block:
    """One whole block.

    Attributes:
        index: Number of the block in its file, lost blocks included.
        offset: Byte of the file at which the block's header begins.
        first_row: Row of the file at which it begins, by the counts of the block headers before it.
        rows: Count of its header.
        data: Its rows, decompressed; of a file that swells beyond measure, still compressed.
        packed: None, or the codec of ``data`` and the size behind it.
    """

    index: int
    offset: int
    first_row: int
    rows: int
    data: bytes | memoryview
    packed: tuple[str, int] | None = None

    @property
    def size(self) -> int:
        """Bytes of its rows, decompressed."""
        return self.packed[1] if self.packed else len(self.data)

    def plain(self) -> bytes | memoryview:
        """Its rows, decompressed."""
        return decompress(self.packed[0], bytes(self.data), self.packed[1]) if self.packed else self.data


class CodecError(DataError):
    """A block that is not one whole stream of its codec."""


class BlockTooLarge(CodecError):
    """A block that holds more than it may, or says so; ``opened`` bytes of it were decompressed, and no more."""

    def __init__(self, limit: int, opened: int = 0) -> None:
        super().__init__(f"more than {limit} bytes in one block")
        self.opened = opened


class _TrailingBytesError(CodecError):
    """Bytes follow a stream that is whole in itself; ``plain`` is what it holds."""

    def __init__(self, extra: int, plain: bytes) -> None:
        super().__init__(f"{extra} bytes after the end of the compressed stream")
        self.plain = plain


def decompress(codec: str, data: bytes, limit: int = MAX_BLOCK_BYTES) -> bytes:
    """The block's plain bytes, at most ``limit`` of them.

    Raises:
        BlockTooLarge: It holds more than ``limit`` bytes.
        CodecError: The stream is broken, cut or followed by other bytes.
        KeyError: ``codec`` is none of ``CODECS``.
    """
    decoder = CODECS[codec]
    try:
        return decoder(data, limit)
    except BlockTooLarge:
        raise
    except CodecError as error:
        raise CodecError(f"{codec}: {error}") from None
    except _ERRORS as error:
        raise CodecError(f"{codec}: {error}") from error


def _finish(decompressor: Any, data: bytes, limit: int) -> bytes:
    plain: bytes = decompressor.decompress(data, limit + 1)
    if len(plain) > limit:
        raise BlockTooLarge(limit, len(plain))
    if not decompressor.eof:
        raise CodecError("the compressed stream is cut short")
    if decompressor.unused_data:
        raise _TrailingBytesError(len(decompressor.unused_data), plain)
    return plain


def _null(data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise BlockTooLarge(limit)
    return data


def _deflate(data: bytes, limit: int) -> bytes:
    decompressor = isal_zlib.decompressobj(_RAW_DEFLATE)
    try:
        return _finish(decompressor, data, limit)
    except _TrailingBytesError as error:
        # Writers that cut zlib's frame off carelessly (fastavro) leave the head of its checksum behind.
        left = decompressor.unused_data
        checksum = isal_zlib.adler32(error.plain).to_bytes(4, "big")
        if 3 <= len(left) <= 4 and checksum.startswith(left):
            return error.plain
        raise


def _bzip2(data: bytes, limit: int) -> bytes:
    return _finish(bz2.BZ2Decompressor(), data, limit)


def _xz(data: bytes, limit: int) -> bytes:
    return _finish(lzma.LZMADecompressor(memlimit=_XZ_MEMORY), data, limit)


def _snappy(data: bytes, limit: int) -> bytes:
    if len(data) < 5:
        raise CodecError("the compressed stream is cut short")
    if int(cramjam.snappy.decompress_raw_len(data[:-4])) > limit:
        raise BlockTooLarge(limit)
    plain = bytes(cramjam.snappy.decompress_raw(data[:-4]))
    if zlib.crc32(plain) != int.from_bytes(data[-4:], "big"):
        raise CodecError("the checksum does not match")
    return plain


def _zstandard(data: bytes, limit: int) -> bytes:
    if zstandard.frame_content_size(data) > limit:
        raise BlockTooLarge(limit)
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTANDARD_WINDOW).decompressobj()
    parts = []
    size = 0
    position = 0
    # The library has no limit of its own for streams that do not declare their size: small steps bound the overshoot.
    while position < len(data) and not decompressor.eof:
        step = _ZSTANDARD_STEP if size <= limit // 2 else _ZSTANDARD_SMALL_STEP
        part = decompressor.decompress(data[position : position + step])
        position += step
        size += len(part)
        if size > limit:
            raise BlockTooLarge(limit, size)
        parts.append(part)
    if not decompressor.eof:
        raise CodecError("the compressed stream is cut short")
    if decompressor.unused_data or position < len(data):
        raise CodecError("bytes after the end of the compressed stream")
    return b"".join(parts)


CODECS: dict[str, Callable[[bytes, int], bytes]] = {
    "null": _null,
    "deflate": _deflate,
    "snappy": _snappy,
    "zstandard": _zstandard,
    "bzip2": _bzip2,
    "xz": _xz,
}
