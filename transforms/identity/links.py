"""Links between ids, as rows give them: taken from decoded columns, made unique, packed into blocks.

A link says that two ids were seen together. ``LINKS`` is one link a row: ``a`` is always a Braze profile (``user_id``),
``b`` depends on the rank (0: ``external_user_id``, 1: the surviving profile, 2: ``device_id``), and ``time`` (UNIX
seconds), ``event_id`` ("" if missing) and ``file`` are its evidence. Over many rows the evidence of a link is the least
(time, event id, file), strings compared by their UTF-8 bytes, so it does not depend on the order of rows or files.

``NODES`` is one id a row; its ``id_type`` is the position in ``ID_TYPES``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.currents import catalog
from transforms.identity.columns import array, groups_of, least_rows, plain
from transforms.identity.ids import (
    B_TYPES,
    DEVICE,
    DEVICE_ID,
    EXTERNAL_USER_ID,
    ID_TYPES,
    LINKS,
    NODES,
    OWN,
    PROFILE,
    USER_ID,
    short,
    usable,
)
from transforms.identity.tables import LinkTable, NodeTable, unique_links

__all__ = [
    "B_TYPES",
    "DEVICE",
    "ID_TYPES",
    "LINKS",
    "NODES",
    "OWN",
    "PROFILE",
    "LinkTable",
    "NodeTable",
    "from_rows",
    "pack",
    "split",
    "unique_links",
    "unpack",
    "usable",
]


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
    no_id: tuple[str, ...] = (),
) -> tuple[pa.Table, pa.Table]:
    """The links and nodes of decoded rows of one event type.

    Columns have one entry a row; ``evidence`` is false for rows to be ignored (no valid ``time``, in UNIX seconds),
    ``file_index`` is the row's position in ``file_paths``. Returns (``LINKS``, each link once; ``NODES``, the distinct
    usable ids, with ``only_unlinked`` only those that no link of the table names), in order of first appearance.
    ``no_id``: more words that are not ids.
    """
    evidence = np.asarray(evidence, dtype=bool)
    count = len(evidence)
    seen_at = _Evidence(
        np.asarray(pc.fill_null(array(time), 0), dtype=np.int64), array(event_id), np.asarray(file_index), file_paths
    )
    if event_type == catalog.USER_ORPHAN:
        profile, survivor = _encode(USER_ID, [user_id, orphaned_by_id], [evidence, evidence], no_id)
        parts = [_links(PROFILE, profile, survivor, seen_at)]
        ids = [(USER_ID, [profile, survivor])]
    else:
        on_device = np.zeros(count, dtype=bool) if event_type.startswith(catalog.WEBHOOKS) else evidence
        if machine_open is not None:
            on_device = on_device & ~np.asarray(pc.fill_null(pc.equal(array(machine_open), "true"), False))
        (profile,) = _encode(USER_ID, [user_id], [evidence], no_id)
        (known,) = _encode(EXTERNAL_USER_ID, [external_user_id], [evidence], no_id)
        (device,) = _encode(DEVICE_ID, [device_id], [on_device], no_id)
        parts = [_links(OWN, profile, known, seen_at), _links(DEVICE, profile, device, seen_at)]
        ids = [(USER_ID, [profile]), (EXTERNAL_USER_ID, [known]), (DEVICE_ID, [device])]
    nodes = [_nodes(id_type, columns, only_unlinked) for id_type, columns in ids]
    return pa.concat_tables(parts).combine_chunks(), pa.concat_tables(nodes).combine_chunks()


def pack(table: pa.Table) -> bytes:
    """``table`` (``LINKS`` or ``NODES``) as bytes, the same for the same rows (of a slice, for the same slice)."""
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


def _encode(
    id_type: int, columns: Sequence[Strings], valid: Sequence[np.ndarray], no_id: tuple[str, ...]
) -> list[_Ids]:
    """The ``columns`` over joint names; ids that are not usable, or on rows that are not ``valid``, are none."""
    count = len(valid[0])
    arrays = [plain(column) if column is not None else pa.nulls(count, pa.string()) for column in columns]
    encoded = (arrays[0] if len(arrays) == 1 else pa.concat_arrays(arrays)).dictionary_encode()
    names = encoded.dictionary
    usable_code = np.append(np.where(usable(names, id_type, no_id), np.arange(len(names)), -1), -1)
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
    event_id = short(pc.fill_null(plain(seen_at.event_id.take(pa.array(rows))), "").cast(pa.string()))
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
