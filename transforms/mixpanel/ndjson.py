"""NDJSON as gzip with the same bytes on every machine: no time in the header, one level that all processors share."""

from __future__ import annotations

import zlib

from isal import isal_zlib

# Levels 0 to 2 of this library give equal bytes on every processor; level 3 does not.
_LEVEL = 1
_GZIP = 31  # zlib's ``wbits`` for a whole gzip member


class GzipLines:
    """Collects lines and compresses them as they come.

    The bytes follow from the lines and from the pieces in which they are added: equal runs must add equal pieces. On a
    busy machine the library has now and then given other bytes for equal lines, as valid as the usual ones. Why is not
    known: what its memory held before and what lies around a piece change nothing. So all is compressed twice; where
    the two differ, a third decides.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._streams = _Stream(), _Stream()
        self._pieces: list[int] = []

    def add(self, lines: bytes | memoryview, rows: int) -> None:
        """Append whole lines, each with its newline."""
        self.rows += rows
        self._pieces.append(len(lines))
        for stream in self._streams:
            stream.add(lines)

    def finish(self) -> bytes:
        """The whole gzip member."""
        one, other = (stream.finish() for stream in self._streams)
        return one if one == other else _usual(one, other, self._pieces)


class _Stream:
    def __init__(self) -> None:
        self._compressor = isal_zlib.compressobj(_LEVEL, wbits=_GZIP)
        self._parts: list[bytes] = []

    def add(self, lines: bytes | memoryview) -> None:
        self._parts.append(self._compressor.compress(lines))

    def finish(self) -> bytes:
        return b"".join([*self._parts, self._compressor.flush()])


def _usual(one: bytes, other: bytes, pieces: list[int]) -> bytes:
    """Of two streams of the same lines the one that is got once more from the same pieces; the lesser if neither is."""
    lines, again, begin = memoryview(decompress(one)), _Stream(), 0
    for size in pieces:
        again.add(lines[begin : begin + size])
        begin += size
    third = again.finish()
    return third if third in (one, other) else min(one, other)


def decompress(data: bytes) -> bytes:
    """The lines of a finished member."""
    return zlib.decompress(data, wbits=_GZIP)
