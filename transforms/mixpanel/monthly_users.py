"""Distinct persons by month and type, and how much earlier their history begins: what Mixpanel bills, and what is won.

``PERSON_MONTHS`` is one (person, month, event type) a row. Persons are 64-bit hashes: two in four billion may be taken
for one, which a count bears and an identity would not.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from transforms.arrow.hashing import hash64
from transforms.currents.catalog import FREE_EVENTS, mixpanel_name
from transforms.mixpanel.names import cut
from transforms.telemetry.tally import Tally, merge

PERSON_MONTHS = pa.schema(
    [
        pa.field("person", pa.uint64(), False),
        pa.field("known", pa.bool_(), False),
        pa.field("month", pa.int32(), False),  # months since January 1970
        pa.field("event_type", pa.dictionary(pa.int32(), pa.string()), False),
        pa.field("through_device", pa.bool_(), False),  # known by a device alone
        pa.field("alone", pa.uint64(), False),  # the person that it is without devices, 0 where that is the same
        pa.field("first", pa.int64(), False),  # earliest event, UNIX seconds
        pa.field("first_native", pa.int64(), False),  # earliest the native connector would have sent, or NEVER
    ]
)
LARGEST_TYPES = 10
"""How many event types one of the alternatives goes without: those with most events in the run."""
NEVER = np.iinfo(np.int64).max
_SECONDS_A_DAY = 86_400
_NO_MONTH = -1


def person_months(
    event_type: str,
    distinct_id: pa.Array,
    known: np.ndarray,
    times: np.ndarray,
    native: np.ndarray,
    alone_id: pa.Array | None = None,
    through_device: np.ndarray | None = None,
) -> pa.Table:
    """``PERSON_MONTHS`` of sent events of one type (arrays of one entry an event; ``native``: sent natively too).

    ``alone_id``, where it differs from ``distinct_id``, is what events of profiles that a device joined to their known
    user (``through_device``) would go by without that.
    """
    encoded = (distinct_id if alone_id is None else alone_id).dictionary_encode()
    person = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    months = month_of(times)
    base = int(months.min()) if len(months) else 0
    group = person << 16 | (months - base)
    order = np.lexsort((times, group))
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    first_rows = order[starts]
    first_native = np.full(len(starts), NEVER)
    if len(starts):
        native_times = np.where(native[order], times[order], NEVER)
        first_native = np.minimum.reduceat(native_times, starts)
    is_known = known[first_rows]
    through = np.zeros(len(first_rows), bool) if through_device is None else through_device[first_rows]
    hashes = hash64(encoded.dictionary)[person[first_rows]] ^ (is_known & ~through).astype(np.uint64)
    alone = np.where(through, hashes, np.uint64(0))
    if alone_id is not None:
        hashes = hash64(distinct_id.take(pa.array(first_rows))) ^ is_known.astype(np.uint64)
    nobody = encoded.dictionary.index("").as_py()
    kept = person[first_rows] != nobody
    types = pa.DictionaryArray.from_arrays(np.zeros(int(kept.sum()), np.int32), pa.array([event_type]))
    columns = [
        hashes, is_known, months[first_rows].astype(np.int32), None, through, alone, times[first_rows],
        first_native,
    ]  # fmt: skip
    arrays = [types if values is None else pa.array(values[kept]) for values in columns]
    return pa.Table.from_arrays(arrays, schema=PERSON_MONTHS)


def event_counts(events_by_type: dict[str, int], shards: int) -> tuple[pa.Table, np.ndarray]:
    """How many events of each type a unit sends, told to each shard: (``PERSON_MONTHS`` without a month, the shards).

    By them every shard knows which types are the largest of the run.
    """
    kinds = sorted(kind for kind, events in events_by_type.items() if events)
    shard = np.repeat(np.arange(shards), len(kinds))
    types = pa.DictionaryArray.from_arrays(np.tile(np.arange(len(kinds), dtype=np.int32), shards), pa.array(kinds))
    events = np.tile(np.array([events_by_type[kind] for kind in kinds], np.int64), shards)
    nobody, none = np.zeros(len(shard), np.uint64), np.zeros(len(shard), bool)
    columns = [nobody, none, np.full(len(shard), _NO_MONTH, np.int32), None, none, nobody, events, events]
    arrays = [types if values is None else pa.array(values) for values in columns]
    return pa.Table.from_arrays(arrays, schema=PERSON_MONTHS), shard


def largest(events_by_type: dict[str, int]) -> list[str]:
    """The types with most events, of equally many the first by name."""
    return sorted(events_by_type, key=lambda kind: (-events_by_type[kind], kind))[:LARGEST_TYPES]


def month_of(times: np.ndarray) -> np.ndarray:
    """Months since January 1970 of UNIX seconds."""
    return times.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)


def month_name(month: int) -> str:
    """
    >>> month_name(674)
    '2026-03'
    """
    return f"{1970 + month // 12}-{month % 12 + 1:02d}"


def day_counts(times: np.ndarray, known: np.ndarray) -> Tally:
    """Events a day, known and anonymous apart."""
    days, place = np.unique(times // _SECONDS_A_DAY, return_inverse=True)
    counts = np.bincount(place * 2 + known, minlength=2 * len(days)).reshape(-1, 2)
    names = days.astype("datetime64[D]").astype(str).tolist()
    return {name: _split(row) for name, row in zip(names, counts.tolist(), strict=True)}


def month_counts(times: np.ndarray, known: np.ndarray) -> Tally:
    """Events a month, under the keys that the report has for them."""
    months, place = np.unique(month_of(times), return_inverse=True)
    counts = np.bincount(place * 2 + known, minlength=2 * len(months)).reshape(-1, 2)
    return {
        month_name(month): {"events_known": row[1], "events_anonymous": row[0]}
        for month, row in zip(months.tolist(), counts.tolist(), strict=True)
    }


def name_counts(event_type: str, names: pa.DictionaryArray, times: np.ndarray, known: np.ndarray) -> Tally:
    """Events of one type by month and name, known and anonymous apart."""
    months, place = np.unique(month_of(times), return_inverse=True)
    texts = names.dictionary.to_pylist()
    code = place * len(texts) + names.indices.to_numpy(zero_copy_only=False)
    cells, cell = np.unique(code, return_inverse=True)
    counts = np.bincount(cell * 2 + known, minlength=2 * len(cells)).reshape(-1, 2)
    found: Tally = {}
    for at, row in zip(cells.tolist(), counts.tolist(), strict=True):
        month, name = month_name(int(months[at // len(texts)])), texts[at % len(texts)]
        merge(found, {month: {event_type: {cut(name): _split(row)}}}, maxima=False)
    return found


def count_persons(table: pa.Table) -> Tally:
    """The report's distinct persons of one shard, which holds all rows of its persons."""
    is_count = table["month"].to_numpy() == _NO_MONTH
    counts, table = table.filter(pa.array(is_count)), table.filter(pa.array(~is_count))
    if not table.num_rows:
        return {}
    person, month = table["person"].to_numpy(), table["month"].to_numpy().astype(np.int64)
    known, number = table["known"].to_numpy(), _numbered(person)
    kinds = table.unify_dictionaries().combine_chunks()["event_type"].chunk(0)
    kind = kinds.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return {
        "persons": {
            "by_month": {month_name(m): counts for m, counts in _distinct(number, known, month).items()},
            "by_type": {kinds.dictionary[k].as_py(): counts for k, counts in _distinct(number, known, kind).items()},
        },
        "cost": {"persons": _alternatives(table, kinds, _events_of(counts))},
        "gain": _earlier(person, known, table["first"].to_numpy(), table["first_native"].to_numpy()),
    }


def _events_of(counts: pa.Table) -> dict[str, int]:
    found: dict[str, int] = {}
    for kind, events in zip(counts["event_type"].to_pylist(), counts["first"].to_pylist(), strict=True):
        found[kind] = found.get(kind, 0) + events
    return found


def _alternatives(table: pa.Table, kinds: pa.DictionaryArray, events_by_type: dict[str, int]) -> Tally:
    """By month and choice: distinct persons, and those of them with an event that is not free."""
    person, alone, month, known, through = (
        table[name].to_numpy() for name in ("person", "alone", "month", "known", "through_device")
    )
    month = month.astype(np.int64)
    types = kinds.dictionary.to_pylist()
    kind = kinds.indices.to_numpy(zero_copy_only=False)
    billed = np.array([mixpanel_name(name) not in FREE_EVENTS for name in types], bool)[kind]
    left_out = set(largest(events_by_type))
    small = np.array([name not in left_out for name in types], bool)[kind]
    every = np.ones(len(kind), bool)
    number = _numbered(person)
    without_devices = _numbered(np.where(through, alone, person)) if through.any() else number
    choices = {
        "as_it_is": (number, known, every),
        "anonymous_none": (number, known, known),
        "device_links_none": (without_devices, known & ~through, every),
        "without_largest_types": (number, known, small),
    }
    found: Tally = {}
    for choice, (who, is_known, chosen) in choices.items():
        for counted, rows in (("persons", chosen), ("billed", chosen & billed)):
            for at, counts in _distinct(who[rows], is_known[rows], month[rows]).items():
                found.setdefault(month_name(at), {}).setdefault(choice, {})[counted] = counts
    return found


def _numbered(persons: np.ndarray) -> np.ndarray:
    """Each person's number (int64), from 0 on: they are hashed once, and then sorted by it with month or type."""
    return np.asarray(pa.array(persons).dictionary_encode().indices).astype(np.int64)


def _distinct(person: np.ndarray, known: np.ndarray, key: np.ndarray) -> dict[int, dict[str, int]]:
    """Distinct persons (``_numbered``; a person is known in all rows or in none) by key."""
    if not len(person):
        return {}
    persons, least = int(person.max()) + 1, int(key.min())
    cells = ((key - least) * persons + person) * 2 + known
    cells.sort()
    cells = cells[np.append(True, cells[1:] != cells[:-1])]
    counts = np.bincount(cells // (2 * persons) * 2 + (cells & 1)).tolist()
    pairs = itertools.zip_longest(counts[::2], counts[1::2], fillvalue=0)
    return {least + at: _split(row) for at, row in enumerate(pairs) if any(row)}


def _earlier(person: np.ndarray, known: np.ndarray, first: np.ndarray, native: np.ndarray) -> dict[str, Any]:
    """Known persons whose first event is older than the first that the native connector would have sent."""
    order = np.argsort(person, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(person[order]) != 0))
    is_known = known[order][starts]
    begins = np.minimum.reduceat(first[order], starts)
    native_begins = np.minimum.reduceat(native[order], starts)
    earlier = is_known & (begins < native_begins)
    both = earlier & (native_begins != NEVER)
    days = (native_begins[both] - begins[both]) // _SECONDS_A_DAY
    histogram = np.unique(days, return_counts=True)
    return {
        "persons_with_earlier_history": int(earlier.sum()),
        "persons_native_never_sends": int((earlier & ~both).sum()),
        "days_earlier": {str(d): int(n) for d, n in zip(*(part.tolist() for part in histogram), strict=True)},
    }


def _split(row: Sequence[int]) -> dict[str, int]:
    return {"known": row[1], "anonymous": row[0]}
