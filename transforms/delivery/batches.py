"""Batches: whole lines of one file of a run, in order; a function of the file and two limits alone.

So a batch that is sent again has equal bytes, and Mixpanel can take it for the one that it has.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from isal import isal_zlib

MOST_EVENTS, MOST_BYTES = 2_000, 10_000_000
DEFAULT_BYTES = 2_000_000
PROFILE_UPDATES, PROFILE_BYTES = 2_000, 1_000_000
_PIECE = 128 << 10  # compressed bytes that are opened at once
_MOST_CONTENT = 4 << 20  # bytes that come out at once
_NEWLINE = 10


class Cut(NamedTuple):
    """One batch: ``lines`` are whole lines with their newlines, ``rows`` their number.

    ``ordinal`` is its place in the file (0-based), ``first_line`` the number of its first line (1-based).
    """

    ordinal: int
    first_line: int
    rows: int
    lines: bytes


class Damaged(Exception):
    """A file of the run is not a whole gzip file of whole lines."""


def pieces(stored: Iterable[bytes], path: str) -> Iterator[bytes]:
    """The content of a gzip file that comes part by part, never more than some megabytes of it at a time.

    Raises:
        Damaged: it is cut off, or is not a gzip file.
    """
    opened = isal_zlib.decompressobj(wbits=31)
    is_empty = True
    for part in stored:
        for at in range(0, len(part), _PIECE):
            piece = bytes(memoryview(part)[at : at + _PIECE])
            is_empty = False
            while piece:
                if opened.eof:  # gzip files may be joined
                    opened = isal_zlib.decompressobj(wbits=31)
                try:
                    while content := opened.decompress(piece, _MOST_CONTENT):
                        yield content
                        piece = opened.unconsumed_tail
                        if opened.eof or (not piece and len(content) < _MOST_CONTENT):
                            break
                except (isal_zlib.IsalError, zlib.error) as error:  # type: ignore[misc]
                    raise Damaged(f"{path} is not a gzip file") from error
                piece = opened.unused_data
    if not is_empty and not opened.eof:
        raise Damaged(f"{path} is cut off")


def cut(content: Iterator[bytes], path: str, most_rows: int, most_bytes: int) -> Iterator[Cut]:
    """Cut a file's content into batches of at most so many lines and bytes; a line over the limit goes alone.

    Raises:
        Damaged: the last line has no newline.
    """
    buffer, start = b"", 0
    ordinal, line = 0, 1
    for piece in content:
        buffer, start = buffer[start:] + piece, 0
        # One batch can be cut for sure once a byte more than the limit is at hand.
        while len(buffer) - start > most_bytes:
            end, rows = _end(buffer, start, most_rows, most_bytes)
            if end == 0:
                break  # a line over the limit, which is not all there
            yield Cut(ordinal, line, rows, buffer[start:end])
            ordinal, line, start = ordinal + 1, line + rows, end
    while start < len(buffer):
        end, rows = _end(buffer, start, most_rows, most_bytes)
        if end == 0:
            raise Damaged(f"{path} ends in the middle of a line")
        yield Cut(ordinal, line, rows, buffer[start:end])
        ordinal, line, start = ordinal + 1, line + rows, end


def _end(buffer: bytes, start: int, most_rows: int, most_bytes: int) -> tuple[int, int]:
    """Where the batch that begins at ``start`` ends, and its rows; (0, 0) where no line ends."""
    end = buffer.rfind(b"\n", start, start + most_bytes) + 1
    if end == 0:
        end = buffer.find(b"\n", start) + 1
        return (end, 1) if end else (0, 0)
    rows = buffer.count(b"\n", start, end)
    if rows > most_rows:
        view = np.frombuffer(buffer, np.uint8, end - start, start)
        end = start + int(np.flatnonzero(view == _NEWLINE)[most_rows - 1]) + 1
        rows = most_rows
    return end, rows


def middle(lines: bytes) -> int:
    """Where to cut lines (two or more) into halves: the offset of the first line of the second half."""
    ends = np.flatnonzero(np.frombuffer(lines, np.uint8) == _NEWLINE)
    return int(ends[len(ends) // 2 - 1]) + 1


def engage_body(lines: bytes, token: str) -> bytes:
    """The lines of ``profiles/`` as the JSON array that /engage takes, each with ``$token``."""
    opening = b'{"$token":"' + token.encode() + b'",'
    # A newline never stands inside of JSON, so one before a brace begins a line.
    return b"[" + opening + lines[1:-1].replace(b"\n{", b"," + opening) + b"]"
