"""Distinct persons by month and type, and how much earlier their history begins: what Mixpanel bills, and what is won.

``PERSON_MONTHS`` is one (person, month, event type) a row. Persons are 64-bit hashes: two in four billion may be taken
for one, which a count bears and an identity would not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from transforms.arrow.hashing import hash64
from transforms.telemetry.tally import Tally

PERSON_MONTHS = pa.schema(
    [
        pa.field("person", pa.uint64(), False),
        pa.field("known", pa.bool_(), False),
        pa.field("month", pa.int32(), False),  # months since January 1970
        pa.field("event_type", pa.dictionary(pa.int32(), pa.string()), False),
        pa.field("first", pa.int64(), False),  # earliest event, UNIX seconds
        pa.field("first_native", pa.int64(), False),  # earliest the native connector would have sent, or NEVER
    ]
)
NEVER = np.iinfo(np.int64).max
_SECONDS_A_DAY = 86_400


def person_months(
    event_type: str, distinct_id: pa.Array, known: np.ndarray, times: np.ndarray, native: np.ndarray
) -> pa.Table:
    """``PERSON_MONTHS`` of sent events of one type (arrays of one entry an event; ``native``: sent natively too)."""
    encoded = distinct_id.dictionary_encode()
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
    hashes = hash64(encoded.dictionary)[person[first_rows]] ^ known[first_rows].astype(np.uint64)
    nobody = encoded.dictionary.index("").as_py()
    kept = person[first_rows] != nobody
    types = pa.DictionaryArray.from_arrays(np.zeros(int(kept.sum()), np.int32), pa.array([event_type]))
    columns = [hashes, known[first_rows], months[first_rows].astype(np.int32), None, times[first_rows], first_native]
    arrays = [types if values is None else pa.array(values[kept]) for values in columns]
    return pa.Table.from_arrays(arrays, schema=PERSON_MONTHS)


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


def count_persons(table: pa.Table) -> Tally:
    """The report's distinct persons of one shard, which holds all rows of its persons."""
    if not table.num_rows:
        return {}
    person, month = table["person"].to_numpy(), table["month"].to_numpy().astype(np.int64)
    known = table["known"].to_numpy()
    kinds = table.unify_dictionaries().combine_chunks()["event_type"].chunk(0)
    kind = kinds.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return {
        "persons": {
            "by_month": {month_name(m): counts for m, counts in _distinct(person, known, month).items()},
            "by_type": {kinds.dictionary[k].as_py(): counts for k, counts in _distinct(person, known, kind).items()},
        },
        "gain": _earlier(person, known, table["first"].to_numpy(), table["first_native"].to_numpy()),
    }


def _distinct(person: np.ndarray, known: np.ndarray, key: np.ndarray) -> dict[int, dict[str, int]]:
    order = np.lexsort((person, key))
    person, known, key = person[order], known[order], key[order]
    first = np.ones(len(person), bool)
    first[1:] = (person[1:] != person[:-1]) | (key[1:] != key[:-1])
    keys, place = np.unique(key[first], return_inverse=True)
    counts = np.bincount(place * 2 + known[first], minlength=2 * len(keys)).reshape(-1, 2)
    return {k: _split(row) for k, row in zip(keys.tolist(), counts.tolist(), strict=True)}


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


def _split(row: list[int]) -> dict[str, int]:
    return {"known": row[1], "anonymous": row[0]}
