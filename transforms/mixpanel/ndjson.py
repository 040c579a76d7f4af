"""NDJSON as gzip with the same bytes on every machine: no time in the header, one level that all processors share."""

from __future__ import annotations

import struct
import zlib

from isal import isal_zlib

# Levels 0 to 2 of this library give equal bytes on every processor; level 3 does not.
_LEVEL = 1
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


class GzipLines:
    """Collects lines and compresses them as they come.

    On a busy machine the library has now and then given other bytes for equal lines, as valid as the usual ones. So all
    is compressed twice; where the two differ, a third decides.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._streams = _Stream(), _Stream()
        self._crc = 0
        self._pieces: list[int] = []

    def add(self, lines: bytes | memoryview, rows: int) -> None:
        """Append whole lines, each with its newline."""
        self.rows += rows
        self._crc = isal_zlib.crc32(lines, self._crc)
        self._pieces.append(len(lines))
        for stream in self._streams:
            stream.add(lines)

    def finish(self) -> bytes:
        """The whole gzip member."""
        one, other = (stream.finish() for stream in self._streams)
        if one != other:
            one = _usual(one, other, self._pieces)
        return _HEADER + one + struct.pack("<II", self._crc & 0xFFFFFFFF, sum(self._pieces) & 0xFFFFFFFF)


class _Stream:
    def __init__(self) -> None:
        self._compressor = isal_zlib.compressobj(_LEVEL, wbits=-15)
        self._parts: list[bytes] = []

    def add(self, lines: bytes | memoryview) -> None:
        self._parts.append(self._compressor.compress(lines))

    def finish(self) -> bytes:
        return b"".join([*self._parts, self._compressor.flush()])


def _usual(one: bytes, other: bytes, pieces: list[int]) -> bytes:
    """Of two streams of the same lines the one that is got once more from the same pieces; the lesser if neither is."""
    lines, again, begin = memoryview(zlib.decompress(one, wbits=-15)), _Stream(), 0
    for size in pieces:
        again.add(lines[begin : begin + size])
        begin += size
    third = again.finish()
    return third if third in (one, other) else min(one, other)


def decompress(data: bytes) -> bytes:
    """The lines of a finished member."""
    return zlib.decompress(data, wbits=31)
