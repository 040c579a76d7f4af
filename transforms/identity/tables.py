"""Tables of links and ids that hold each once, however many rows name it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.identity.columns import (
    FINGERPRINTED_BYTES,
    array,
    bytewise_order,
    fingerprints,
    groups_of,
    in_slices,
    least_rows,
)
from transforms.identity.ids import ID_TYPES, LINKS, NODES, PROFILE

_ROWS_A_COMPACTION = 1 << 18


def unique_links(table: pa.Table) -> pa.Table:
    """Each (rank, a, b) of ``table`` once, with its least evidence, in order of first appearance.

    Not sorted, since a sort of strings would be two thirds of the time; ``LinkTable.result`` is.
    """
    file = array(table["file"]).dictionary_encode()
    unique = _unique(table.set_column(5, "file", file.indices), file.dictionary)
    return unique.set_column(5, "file", file.dictionary.take(array(unique["file"]))).cast(LINKS)


class LinkTable:
    """Gathers links from many tables; holds each link once, so memory follows the distinct links."""

    def __init__(self) -> None:
        self._paths: dict[str, int] = {}
        self._pending: list[pa.Table] = []
        self._rows = 0
        self._unique_rows = 0
        self._seen = _Seen.of(None)

    def add(self, table: pa.Table) -> None:
        """Take in a ``LINKS`` table, in any order and with any repetition; ``file`` may be a dictionary."""
        later = self._seen.has_earlier(table)
        if later.any():
            table = table.filter(pa.array(~later))
        if not table.num_rows:
            return
        file = _encoded(table["file"])
        code = np.array([self._paths.setdefault(path, len(self._paths)) for path in file.dictionary.to_pylist()])
        columns = {name: array(table[name]) for name in ("rank", "a", "b", "time", "event_id")}
        # Large strings: two gigabytes of ids in one column are within reach.
        columns |= {name: columns[name].cast(pa.large_string()) for name in ("a", "b", "event_id")}
        columns["file"] = pa.array(code[np.asarray(file.indices)].astype(np.int32))
        self._pending.append(pa.table(columns))
        self._rows += table.num_rows
        if self._rows - self._unique_rows > max(_ROWS_A_COMPACTION, self._unique_rows):
            self._compact()

    def result(self) -> pa.Table:
        """``LINKS``, each link once, sorted by (rank, a, b) bytewise."""
        self._compact()
        if not self._pending:
            return LINKS.empty_table()
        return _by_key(self._pending[0], self._names())

    def _names(self) -> pa.Array:
        return pa.array(list(self._paths), pa.string())

    def _compact(self) -> None:
        if len(self._pending) > 1 or self._rows > self._unique_rows:
            table = pa.concat_tables(self._pending)
            self._pending = []
            self._pending = [_unique(table, self._names())]
            self._rows = self._unique_rows = self._pending[0].num_rows
            self._seen = _Seen.of(self._pending[0])


class NodeTable:
    """Gathers ids from many ``NODES`` tables; holds each once."""

    def __init__(self) -> None:
        self._ids: list[list[Any]] = [[] for _ in ID_TYPES]
        self._rows = [0] * len(ID_TYPES)
        self._unique_rows = [0] * len(ID_TYPES)

    def add(self, table: pa.Table) -> None:
        """Take in a ``NODES`` table, in any order and with any repetition."""
        kinds = np.asarray(array(table["id_type"]))
        ids = array(table["id"]).cast(pa.large_string())
        for kind in range(len(ID_TYPES)):
            chosen = ids.filter(pa.array(kinds == kind))
            if not len(chosen):
                continue
            self._ids[kind].append(chosen)
            self._rows[kind] += len(chosen)
            if self._rows[kind] - self._unique_rows[kind] > max(_ROWS_A_COMPACTION, self._unique_rows[kind]):
                self._compact(kind)

    def result(self) -> pa.Table:
        """``NODES``, each id once, sorted by (id_type, id) bytewise."""
        parts = []
        for kind in range(len(ID_TYPES)):
            self._compact(kind)
            for ids in self._ids[kind]:
                ids = ids.take(pa.array(bytewise_order(ids)))
                parts.append(pa.table({"id_type": pa.array(np.full(len(ids), kind, dtype=np.int8)), "id": ids}))
        return in_slices(pa.concat_tables(parts), NODES) if parts else NODES.empty_table()

    def _compact(self, kind: int) -> None:
        if self._ids[kind]:
            self._ids[kind] = [array(pc.unique(pa.chunked_array(self._ids[kind])))]
            self._rows[kind] = self._unique_rows[kind] = len(self._ids[kind][0])


@dataclasses.dataclass(frozen=True)
class _Seen:
    """Links known by fingerprint, sorted: most rows of a long run only repeat an earlier time's, and can go at once."""

    high: np.ndarray
    low: np.ndarray
    time: np.ndarray

    @classmethod
    def of(cls, links: pa.Table | None) -> _Seen:
        if links is None:
            return cls(np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.int64))
        marks, short = _fingerprints(links)
        rows = np.flatnonzero(short)
        rows = rows[np.argsort(marks[0, rows])]
        return cls(marks[0, rows], marks[1, rows], np.asarray(array(links["time"]))[rows])

    def has_earlier(self, links: pa.Table) -> np.ndarray:
        """Which of ``links`` are known from an earlier second."""
        result = np.zeros(links.num_rows, dtype=bool)
        if not len(self.high) or not len(result):
            return result
        marks, short = _fingerprints(links)
        order = np.argsort(marks[0])  # Neighbouring searches touch the same memory.
        high, low = marks[:, order]
        at = np.minimum(np.searchsorted(self.high, high), len(self.high) - 1)
        same = (self.high[at] == high) & (self.low[at] == low)
        result[order] = same & (self.time[at] < np.asarray(array(links["time"]))[order])
        return result & short


def _fingerprints(links: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """(128 bits a link, whether they speak for all of its ids)."""
    rank = np.asarray(array(links["rank"])).astype(np.uint64)
    marks = np.stack((rank, rank))
    short = np.ones(len(rank), dtype=bool)
    for name in ("a", "b"):
        ids = array(links[name])
        marks = fingerprints(ids, marks)
        short &= np.asarray(pc.less_equal(pc.binary_length(ids), FINGERPRINTED_BYTES))
    return marks, short


def _unique(table: pa.Table, paths: pa.Array) -> pa.Table:
    """Each (rank, a, b) of ``table``, whose ``file`` is a position in ``paths``, once, by first appearance."""
    a, b = (array(table[name]).dictionary_encode() for name in ("a", "b"))
    rank = np.asarray(array(table["rank"])).astype(np.int64)
    key = (rank * len(a.dictionary) + np.asarray(a.indices)) * len(b.dictionary) + np.asarray(b.indices)
    group, groups = groups_of(key)
    if groups == len(group):
        return table.combine_chunks()
    time, file = (np.asarray(array(table[name])) for name in ("time", "file"))
    least = pa.array(least_rows(group, groups, time, array(table["event_id"]), file, paths))
    return pa.table({name: array(table[name]).take(least) for name in table.column_names})


def _by_key(table: pa.Table, paths: pa.Array) -> pa.Table:
    """``LINKS`` of a table of distinct links whose ``file`` is a position in ``paths``, sorted."""
    a, b = (_bytewise_position(array(table[name])) for name in ("a", "b"))
    rank = np.asarray(array(table["rank"])).astype(np.int64)
    order = pa.array(np.argsort((rank * len(a) + a) * len(a) + b))
    columns = {name: array(table[name]).take(order) for name in table.column_names}
    columns["file"] = pa.DictionaryArray.from_arrays(columns["file"], paths)
    return in_slices(pa.table(columns), LINKS)


def _bytewise_position(values: pa.Array) -> np.ndarray:
    """For each of ``values`` the position of its string among the distinct ones, sorted bytewise."""
    encoded = values.dictionary_encode()
    position = np.empty(len(encoded.dictionary), dtype=np.int64)
    position[bytewise_order(encoded.dictionary)] = np.arange(len(position))
    return position[np.asarray(encoded.indices)]


def _encoded(column: Any) -> pa.DictionaryArray:
    """A column of strings, or of a dictionary of them, as one dictionary array."""
    if pa.types.is_dictionary(column.type):
        column = column.unify_dictionaries().combine_chunks()
        return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    return array(column).dictionary_encode()


def undirected(table: pa.Table) -> pa.Table:
    """Links without the later of two orphan links between the same profiles, one each way: they say the same."""
    rows = np.flatnonzero(np.asarray(table["rank"]) == PROFILE)
    links = table.take(pa.array(rows))
    ends = {"least": pc.min_element_wise(links["a"], links["b"]), "most": pc.max_element_wise(links["a"], links["b"])}
    keys = pa.table({**ends, **{name: links[name] for name in ("time", "event_id", "file")}})
    order = np.asarray(pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in keys.column_names]))
    pairs = keys.select(list(ends)).take(pa.array(order))
    again = np.ones(max(len(order) - 1, 0), bool)
    for name in ends:
        again &= np.asarray(pc.equal(pairs[name].slice(1), pairs[name].slice(0, len(again))))
    if not again.any():
        return table
    kept = np.ones(table.num_rows, bool)
    kept[rows[order[1:][again]]] = False
    return table.filter(pa.array(kept))
