"""Columns of strings as numbers: what the identity modules need to stay out of Python loops over rows."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_ROUNDS = 5
_FIRST_BYTES = np.array(
    [0] + [(0xFFFFFFFFFFFFFFFF << 8 * (8 - count)) & 0xFFFFFFFFFFFFFFFF for count in range(1, 9)], np.uint64
)


def array(column: Any) -> pa.Array:
    """``column`` (Array or ChunkedArray) as one Array, dictionaries and views of strings decoded."""
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # combine_chunks keeps chunks where offsets of 32 bits would overflow
        column = column.cast(pa.large_string()).combine_chunks()
    if pa.types.is_dictionary(column.type) or pa.types.is_string_view(column.type) or pa.types.is_null(column.type):
        column = column.cast(pa.string())
    return column


def plain(column: Any) -> pa.Array:
    """``column`` as one Array of ``string`` or ``large_string``."""
    column = array(column)
    return column if pa.types.is_large_string(column.type) else column.cast(pa.string())


def text(column: Any) -> pa.Array:
    """``column`` as one Array of strings, whatever its type: numbers and booleans as written, lists as JSON."""
    values = array(column)
    if pa.types.is_string(values.type):
        return values
    try:
        return values.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return pa.array([None if v is None else json.dumps(v) for v in values.to_pylist()], pa.string())


def string_buffers(values: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(start, end, bytes): string ``i`` of ``values`` is ``bytes[start[i]:end[i]]``."""
    offset_type = np.int64 if pa.types.is_large_string(values.type) else np.int32
    _, offsets, data = values.buffers()
    if offsets is None or not offsets.size:
        zeros = np.zeros(len(values), dtype=np.int64)
        return zeros, zeros, np.zeros(0, dtype=np.uint8)
    bounds = np.frombuffer(offsets, dtype=offset_type)[values.offset : values.offset + len(values) + 1]
    return bounds[:-1], bounds[1:], np.frombuffer(data, dtype=np.uint8) if data else np.zeros(0, dtype=np.uint8)


def leading_bytes(values: pa.Array, skip: int = 0) -> np.ndarray:
    """Eight bytes of each string from ``skip`` on as uint64.

    Of strings that are equal before ``skip`` they are ordered as the strings are, wherever they differ.
    """
    start, end, data = string_buffers(values)
    if not len(values) or start[0] == end[-1]:
        return np.zeros(len(values), dtype=np.uint64)
    used = np.concatenate((data[start[0] : end[-1]], np.zeros(8, dtype=np.uint8)))
    # A word begins at every byte, so one gather fetches eight bytes of each string.
    words = np.ndarray(shape=(len(used) - 7,), dtype=">u8", buffer=used, strides=(1,))
    left = np.clip(end - start - skip, 0, 8)
    at = np.where(left > 0, start - start[0] + skip, 0)
    return words[at].astype(np.uint64) & _FIRST_BYTES[left]


def bytewise_order(distinct: pa.Array) -> np.ndarray:
    """The rows of ``distinct`` strings, none twice, in the order of their UTF-8 bytes.

    Eight bytes at a time as numbers, which is three times as fast as Arrow's sort of strings.
    """
    lead = leading_bytes(distinct)
    order = np.argsort(lead)
    tied, run = runs(lead[order])
    for skip in (*range(8, 8 * _ROUNDS, 8), None):
        if not tied.any():
            break
        rows = order[tied]
        values = distinct.take(pa.array(rows))
        if skip is None:
            position = np.empty(len(rows), dtype=np.int64)
            position[np.asarray(pc.sort_indices(values))] = np.arange(len(rows))
        else:
            position = leading_bytes(values, skip)
        again = np.lexsort((position, run))
        order[tied] = rows[again]
        still, runs_left = runs(position[again], run[again])
        tied[np.flatnonzero(tied)] = still
        run = runs_left
    return order


def runs(*columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(which rows equal a neighbour in all sorted ``columns``, for those the number of their run of equals)."""
    same = np.ones(max(len(columns[0]) - 1, 0), dtype=bool)
    for column in columns:
        same &= column[1:] == column[:-1]
    after, before = np.append(False, same), np.append(same, False)
    tied = (after | before)[: len(columns[0])]
    return tied, np.cumsum(~after[: len(tied)][tied])


def distinct(numbers: np.ndarray) -> np.ndarray:
    """The distinct numbers, ascending; ``numpy.unique`` hashes them, which takes many numbers ten times as long."""
    ordered = np.sort(numbers)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]]


def groups_of(key: np.ndarray) -> tuple[np.ndarray, int]:
    """(group of each row, number of groups), groups numbered by first appearance of their integer ``key``."""
    encoded = pa.array(key).dictionary_encode()
    return np.asarray(encoded.indices), len(encoded.dictionary)


def least_rows(
    group: np.ndarray, groups: int, time: np.ndarray, event_id: pa.Array, file: np.ndarray, paths: pa.Array
) -> np.ndarray:
    """For each group the row with the least (``time``, ``event_id``, path), strings bytewise.

    ``file`` is each row's position in ``paths``. Strings are only read where times are equal.
    """
    rows = _least(np.arange(len(group)), group, groups, time)
    result = np.empty(groups, dtype=np.int64)
    result[group[rows]] = rows
    rows = _tied(rows, group, groups)
    if rows.size:
        rows = _least(rows, group, groups, leading_bytes(event_id.take(pa.array(rows))))
        result[group[rows]] = rows
        rows = _tied(rows, group, groups)
    if rows.size:
        names = event_id.take(pa.array(rows))
        files = paths.take(pa.array(file[rows]))
        order = pc.sort_indices(
            pa.table({"group": pa.array(group[rows]), "event_id": names, "file": files}),
            sort_keys=[("group", "ascending"), ("event_id", "ascending"), ("file", "ascending")],
        )
        rows = rows[np.asarray(order)]
        changes = np.flatnonzero(np.diff(group[rows], prepend=-1))
        result[group[rows[changes]]] = rows[changes]
    return result


def _least(rows: np.ndarray, group: np.ndarray, groups: int, value: np.ndarray) -> np.ndarray:
    """Those of ``rows`` whose ``value`` (one a row of ``rows``) is their group's least."""
    best = np.full(groups, np.iinfo(value.dtype).max, dtype=value.dtype)
    np.minimum.at(best, group[rows], value)
    return rows[value == best[group[rows]]]


def _tied(rows: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    return rows[np.bincount(group[rows], minlength=groups)[group[rows]] > 1]
