"""Links between ids, as the rows of a unit give them: taken from decoded columns, and numbered; tables as blocks.

A link says that two ids were seen together. ``a`` is always a Braze profile (``user_id``), ``b`` depends on the rank
(0: ``external_user_id``, 1: the surviving profile, 2: ``device_id``). Beside the last there is one of rank 3, of bound
rows alone. ``LINKS`` says what a link's evidence is; it does not depend on the order of rows or files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.arrow.columns import array, plain
from transforms.arrow.numbering import Numbering
from transforms.currents import catalog
from transforms.evidence.ids import (
    B_TYPES,
    BOUND,
    DEVICE,
    DEVICE_ID,
    EXTERNAL_USER_ID,
    ID_TYPES,
    LINKS,
    OWN,
    PROFILE,
    USER_ID,
    short,
    usable,
)
from transforms.evidence.tables import LinkTable, earliest, ends, with_ends

MAX_BLOCK = 4_000_000
"""Bytes that a block has at most, unless one row alone has more."""
NO_PROFILE = np.uint32(0xFFFFFFFF)
"""In the place of a profile's number: the row names none that anything is known of."""
_ROWS_AT_ONCE = 1 << 18

Strings = Any
"""A pyarrow Array or ChunkedArray of any string type, or None where the column is absent."""


@dataclasses.dataclass(frozen=True)
class UnitIds:
    """The ids of a unit and what it says of them, all by their position in ``names``.

    Attributes:
        names: the distinct usable ids, by type.
        links: ``LINKS``, each once.
        deleted: the deleted profiles.
        anonymous: of each profile how many rows name it and no known user (int32).
        profile: of each row of the unit the profile (uint32), or ``NO_PROFILE``.
    """

    names: list[pa.Array]
    links: pa.Table
    deleted: np.ndarray
    anonymous: np.ndarray
    profile: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Chunk:
    """Rows of one event type: their columns of ids, and which of them say what."""

    columns: dict[str, pa.Array]
    event_id: pa.Array
    time: np.ndarray
    evidence: np.ndarray
    on_device: np.ndarray
    bound: np.ndarray
    events: np.ndarray
    deletes: np.ndarray
    file: np.ndarray
    unit_row: np.ndarray


class UnitLinks:
    """Gathers the links of a unit's rows; memory follows its distinct ids and links, and four bytes a row."""

    def __init__(self, file_paths: Sequence[str], no_id: tuple[str, ...] = ()) -> None:
        """``file_paths``: the unit's files; ``no_id``: more words that are not ids."""
        self._paths = pa.array(list(file_paths), pa.string())
        self._no_id = no_id
        self._chunks: list[_Chunk] = []
        self._rows = 0
        self._numbering = [Numbering() for _ in ID_TYPES]
        self._usable = [np.zeros(0, bool) for _ in ID_TYPES]
        self._seen = [np.zeros(0, bool) for _ in ID_TYPES]
        self._links = LinkTable()
        self._deleted: list[np.ndarray] = []
        self._anonymous = np.zeros(0, np.int64)
        self._profiles: list[tuple[np.ndarray, np.ndarray]] = []

    def add(
        self,
        event_type: str,
        *,
        user_id: Strings,
        event_id: Strings,
        time: Any,
        evidence: np.ndarray,
        file_index: np.ndarray,
        unit_row: np.ndarray,
        external_user_id: Strings = None,
        device_id: Strings = None,
        orphaned_by_id: Strings = None,
        machine_open: Strings = None,
        deletes: np.ndarray | None = None,
    ) -> None:
        """Take in decoded rows of one event type.

        Columns have one entry a row; ``evidence`` is false for rows to be ignored (no valid ``time``, in UNIX seconds),
        ``file_index`` is the row's position in the files, ``unit_row`` its number in the unit; ``deletes`` is true
        where the row asks for its profile to be deleted.
        """
        evidence = np.asarray(evidence, dtype=bool)
        orphans = event_type == catalog.USER_ORPHAN
        on_device = np.zeros(len(evidence), bool) if event_type.startswith(catalog.WEBHOOKS) else evidence
        if machine_open is not None:
            on_device = on_device & ~np.asarray(pc.fill_null(pc.equal(array(machine_open), "true"), False))
        known_type = catalog.event_types().get(event_type)
        is_bound = known_type is not None and known_type.bound
        columns = {"user_id": user_id}
        columns |= {"survivor": orphaned_by_id} if orphans else {"known": external_user_id, "device": device_id}
        self._chunks.append(
            _Chunk(
                {name: plain(column) for name, column in columns.items() if column is not None},
                array(event_id),
                np.asarray(pc.fill_null(array(time), 0), dtype=np.int64),
                evidence,
                on_device,
                on_device if is_bound else np.zeros(len(evidence), bool),
                evidence if not orphans else np.zeros(len(evidence), bool),
                np.zeros(len(evidence), bool) if deletes is None else deletes,
                np.asarray(file_index),
                np.asarray(unit_row),
            )
        )
        self._rows += len(evidence)
        if self._rows > _ROWS_AT_ONCE:
            self._take_in()

    def result(self, row_count: int) -> UnitIds:
        """What the unit says; ``row_count`` is above all numbers of rows."""
        self._take_in()
        names, place = [], []
        for numbering, seen in zip(self._numbering, self._seen, strict=True):
            places = np.full(len(seen) + 1, -1, np.int32)  # the last one for none
            places[np.flatnonzero(seen)] = np.arange(int(seen.sum()), dtype=np.int32)
            place.append(places)
            names.append(numbering.names if seen.all() else numbering.names.filter(pa.array(seen)))
        links = self._links.result()
        links = with_ends(links, *ends(links, place))
        profile = np.full(row_count, NO_PROFILE, np.uint32)
        for unit_row, codes in self._profiles:
            profile[unit_row] = place[USER_ID][codes].astype(np.uint32)  # of -1 that is NO_PROFILE
        deleted = np.unique(np.concatenate([np.zeros(0, np.int32), *self._deleted]))
        anonymous = self._anonymous[self._seen[USER_ID]].astype(np.int32)
        return UnitIds(names, links, place[USER_ID][deleted], anonymous, profile)

    def _take_in(self) -> None:
        """Number what waits, and keep of it the links, each row's profile and nothing else."""
        chunks, self._chunks, self._rows = self._chunks, [], 0
        if not chunks:
            return
        user, survivor = self._numbers(USER_ID, chunks, ("user_id", "survivor"))
        (known,) = self._numbers(EXTERNAL_USER_ID, chunks, ("known",))
        (device,) = self._numbers(DEVICE_ID, chunks, ("device",))
        evidence, on_device, bound, events, deletes, time, file, unit_row = (
            np.concatenate([getattr(chunk, name) for chunk in chunks])
            for name in ("evidence", "on_device", "bound", "events", "deletes", "time", "file", "unit_row")
        )
        self._profiles.append((unit_row, user))
        profile = np.where(evidence, user, -1)
        self._seen[USER_ID][profile[profile >= 0]] = True
        self._deleted.append(profile[deletes & (profile >= 0)])
        anonymous = np.bincount(profile[events & (profile >= 0) & (known < 0)], minlength=len(self._numbering[USER_ID]))
        anonymous[: len(self._anonymous)] += self._anonymous
        self._anonymous = anonymous
        tables = []
        event_ids = plain(pa.chunked_array([plain(chunk.event_id) for chunk in chunks]))
        said = (
            (OWN, known, evidence),
            (PROFILE, survivor, evidence),
            (DEVICE, device, on_device),
            (BOUND, device, bound),
        )
        for rank, others, told in said:
            other = np.where(told, others, -1)
            self._seen[B_TYPES[rank]][other[other >= 0]] = True
            both = (profile >= 0) & (other >= 0)
            if rank == PROFILE:
                both &= profile != other
            rows = np.flatnonzero(both)
            first, last = earliest(rank, profile[rows], other[rows], time[rows])
            rows = rows[first]
            columns = [
                pa.array(np.full(len(rows), rank, np.int8)),
                pa.array(profile[rows]),
                pa.array(other[rows]),
                pa.array(time[rows]),
                short(pc.fill_null(event_ids.take(pa.array(rows)), "").cast(pa.string())),
                pa.DictionaryArray.from_arrays(pa.array(file[rows].astype(np.int32)), self._paths),
                pa.array(last if rank == BOUND else np.zeros(len(rows), np.int64)),
            ]
            tables.append(pa.Table.from_arrays(columns, schema=LINKS))
        self._links.add(pa.concat_tables(tables))

    def _numbers(self, kind: int, chunks: list[_Chunk], names: tuple[str, ...]) -> Iterator[np.ndarray]:
        """Of each column of ids of a type the numbers in all rows, -1 for what names no one."""
        numbering, known = self._numbering[kind], len(self._numbering[kind])
        found = iter(numbering.number([c.columns[name] for name in names for c in chunks if name in c.columns]))
        new = usable(numbering.names.slice(known), kind, self._no_id)
        self._usable[kind] = np.append(self._usable[kind], new)
        self._seen[kind] = np.append(self._seen[kind], np.zeros(len(new), bool))
        numbers = np.where(self._usable[kind], np.arange(len(numbering), dtype=np.int32), np.int32(-1))
        numbers = np.append(numbers, np.int32(-1))
        for name in names:
            yield numbers[
                np.concatenate(
                    [next(found) if name in c.columns else np.full(len(c.time), -1, np.int32) for c in chunks]
                )
            ]


def pack(table: pa.Table) -> bytes:
    """``table`` as bytes, the same for the same rows (of a slice, for the same slice)."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1), use_threads=False)
    with pa.ipc.new_stream(sink, table.schema.remove_metadata(), options=options) as writer:
        for batch in _compact(table.replace_schema_metadata().combine_chunks()).to_batches():
            writer.write_batch(batch)
    return bytes(sink.getvalue())


def _compact(table: pa.Table) -> pa.Table:
    """The table with dictionaries of the values that it has: a slice would take along all that the whole table has."""
    for position, field in enumerate(table.schema):
        if not pa.types.is_dictionary(field.type) or not table.num_rows:
            continue
        column = table.column(position).chunk(0)  # of combined chunks, without nulls
        used = np.zeros(len(column.dictionary), dtype=bool)
        indices = np.asarray(column.indices)
        used[indices] = True
        if not used.all():
            place = pa.array((np.cumsum(used) - 1)[indices], column.indices.type)
            values = column.dictionary.filter(pa.array(used))
            table = table.set_column(position, field, pa.DictionaryArray.from_arrays(place, values))
    return table


def unpack(block: bytes | pa.Buffer) -> pa.Table:
    """The table of a block of ``pack``."""
    with pa.ipc.open_stream(block) as reader:
        return reader.read_all()


def split(table: pa.Table, max_bytes: int = MAX_BLOCK) -> list[bytes]:
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
