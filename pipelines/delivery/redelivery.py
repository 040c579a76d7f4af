"""``--redeliver refused``: the records that are refused, as they stand or as a file corrects them, in batches again.

They are read from the ledger, or the file, as they are sent: a million of them takes no more memory than ten.
"""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from transforms.delivery.batches import pieces
from transforms.delivery.delivered_run import stored
from transforms.delivery.ledger import State, refused_now
from transforms.delivery.sender import Batch
from transforms.errors import DamagedRunFile, UsageError

_GZIP = b"\x1f\x8b"
_Record = tuple[str, str, int, bytes]  # kind, file, line, record


class Redelivery:
    """What is to be sent again. ``corrected`` is the path of lines of ``refused/`` whose records were corrected."""

    def __init__(self, folder: str, before: State, corrected: str | None) -> None:
        self._folder, self._before, self._corrected = folder, before, corrected

    def check(self) -> None:
        """Look at every line of the file before anything is sent.

        Raises:
            UsageError: there is no such file, or it holds what is not refused.
        """
        if self._corrected is None:
            return
        open_ones: dict[tuple[str, str], bytearray] = {}  # by line 1 where it is refused
        for kind, file, line, _ in self._refused():
            lines = open_ones.setdefault((kind, file), bytearray())
            lines.extend(bytes(max(line + 1 - len(lines), 0)))
            lines[line] = 1
        for number, (kind, file, line, _) in _corrected(self._corrected):
            lines = open_ones.get((kind, file), bytearray())
            if line >= len(lines) or not lines[line]:
                raise UsageError(
                    f"line {number} of --records {self._corrected} is not among the refused records as they stand, or "
                    "stands there twice: take it out"
                )
            lines[line] = 0

    def batches(self, kind: str, most_rows: int, most_bytes: int) -> Iterator[Batch]:
        """The batches of one kind, each of one file of the run."""
        lines: list[bytes] = []
        numbers: list[int] = []
        of, size = "", 0
        for found, file, line, record in self._records():
            if found != kind:
                continue
            if numbers and (file != of or len(numbers) == most_rows or size + len(record) + 1 > most_bytes):
                yield Batch(kind, of, 0, b"".join(lines), tuple(numbers), is_redelivery=True)
                lines, numbers, size = [], [], 0
            lines += (record, b"\n")
            numbers.append(line)
            of, size = file, size + len(record) + 1
        if numbers:
            yield Batch(kind, of, 0, b"".join(lines), tuple(numbers), is_redelivery=True)

    def _records(self) -> Iterator[_Record]:
        if self._corrected is None:
            yield from self._refused()
        else:
            yield from (record for _, record in _corrected(self._corrected))

    def _refused(self) -> Iterator[_Record]:
        for _, kind, file, one in refused_now(self._folder, self._before):
            yield kind, file, one.line, one.record


def _corrected(path: str) -> Iterator[tuple[int, _Record]]:
    """The records of the file with their lines there."""
    for number, line in enumerate(_lines(path), start=1):
        if not line:
            continue
        try:
            said = orjson.loads(line)
            found = said["kind"], said["file"], said["line"], said["record"]
        except (ValueError, KeyError, TypeError):
            found = None
        if found is None or list(map(type, found)) != [str, str, int, dict] or found[2] < 1:
            raise UsageError(f"line {number} of --records {path} does not have the form of a line of refused/")
        yield number, (*found[:3], orjson.dumps(found[3]))


def _lines(path: str) -> Iterator[bytes]:
    """The lines of a file, compressed or not, some megabytes at a time.

    Raises:
        UsageError: there is none, or it is cut off.
    """
    parts = stored(path)
    first = next(parts, None)
    if first is None:
        raise UsageError(f"--records {path} is not a file: give one with lines of refused/")
    whole = _chained(first, parts)
    rest = b""
    try:
        for content in pieces(whole, path) if first.startswith(_GZIP) else whole:
            *lines, rest = (rest + content).split(b"\n")
            yield from lines
    except DamagedRunFile as error:
        raise UsageError(f"--records {error}: make it again") from None
    if rest:
        yield rest


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
