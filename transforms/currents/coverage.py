"""Which hours an export covers, and where files are missing that its usual pace would have brought.

Braze does not replay what an export missed, so a bucket in which Currents stopped for a week must not look whole. The
listing knows each file's type and hour, so nothing is read for it. A gap is a run of hours without a file of a type,
after its first one and up to the export's last hour. It is told of where all of this holds:

- The type has files in at least ``FEWEST_HOURS`` hours, and the gap has at least ``SHORTEST_GAP``. Where the type has
  no file after the gap, it has files on at least ``FEWEST_DAYS`` days: one campaign that is over is not an outage.
- The gap is more than twice as long as the third longest of the type's other gaps: what comes back is its rhythm.
- Its chance is below ``UNLIKELY``: the product, over its hours, of the share of the other days on which that hour of
  the day had no file (weekdays and weekends apart), times the hours at which it could have begun. Hours of one day are
  not independent where a type has no files on whole days (campaigns): of weekdays or weekends with files on fewer than
  nine days in ten, a whole day counts once, by the share of days without files, and a part of a day not at all.
"""

from __future__ import annotations

import datetime
from typing import NamedTuple, TypedDict

import numpy as np

from transforms.currents.paths import DAY, SourceFile, date_of
from transforms.currents.type_names import known_form

FEWEST_HOURS = 10
FEWEST_DAYS = 5
SHORTEST_GAP = 3
UNLIKELY = 1e-3
GAPS_KEPT = 20

_GAPS_A_TYPE = 3
_TYPES_KEPT = 500
_DAYS_KEPT = 1_000_000  # of all types together, each some hundred bytes
_EARLIEST, _LATEST = 14_610, 47_482  # days from 1970: 2010 and 2100, beyond which a date is a slip
_WHOLE_DAY = (1 << 24) - 1
_DENSE = 0.9
_NO_TYPE = "(not in the path)"
_OTHERS = "(others)"

Days = dict[int, int]
"""Day from 1970-01-01 on to its hours with files, a bit each."""


MissingHours = TypedDict("MissingHours", {"event_type": str | None, "from": str, "until": str, "hours": int})
"""Hours without files; ``event_type`` is None where all types together have none."""


class TypeCoverage(TypedDict):
    """The hours of one event type."""

    first_hour: str
    last_hour: str
    hours_with_files: int


class HoursCovered(TypedDict):
    """The hours that there are files of."""

    first_hour: str | None
    last_hour: str | None
    files_without_hour: int
    gaps_found: int
    gaps: list[MissingHours]
    by_type: dict[str, TypeCoverage]


class Gap(NamedTuple):
    """Hours without files: the first of them, in hours from 1970 on, and how many."""

    begin: int
    hours: int


class Coverage:
    """The hours in which files are listed, by type, in bounded memory."""

    def __init__(self) -> None:
        self._all: Days = {}
        self._by_type: dict[str, Days] = {}
        self._kept = 0
        self._without_hour = 0

    def add(self, file: SourceFile) -> None:
        """Note one file that is read."""
        date = date_of(file.name) or date_of(file.path)
        day, seconds = divmod(date.begin, DAY) if date is not None and date.begin is not None else (0, 0)
        if date is None or not _EARLIEST <= day < _LATEST:
            self._without_hour += 1
            return
        mask = _WHOLE_DAY if date.seconds == DAY else 1 << seconds // 3600
        self._all[day] = self._all.get(day, 0) | mask
        kind = file.event_type or _NO_TYPE
        days = self._by_type.get(kind)
        if days is None:
            kind = kind if len(self._by_type) < _TYPES_KEPT and self._kept < _DAYS_KEPT else _OTHERS
            days = self._by_type.setdefault(kind, {})
        if day in days:
            days[day] |= mask
        elif self._kept < _DAYS_KEPT:
            days[day] = mask
            self._kept += 1

    def figures(self) -> HoursCovered:
        """The report's ``coverage``."""
        found: HoursCovered = {
            "first_hour": None, "last_hour": None, "files_without_hour": self._without_hour, "gaps_found": 0,
            "gaps": [], "by_type": {},
        }  # fmt: skip
        if not self._all:
            return found
        first, last = _ends(self._all)
        found["first_hour"], found["last_hour"] = _iso(first), _iso(last)
        gaps = [_told(None, gap) for gap in unlikely_gaps(self._all, last + 1)]
        for kind, days in sorted(self._named().items()):
            begin, end = _ends(days)
            hours = sum(mask.bit_count() for mask in days.values())
            found["by_type"][kind] = {"first_hour": _iso(begin), "last_hour": _iso(end), "hours_with_files": hours}
            gaps += [_told(kind, gap) for gap in unlikely_gaps(days, last + 1)]
        gaps.sort(key=_longest_first)
        found["gaps_found"], found["gaps"] = len(gaps), gaps[:GAPS_KEPT]
        return found

    def _named(self) -> dict[str, Days]:
        """By type as rows of it are called: spellings of one are one."""
        named: dict[str, Days] = {}
        for kind, days in self._by_type.items():
            together = named.setdefault(known_form(kind) or kind, {})
            for day, mask in days.items():
                together[day] = together.get(day, 0) | mask
        return named


def unlikely_gaps(days: Days, end: int) -> list[Gap]:
    """The longest gaps up to ``end`` (exclusive, in hours from 1970 on) that the usual pace makes unlikely."""
    first_day = min(days)
    count = max(max(days), (end - 1) // 24) - first_day + 1
    masks = np.zeros(count, np.int64)
    for day, mask in days.items():
        masks[day - first_day] = mask
    present = (masks[:, None] >> np.arange(24)) & 1 > 0
    at = np.flatnonzero(present.ravel())
    if len(at) < FEWEST_HOURS:
        return []
    stop = end - 24 * first_day
    lengths = np.diff(np.append(at, max(stop, at[-1] + 1))) - 1
    order = np.argsort(-lengths, kind="stable")[: _GAPS_A_TYPE + 3]
    longest = lengths[order].tolist()
    found = []
    for rank in range(min(_GAPS_A_TYPE, len(longest))):
        others = longest[:rank] + longest[rank + 1 :]
        usual = others[2] if len(others) > 2 else 0
        if longest[rank] < SHORTEST_GAP or longest[rank] <= 2 * usual:
            continue
        begin = int(at[order[rank]]) + 1
        if begin > at[-1] and len(days) < FEWEST_DAYS:
            continue
        seen = np.zeros(present.size, bool)
        seen[at[0] : stop] = True
        seen[begin : begin + longest[rank]] = False
        if _chance(present, seen.reshape(present.shape), first_day, begin, longest[rank]) * (stop - at[0]) < UNLIKELY:
            found.append(Gap(24 * first_day + begin, longest[rank]))
    return found


def _chance(present: np.ndarray, seen: np.ndarray, first_day: int, begin: int, hours: int) -> float:
    """The chance of a gap at this place, from all other hours (``seen``)."""
    weekend = (np.arange(len(present)) + first_day + 3) % 7 >= 5  # 1970 began on a Thursday
    inside = np.zeros(present.shape, bool)
    inside.reshape(-1)[begin : begin + hours] = True  # a view: zeros are contiguous
    total = 0.0
    for kind in (weekend, ~weekend):
        known, files = seen[kind], present[kind] & seen[kind]
        by_hour = np.log1p(-files.sum(0) / (known.sum(0) + 1))
        of_days, with_files = int(known.any(1).sum()), int(files.any(1).sum())
        missing = inside[kind]
        by_day = (missing * by_hour).sum(1)
        if with_files < _DENSE * of_days or not of_days:
            whole = missing.all(1)
            by_day = np.where(whole, np.maximum(by_day, np.log1p(-with_files / (of_days + 1))), 0.0)
        total += float(by_day.sum())
    return float(np.exp(total))


def _ends(days: Days) -> tuple[int, int]:
    """The first and the last hour with files."""
    first, last = min(days), max(days)
    lowest = (days[first] & -days[first]).bit_length() - 1
    return 24 * first + lowest, 24 * last + days[last].bit_length() - 1


def _iso(hour: int) -> str:
    return datetime.datetime.fromtimestamp(hour * 3600, datetime.timezone.utc).strftime("%Y-%m-%dT%H:00Z")


def _told(kind: str | None, gap: Gap) -> MissingHours:
    return {
        "event_type": kind, "from": _iso(gap.begin), "until": _iso(gap.begin + gap.hours), "hours": gap.hours,
    }  # fmt: skip


def _longest_first(gap: MissingHours) -> tuple[bool, int, str, str]:
    """Those of all types together come before those of one."""
    return gap["event_type"] is not None, -gap["hours"], gap["event_type"] or "", gap["from"]
