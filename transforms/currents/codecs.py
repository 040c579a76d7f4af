"""Decompression of one Avro block, refusing what is not exactly one whole compressed stream."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any

import cramjam
import zstandard
from isal import isal_zlib

# A Currents event is under 1 MB and a block some dozens of them: a block this large is a decompression bomb.
MAX_BLOCK_BYTES = 1 << 30
_RAW_DEFLATE = -15
_ZSTANDARD_STEP = 4096

_ERRORS: tuple[Any, ...] = (
    ValueError,
    OSError,
    EOFError,
    isal_zlib.error,
    lzma.LZMAError,
    zstandard.ZstdError,
    cramjam.DecompressionError,
)


class CodecError(ValueError):
    """A block that is not one whole stream of its codec."""


class _TrailingBytesError(CodecError):
    """Bytes follow a stream that is whole in itself; ``plain`` is what it holds."""

    def __init__(self, extra: int, plain: bytes) -> None:
        super().__init__(f"{extra} bytes after the end of the compressed stream")
        self.plain = plain


def decompress(codec: str, data: bytes) -> bytes:
    """The block's plain bytes.

    Raises:
        CodecError: The stream is broken, cut, followed by other bytes, or larger than ``MAX_BLOCK_BYTES``.
        KeyError: ``codec`` is none of ``CODECS``.
    """
    decoder = CODECS[codec]
    try:
        return decoder(data)
    except CodecError as error:
        raise CodecError(f"{codec}: {error}") from None
    except _ERRORS as error:
        raise CodecError(f"{codec}: {error}") from error


def _finish(decompressor: Any, data: bytes) -> bytes:
    plain: bytes = decompressor.decompress(data, MAX_BLOCK_BYTES)
    if not decompressor.eof:
        if len(plain) >= MAX_BLOCK_BYTES:
            raise CodecError(f"more than {MAX_BLOCK_BYTES} bytes in one block")
        raise CodecError("the compressed stream is cut short")
    if decompressor.unused_data:
        raise _TrailingBytesError(len(decompressor.unused_data), plain)
    return plain


def _null(data: bytes) -> bytes:
    return data


def _deflate(data: bytes) -> bytes:
    decompressor = isal_zlib.decompressobj(_RAW_DEFLATE)
    try:
        return _finish(decompressor, data)
    except _TrailingBytesError as error:
        # Writers that cut zlib's frame off carelessly (fastavro) leave the head of its checksum behind.
        left = decompressor.unused_data
        checksum = isal_zlib.adler32(error.plain).to_bytes(4, "big")
        if 3 <= len(left) <= 4 and checksum.startswith(left):
            return error.plain
        raise


def _bzip2(data: bytes) -> bytes:
    return _finish(bz2.BZ2Decompressor(), data)


def _xz(data: bytes) -> bytes:
    return _finish(lzma.LZMADecompressor(), data)


def _snappy(data: bytes) -> bytes:
    if len(data) < 5:
        raise CodecError("the compressed stream is cut short")
    if int(cramjam.snappy.decompress_raw_len(data[:-4])) > MAX_BLOCK_BYTES:
        raise CodecError(f"more than {MAX_BLOCK_BYTES} bytes in one block")
    plain = bytes(cramjam.snappy.decompress_raw(data[:-4]))
    if zlib.crc32(plain) != int.from_bytes(data[-4:], "big"):
        raise CodecError("the checksum does not match")
    return plain


def _zstandard(data: bytes) -> bytes:
    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
    parts = []
    size = 0
    position = 0
    # The library has no limit of its own for streams that do not declare their size: small steps bound the overshoot.
    while position < len(data) and not decompressor.eof:
        part = decompressor.decompress(data[position : position + _ZSTANDARD_STEP])
        position += _ZSTANDARD_STEP
        size += len(part)
        if size > MAX_BLOCK_BYTES:
            raise CodecError(f"more than {MAX_BLOCK_BYTES} bytes in one block")
        parts.append(part)
    if not decompressor.eof:
        raise CodecError("the compressed stream is cut short")
    if decompressor.unused_data or position < len(data):
        raise CodecError("bytes after the end of the compressed stream")
    return b"".join(parts)


CODECS: dict[str, Callable[[bytes], bytes]] = {
    "null": _null,
    "deflate": _deflate,
    "snappy": _snappy,
    "zstandard": _zstandard,
    "bzip2": _bzip2,
    "xz": _xz,
}
