"""Batches: whole lines of one file of a run, in order; a function of the file and two limits alone.

So a batch that is sent again has equal bytes, and Mixpanel can take it for the one that it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from isal import igzip_lib

from transforms.errors import DamagedRunFile

MOST_EVENTS, MOST_BYTES = 2_000, 10_000_000
DEFAULT_BYTES = 2_000_000
PROFILE_UPDATES = 2_000
_READ, _PIECE = 64 << 10, 256 << 10  # bytes of a gzip file that are opened at once, and of its content
_NEWLINE = 10


class Cut(NamedTuple):
    """One batch: ``lines`` are whole lines with their newlines, ``rows`` their number.

    ``ordinal`` is its place in the file (0-based), ``first_line`` the number of its first line (1-based).
    """

    ordinal: int
    first_line: int
    rows: int
    lines: bytes


def pieces(stored: Iterable[bytes], path: str) -> Iterator[bytes]:
    """The content of a gzip file that comes part by part, so little at a time that the processor's cache holds it.

    Raises:
        DamagedRunFile: it is cut off, or is not a gzip file.
    """
    opened = _opened()
    is_empty = True
    for part in stored:
        for at in range(0, len(part), _READ):
            piece: bytes | memoryview = memoryview(part)[at : at + _READ]
            is_empty = False
            while piece or not opened.needs_input:
                if opened.eof:  # gzip files may be joined
                    opened = _opened()
                try:
                    content = opened.decompress(piece, _PIECE)
                except (igzip_lib.IsalError, EOFError) as error:  # type: ignore[misc]
                    raise DamagedRunFile(f"{path} is not a gzip file") from error
                if content:
                    yield content
                piece = opened.unused_data
                if opened.eof and not piece:
                    break
    if not is_empty and not opened.eof:
        raise DamagedRunFile(f"{path} is cut off")


def _opened() -> igzip_lib.IgzipDecompressor:
    return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)


def cut(content: Iterator[bytes], path: str, most_rows: int, most_bytes: int) -> Iterator[Cut]:
    """Cut a file's content into batches of at most so many lines and bytes; a line over the limit goes alone.

    Raises:
        DamagedRunFile: the last line has no newline.
    """
    batch = _Begun()
    for piece in content:
        at = 0
        while at < len(piece):
            within = min(len(piece), at + max(most_bytes - batch.size, 0))
            ends = np.frombuffer(piece, np.uint8)[at:within] == _NEWLINE
            rows = int(np.count_nonzero(ends))
            if batch.rows + rows >= most_rows:
                rows = most_rows - batch.rows
                end = at + int(np.flatnonzero(ends)[rows - 1]) + 1
            elif within == len(piece):
                batch.add(piece, at, rows)
                break
            elif rows:
                end = piece.rfind(b"\n", at, within) + 1
            elif batch.rows:  # the last line that fits ended in an earlier piece
                yield batch.end()
                continue
            else:
                end, rows = piece.find(b"\n", at) + 1, 1
                if end == 0:  # a line over the limit, which is not all there
                    batch.add(piece, at, 0)
                    break
            batch.add(memoryview(piece)[:end], at, rows)
            at = end
            yield batch.end()
    if batch.rows:
        yield batch.end()
    if batch.size:
        raise DamagedRunFile(f"{path} ends in the middle of a line")


class _Begun:
    """The batch that grows: pieces, of which the last may end within a line."""

    def __init__(self) -> None:
        self._pieces: list[bytes | memoryview] = []
        self.size = self.rows = 0
        self._ordinal, self._line = 0, 1

    def add(self, piece: bytes | memoryview, at: int, rows: int) -> None:
        self._pieces.append(memoryview(piece)[at:])
        self.size += len(piece) - at
        self.rows += rows

    def end(self) -> Cut:
        """The whole lines; what follows them begins the next batch."""
        lines = b"".join(self._pieces)
        end = lines.rfind(b"\n") + 1
        rest, lines = lines[end:], lines[:end]
        made = Cut(self._ordinal, self._line, self.rows, lines)
        self._ordinal, self._line = self._ordinal + 1, self._line + self.rows
        self._pieces, self.size, self.rows = [rest] if rest else [], len(rest), 0
        return made


def middle(lines: bytes) -> int:
    """Where to cut lines (two or more) into halves: the offset of the first line of the second half."""
    ends = np.flatnonzero(np.frombuffer(lines, np.uint8) == _NEWLINE)
    return int(ends[len(ends) // 2 - 1]) + 1


def engage_body(lines: bytes, token: str) -> bytes:
    """The lines of ``profiles/`` as the JSON array that /engage takes, each with ``$token``."""
    opening = b'{"$token":"' + token.encode() + b'",'
    # A newline never stands inside of JSON, so one before a brace begins a line.
    return b"[" + opening + lines[1:-1].replace(b"\n{", b"," + opening) + b"]"
