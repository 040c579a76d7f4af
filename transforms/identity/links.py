"""Links between ids, as rows give them: taken from decoded columns, made unique, packed into blocks.

A link says that two ids were seen together. ``LINKS`` is one link a row: ``a`` is always a Braze profile (``user_id``),
``b`` depends on the rank (0: ``external_user_id``, 1: the surviving profile, 2: ``device_id``), and ``time`` (UNIX
seconds), ``event_id`` ("" if missing) and ``file`` are its evidence. Over many rows the evidence of a link is the least
(time, event id, file), strings compared by their UTF-8 bytes, so it does not depend on the order of rows or files.

``NODES`` is one id a row; its ``id_type`` is the position in ``ID_TYPES``, which are in bytewise order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
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
    plain,
)
from transforms.identity.ids import DEVICE_ID, EXTERNAL_USER_ID, ID_TYPES, USER_ID, usable

OWN, PROFILE, DEVICE = 0, 1, 2
"""Ranks of links: own external id, orphan and survivor, device."""

B_TYPES = (EXTERNAL_USER_ID, USER_ID, DEVICE_ID)
"""The type of a link's ``b``, by rank."""

LINKS = pa.schema(
    [
        pa.field("rank", pa.int8(), False),
        pa.field("a", pa.string(), False),
        pa.field("b", pa.string(), False),
        pa.field("time", pa.int64(), False),
        pa.field("event_id", pa.string(), False),
        pa.field("file", pa.string(), False),
    ]
)
NODES = pa.schema([pa.field("id_type", pa.int8(), False), pa.field("id", pa.string(), False)])

_USER_ORPHAN = "users.UserOrphan"
_WEBHOOKS = "users.messages.webhook."
_ROWS_A_COMPACTION = 1 << 21

Strings = Any
"""A pyarrow Array or ChunkedArray of any string type, or None where the column is absent."""


def from_rows(
    event_type: str,
    *,
    user_id: Strings,
    event_id: Strings,
    time: Any,
    evidence: np.ndarray,
    file_index: np.ndarray,
    file_paths: Sequence[str],
    external_user_id: Strings = None,
    device_id: Strings = None,
    orphaned_by_id: Strings = None,
    machine_open: Strings = None,
    only_unlinked: bool = False,
) -> tuple[pa.Table, pa.Table]:
    """The links and nodes of decoded rows of one event type.

    Columns have one entry a row; ``evidence`` is false for rows to be ignored (no valid ``time``, in UNIX seconds),
    ``file_index`` is the row's position in ``file_paths``. Returns (``LINKS``, each link once; ``NODES``, the distinct
    usable ids, with ``only_unlinked`` only those that no link of the table names), in order of first appearance.
    """
    evidence = np.asarray(evidence, dtype=bool)
    count = len(evidence)
    seen_at = _Evidence(
        np.asarray(pc.fill_null(array(time), 0), dtype=np.int64), array(event_id), np.asarray(file_index), file_paths
    )
    if event_type == _USER_ORPHAN:
        profile, survivor = _encode([user_id, orphaned_by_id], [evidence, evidence], count)
        parts = [_links(PROFILE, profile, survivor, seen_at)]
        ids = [(USER_ID, [profile, survivor])]
    else:
        on_device = np.zeros(count, dtype=bool) if event_type.startswith(_WEBHOOKS) else evidence
        if machine_open is not None:
            on_device = on_device & ~np.asarray(pc.fill_null(pc.equal(array(machine_open), "true"), False))
        (profile,) = _encode([user_id], [evidence], count)
        (known,) = _encode([external_user_id], [evidence], count)
        (device,) = _encode([device_id], [on_device], count)
        parts = [_links(OWN, profile, known, seen_at), _links(DEVICE, profile, device, seen_at)]
        ids = [(USER_ID, [profile]), (EXTERNAL_USER_ID, [known]), (DEVICE_ID, [device])]
    nodes = [_nodes(id_type, columns, only_unlinked) for id_type, columns in ids]
    return pa.concat_tables(parts).combine_chunks(), pa.concat_tables(nodes).combine_chunks()


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
        """Take in a ``LINKS`` table, in any order and with any repetition."""
        later = self._seen.has_earlier(table)
        if later.any():
            table = table.filter(pa.array(~later))
        if not table.num_rows:
            return
        file = array(table["file"]).dictionary_encode()
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


def pack(table: pa.Table) -> bytes:
    """``table`` (``LINKS`` or ``NODES``) as bytes, the same for the same rows (of a slice, for the same slice)."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1), use_threads=False)
    with pa.ipc.new_stream(sink, table.schema.remove_metadata(), options=options) as writer:
        for batch in table.replace_schema_metadata().combine_chunks().to_batches():
            writer.write_batch(batch)
    return bytes(sink.getvalue())


def unpack(block: bytes) -> pa.Table:
    """The table of a block of ``pack``."""
    with pa.ipc.open_stream(block) as reader:
        return reader.read_all()


def split(table: pa.Table, max_bytes: int = 4_000_000) -> list[bytes]:
    """``table`` packed into blocks of at most ``max_bytes`` (one row alone may be more); none for no rows."""
    if not table.num_rows:
        return []
    block = pack(table)
    if len(block) <= max_bytes or table.num_rows == 1:
        return [block]
    parts = min(table.num_rows, len(block) // max_bytes + 1)
    size = -(-table.num_rows // parts)
    slices = [
        table.take(pa.array(np.arange(at, min(at + size, table.num_rows)))) for at in range(0, table.num_rows, size)
    ]
    return [piece for part in slices for piece in split(part, max_bytes)]


@dataclasses.dataclass(frozen=True)
class _Evidence:
    """Time, event id and file of each row; files by their position in ``paths``."""

    time: np.ndarray
    event_id: pa.Array
    file: np.ndarray
    paths: Sequence[str]


@dataclasses.dataclass(frozen=True)
class _Ids:
    """A column of ids: each row's position in the distinct ``names`` (-1: none), and which of them have a link."""

    codes: np.ndarray
    names: pa.Array
    linked: np.ndarray


def _encode(columns: Sequence[Strings], valid: Sequence[np.ndarray], count: int) -> list[_Ids]:
    """The ``columns`` over joint names; ids that are not usable, or on rows that are not ``valid``, are none."""
    arrays = [plain(column) if column is not None else pa.nulls(count, pa.string()) for column in columns]
    encoded = (arrays[0] if len(arrays) == 1 else pa.concat_arrays(arrays)).dictionary_encode()
    names = encoded.dictionary
    usable_code = np.append(np.where(usable(names), np.arange(len(names)), -1), -1)
    codes = usable_code[np.asarray(pc.fill_null(encoded.indices, -1))]
    codes[~np.concatenate(valid)] = -1
    linked = np.zeros(len(names), dtype=bool)
    return [_Ids(part, names, linked) for part in np.split(codes, len(columns))]


def _links(rank: int, a: _Ids, b: _Ids, seen_at: _Evidence) -> pa.Table:
    both = (a.codes >= 0) & (b.codes >= 0)
    if rank == PROFILE:
        both &= a.codes != b.codes
    rows = np.flatnonzero(both)
    if not rows.size:
        return LINKS.empty_table()
    group, groups = groups_of(a.codes[rows] * len(b.names) + b.codes[rows])
    event_id = pc.fill_null(plain(seen_at.event_id.take(pa.array(rows))), "").cast(pa.string())
    file = seen_at.file[rows]
    paths = pa.array(list(seen_at.paths), pa.string())
    chosen = least_rows(group, groups, seen_at.time[rows], event_id, file, paths)
    least = rows[chosen]
    a.linked[a.codes[least]] = True
    b.linked[b.codes[least]] = True
    columns = [
        pa.array(np.full(groups, rank, dtype=np.int8)),
        a.names.take(pa.array(a.codes[least])).cast(pa.string()),
        b.names.take(pa.array(b.codes[least])).cast(pa.string()),
        pa.array(seen_at.time[least]),
        event_id.take(pa.array(chosen)),
        paths.take(pa.array(file[chosen])),
    ]
    return pa.Table.from_arrays(columns, schema=LINKS)


def _nodes(id_type: int, columns: Sequence[_Ids], only_unlinked: bool) -> pa.Table:
    names = columns[0].names
    seen = np.zeros(len(names), dtype=bool)
    for column in columns:
        seen[column.codes[column.codes >= 0]] = True
    if only_unlinked:
        seen &= ~columns[0].linked
    ids = names.filter(pa.array(seen)).cast(pa.string())
    return pa.Table.from_arrays([pa.array(np.full(len(ids), id_type, dtype=np.int8)), ids], schema=NODES)


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
