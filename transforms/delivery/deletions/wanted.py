"""Which persons of a run are to be deleted in Mixpanel, and what speaks against it; nothing here asks for anything.

Mixpanel deletes all of a ``distinct_id``: its events and its profile. So an id is asked for where all that the run says
of it is that the whole person was deleted. All other lines of ``deletions/`` need a person's decision.
"""

from __future__ import annotations

import bisect
import codecs
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from transforms.delivery.batches import cut, pieces
from transforms.delivery.delivered_run import DeliveredRun
from transforms.delivery.ledger import State
from transforms.errors import DamagedRunFile
from transforms.evidence.ids import DISALLOWED, folded
from transforms.vocabulary.persons import ANONYMOUS_PREFIX

MOST_IDS = 1_999  # of a request; another page of Mixpanel's says 2,000
MOST_UNCONFIRMED, UNCONFIRMED_SHARE = 100, 0.01
DAY = 86_400
OLD_SECONDS = 7 * DAY
_PARTLY, _KNOWN = 1, 2
_PIECE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What ``deletions/`` asks for: ``ids`` in order, each once; how many of them are known users; and of the lines
    how many there are, and how many need a person's decision."""

    ids: tuple[str, ...]
    known: int
    lines: int
    undecided: int


def select(run: DeliveredRun) -> Wanted:
    """The ids that are deleted whole, by all lines of the run that name them.

    Raises:
        NotAFinishedRun, DamagedRunFile: a file is not what the run published.
    """
    found: dict[str, int] = {}
    lines_of: dict[str, int] = {}  # of ids with more than one
    lines = 0
    for _, deletion in _lines(run):
        lines += 1
        name = _id_of(deletion)
        if name is None:
            continue
        if name in found:
            lines_of[name] = lines_of.get(name, 1) + 1
        marks = (_KNOWN if deletion.get("via") != "none" else 0) | (0 if _is_whole(deletion) else _PARTLY)
        found[name] = found.get(name, 0) | marks
    ids = tuple(sorted(name for name, marks in found.items() if not marks & _PARTLY))
    known = sum(found[name] & _KNOWN > 0 for name in ids)
    decided = sum(lines_of.get(name, 1) for name in ids)
    return Wanted(ids, known, lines, lines - decided)


def undecided_lines(run: DeliveredRun, ids: Sequence[str]) -> Iterator[bytes]:
    """The lines of the run, as they stand, whose id is not among ``ids`` (in order)."""
    for line, deletion in _lines(run):
        name = _id_of(deletion)
        if name is None or _place(ids, name) is None:
            yield line + b"\n"


def unconfirmed(ids: Sequence[str], content: bytes, path: str) -> list[str]:
    """Those of ``ids`` (in order) that a file does not list, gzip or not: a line each, as lines of ``deletions/`` or as
    they are.

    Raises:
        DamagedRunFile: it is not text.
    """
    is_listed = bytearray(len(ids))
    try:
        for line in _text_lines(pieces([content], path) if content.startswith(b"\x1f\x8b") else _cut(content)):
            place = _place(ids, _confirmed(line.decode().removesuffix("\r")))
            if place is not None:
                is_listed[place] = 1
    except UnicodeDecodeError:
        raise DamagedRunFile(f"{path} is not text in UTF-8: list one id a line") from None
    return [name for name, listed in zip(ids, is_listed, strict=True) if not listed]


def known_until(report: dict[str, Any]) -> int | None:
    """The UNIX second after which a run knows nothing: its clock, or the hour of ``--until``, whichever is earlier."""
    clock, until = report.get("now"), (report.get("flags") or {}).get("until")
    if not isinstance(clock, int):
        return None
    return min(clock, until) if isinstance(until, int) else clock


def objections(
    run: DeliveredRun, wanted: Wanted, missing: Sequence[str] | None, now: float, *, stale: bool
) -> Iterator[str]:
    """What forbids these deletions, a sentence each with the cure; nothing where nothing does.

    ``missing`` are the ids that ``--confirmed`` does not list; None without it.
    """
    if not wanted.ids:
        return
    until = known_until(run.report)
    if not stale and (until is None or now - until > OLD_SECONDS):
        age = (
            "does not say when it was made"
            if until is None
            else f"does not cover the last {(now - until) / DAY:.1f} days"
        )
        yield (
            f"the run {age}: people who came back are not in it. Ask for deletions from a run of the last 7 days: "
            "make a new run, or pass --stale_deletions"
        )
    known_users = (run.report.get("identity") or {}).get("known_users")
    count = len(wanted.ids)
    if missing is not None:
        if missing:
            yield (
                f"--confirmed lacks {len(missing):,} of the {count:,} ids, {missing[0]!r} among them: Braze deletes "
                "whole segments as housekeeping too, so check whether these asked for it, and list them"
            )
    elif count > MOST_UNCONFIRMED:
        yield f"{count:,} ids are more than {MOST_UNCONFIRMED}: {_CONFIRM}"
    elif wanted.known and type(known_users) is not int:
        yield f"the run does not say how many known users it has: {_CONFIRM}"
    elif type(known_users) is int and wanted.known > UNCONFIRMED_SHARE * known_users:
        yield f"{wanted.known:,} of {known_users:,} known users are more than {UNCONFIRMED_SHARE:.0%}: {_CONFIRM}"


_CONFIRM = (
    "Braze deletes whole segments as housekeeping too, so check whether these persons asked for it, and list them in a "
    "file, --confirmed FILE (lines of deletions/, or an id a line)"
)


def not_delivered(totals: dict[str, dict[str, int]], state: State, refused_ok: float) -> str | None:
    """Why a run is not delivered whole, by its ledger; None where it is.

    Profile updates count where any were sent. ``totals`` are those of ``outcome.totals``.
    """
    for kind, found in totals.items():
        answered = found["acknowledged"] + found["refused"]
        if kind == "profiles" and not any(one == kind for one, _ in state.rows):
            continue
        if found["not_sent"]:
            return f"{found['not_sent']:,} of {found['in_run']:,} {kind} are not sent: deliver the run first"
        if found["refused"] > refused_ok * answered:
            return (
                f"{found['refused']:,} of {found['in_run']:,} {kind} were refused: --redeliver refused, or "
                "--refused_ok SHARE"
            )
    return None


def ranges(count: int, done: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Requests as (first, one behind the last) of ``count`` ids: places of ``MOST_IDS`` each, without what is done.

    >>> list(ranges(5000, [(1999, 3998), (0, 10)]))
    [(10, 1999), (3998, 5000)]
    """
    done = sorted(done)
    for begin in range(0, count, MOST_IDS):
        end = min(begin + MOST_IDS, count)
        for first, last in done:
            if last <= begin or first >= end:
                continue
            if first > begin:
                yield begin, first
            begin = max(begin, last)
        if begin < end:
            yield begin, end


def _lines(run: DeliveredRun) -> Iterator[tuple[bytes, dict[str, Any]]]:
    for file in run.files["deletions"]:
        rows = 0
        for batch in cut(pieces(run.read(file), file.path), file.path, 2_000, 2_000_000):
            for line in batch.lines[:-1].split(b"\n"):
                rows += 1
                deletion = orjson.loads(line)
                if not isinstance(deletion, dict):
                    raise DamagedRunFile(f"line {rows} of {file.path} is not an object")
                yield line, deletion
        if rows != file.rows:
            raise DamagedRunFile(f"{file.path} has {rows:,} lines, and {file.rows:,} by the manifest")


def _is_whole(deletion: dict[str, Any]) -> bool:
    return deletion.get("whole_person") is True


def _id_of(deletion: dict[str, Any]) -> str | None:
    """Whom it names, if anybody: to Mixpanel the empty text is everybody without an id."""
    name = deletion.get("distinct_id")
    if not isinstance(name, str):
        return None
    word = folded(name.removeprefix(ANONYMOUS_PREFIX))
    return name if word and word not in DISALLOWED else None


def _place(ids: Sequence[str], name: str) -> int | None:
    """Where a name stands among ids in order; takes no memory, as a set of a million would."""
    place = bisect.bisect_left(ids, name)
    return place if place < len(ids) and ids[place] == name else None


def _cut(content: bytes) -> Iterator[bytes]:
    for at in range(0, len(content), _PIECE):
        yield content[at : at + _PIECE]


def _text_lines(content: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for number, piece in enumerate(content):
        *whole, rest = (rest + (piece if number else piece.removeprefix(codecs.BOM_UTF8))).split(b"\n")
        yield from whole
    yield rest


def _confirmed(line: str) -> str:
    if line.startswith(("{", '"')):
        try:
            said = orjson.loads(line)
        except ValueError:
            return line
        name = said.get("distinct_id") if isinstance(said, dict) else said
        return name if isinstance(name, str) else line
    return line
