"""Tables of links between numbers that hold each link once, however many rows say it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from transforms.arrow.columns import array, least_rows
from transforms.evidence.ids import B_TYPES, LINKS, USER_ID

_ROWS_A_COMPACTION = 1 << 18
_BITS = 31  # of a number
_FILE = LINKS.get_field_index("file")
_NUMBERED = pa.field("file", pa.int32(), False)


class LinkTable:
    """Gathers links from many tables of the same numbers; memory follows the distinct links."""

    def __init__(self) -> None:
        self._paths: dict[str, int] = {}
        self._pending: list[pa.Table] = []
        self._rows = 0
        self._unique_rows = 0
        self._known = np.zeros(0, np.uint64)  # keys of the unique rows, in order, and their times
        self._times = np.zeros(0, np.int64)
        self._last = np.zeros(0, np.int64)

    def add(self, table: pa.Table) -> None:
        """Take in ``LINKS``, in any order and with any repetition."""
        # Most rows of a long run only repeat an earlier time's: they can go at once.
        said = self._says_it(_keys(table), *(np.asarray(array(table[name])) for name in ("time", "last")))
        if said.any():
            table = table.filter(pa.array(~said))
        if not table.num_rows:
            return
        file = table["file"].unify_dictionaries().combine_chunks()
        file = file.chunk(0) if isinstance(file, pa.ChunkedArray) else file
        code = np.array([self._paths.setdefault(path, len(self._paths)) for path in file.dictionary.to_pylist()])
        numbers = pa.array(code[np.asarray(file.indices)].astype(np.int32))
        self._pending.append(table.set_column(_FILE, _NUMBERED, numbers))
        self._rows += table.num_rows
        if self._rows - self._unique_rows > max(_ROWS_A_COMPACTION, self._unique_rows // 2):
            self._compact()

    def result(self) -> pa.Table:
        """``LINKS``, each link once, in the order of (rank, a, b)."""
        self._compact()
        if not self._pending:
            return LINKS.empty_table()
        (table,) = self._pending
        file = pa.DictionaryArray.from_arrays(array(table["file"]), self._names())
        return table.set_column(_FILE, LINKS.field(_FILE), file)

    def _names(self) -> pa.Array:
        return pa.array(list(self._paths), pa.string())

    def _says_it(self, keys: np.ndarray, times: np.ndarray, last: np.ndarray) -> np.ndarray:
        """Which links are known from an earlier second, and to one as late."""
        if not len(self._known) or not len(keys):
            return np.zeros(len(keys), bool)
        order = np.argsort(keys)  # neighbouring searches touch the same memory
        at = np.minimum(np.searchsorted(self._known, keys[order]), len(self._known) - 1)
        result = np.empty(len(keys), bool)
        earlier = (self._times[at] < times[order]) & (self._last[at] >= last[order])
        result[order] = (self._known[at] == keys[order]) & earlier
        return result

    def _compact(self) -> None:
        if self._rows == self._unique_rows:
            return
        table = pa.concat_tables(self._pending)
        self._pending = []
        columns = {name: array(table[name]) for name in table.column_names}
        schema, keys = table.schema, _keys(table)
        del table
        # What was unique is in order already, which a stable sort makes use of.
        order = np.argsort(keys, kind="stable")
        new = np.append(True, keys[order[1:]] != keys[order[:-1]])
        rows, last = order, np.asarray(columns["last"])
        columns["last"] = pa.array(np.maximum.reduceat(last[order], np.flatnonzero(new)))
        if not new.all():
            group = np.empty(len(keys), np.int64)
            group[order] = np.cumsum(new) - 1
            time, file = np.asarray(columns["time"]), np.asarray(columns["file"])
            rows = least_rows(group, int(new.sum()), time, columns["event_id"], file, self._names())
        taken = pa.array(rows)
        unique = pa.Table.from_arrays(
            [column if name == "last" else column.take(taken) for name, column in columns.items()], schema=schema
        )
        self._pending = [unique]
        self._rows = self._unique_rows = unique.num_rows
        self._known = keys[rows]
        self._times, self._last = (np.asarray(array(unique[name])) for name in ("time", "last"))


def earliest(rank: int, a: np.ndarray, b: np.ndarray, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows, of links of one rank, that no other row of the same link is earlier than; links in their order.

    And for each of them the latest time of a row of its link.
    """
    keys = _key(np.full(len(a), rank), a, b)
    order = np.argsort(keys)
    sorted_keys = keys[order]
    starts = np.flatnonzero(np.append(True, sorted_keys[1:] != sorted_keys[:-1])[: len(keys)])
    times = time[order]
    if not len(starts):
        return starts, times
    length = np.diff(np.append(starts, len(keys)))
    is_first = times == np.repeat(np.minimum.reduceat(times, starts), length)
    return order[is_first], np.repeat(np.maximum.reduceat(times, starts), length)[is_first]


def ends(links: pa.Table, numbers: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """``a`` and ``b`` (int32) of ``LINKS``, each the number that stands at its position among those of its type."""
    rank, a, b = (np.asarray(array(links[name])) for name in ("rank", "a", "b"))
    other = np.empty(len(b), np.int32)
    for of_rank, kind in enumerate(B_TYPES):
        rows = rank == of_rank
        other[rows] = numbers[kind][b[rows]]
    return numbers[USER_ID][a].astype(np.int32), other


def with_ends(links: pa.Table, a: np.ndarray, b: np.ndarray) -> pa.Table:
    """``LINKS`` between other numbers."""
    for name, column in (("a", a), ("b", b)):
        at = LINKS.get_field_index(name)
        links = links.set_column(at, LINKS.field(at), pa.array(column, pa.int32()))
    return links


def _keys(links: pa.Table) -> np.ndarray:
    return _key(*(np.asarray(array(links[name])) for name in ("rank", "a", "b")))


def _key(rank: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """One uint64 a link, which compare as (rank, a, b) do."""
    rank, a, b = (part.astype(np.uint64) for part in (rank, a, b))
    return rank << np.uint64(2 * _BITS) | a << np.uint64(_BITS) | b
