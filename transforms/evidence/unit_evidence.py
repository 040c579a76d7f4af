"""The narrow pass over one unit: only what says who is who, and which rows repeat, in packed blocks.

A row counts as evidence if its ``time`` is one that Mixpanel takes and its ids are UTF-8; repeats count like the rows
they repeat.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.arrow.columns import array, text
from transforms.arrow.hashing import hash_of, shards
from transforms.currents import catalog
from transforms.currents.broken_fields import broken_ids, broken_names
from transforms.currents.paths import Unit
from transforms.currents.repeats import keys, pack_keys
from transforms.currents.unit_reader import Rows, UnitReader
from transforms.evidence.ids import EXTERNAL_USER_ID, USER_ID, given, usable
from transforms.evidence.links import NO_PROFILE, UnitLinks, split
from transforms.evidence.sources import ASKED, Source, by_profile, pack_source
from transforms.settings import Settings
from transforms.telemetry.tally import SHOWN, shown

COLUMNS = (
    "id", "time", "user_id", "external_user_id", "device_id", "orphaned_by_id", "machine_open", "app_group_id",
)  # fmt: skip

WORKSPACES_KEPT = 100
"""Of a unit, and of the run: more than one is too many, and a column of anything may stand in their place."""

Blocks = list[tuple[int, bytes]]
"""(Shard, packed table) pairs."""


@dataclasses.dataclass
class UnitEvidence:
    """What the narrow pass found in one unit.

    Attributes:
        parts: what the unit says of ids as a ``Source``, in parts by the shard of its profiles.
        profile: of each row its profile, by the number under which the unit will be told about it, or ``NO_PROFILE``.
        told: of how many profiles it must be told; ``externals`` of how many external ids, where it asks for them.
        keys: event-id keys by shard; ``key_count`` of them.
        row_count: rows by the block headers; ``rows`` those that were decoded.
    """

    parts: Blocks
    profile: np.ndarray
    told: int
    externals: int
    keys: Blocks
    key_count: int
    row_count: int
    rows: int
    checksums: list[int]


def gather(
    unit: Unit,
    settings: Settings,
    id_shards: int,
    key_shards: int,
    read_concurrency: int = 1,
    on_file: Callable[[str], None] | None = None,
) -> UnitEvidence:
    """Read the id columns of a unit; ``on_file`` is told the path of each file before it is looked at."""
    reader = UnitReader(unit, None, read_concurrency, settings.max_block_mb << 20, on_file)
    names = [file.name for file in unit.files]
    links = UnitLinks(names, settings.no_id)
    asked: list[pa.Array] = []
    key_parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    workspaces: dict[str, str] = {}
    decoded = 0
    for rows in reader.rows(None if settings.read_whole_rows else COLUMNS):
        decoded += len(rows.row)
        count = len(rows.row)
        evidence = settings.valid_times(np.asarray(pc.fill_null(array(rows.table["time"]), 0)))
        evidence &= ~broken_ids(rows.broken, count)
        valid = given(rows.table["id"])
        _add(links, rows, evidence, valid)
        external = _column(rows.table, "external_user_id") if settings.asks_externals else None
        if external is not None and settings.suppress is not None:
            asked.append(external.unique())  # whoever a row names, with a profile or without
        elif external is not None and rows.event_type == catalog.USER_ORPHAN:
            # They make no link, but their rows may be sent.
            asked.append(external.filter(pa.array(evidence)).unique())
        pairs, _ = keys(rows.event_type, rows.table["id"])
        # A row that is a reject for its event's name says who is who, and no row is a repeat of it.
        named = ~broken_names(rows.event_type, rows.broken, count)
        key_parts.append((pairs, valid & evidence & named, rows.unit_row))
        _note_workspaces(rows, names, workspaces)
    ids = links.result(reader.row_count)
    lists = *ids.names, _only_asked(asked, ids.names[EXTERNAL_USER_ID], settings)
    told = len(ids.names[USER_ID])
    source = Source(lists, ids.links, ids.deleted, ids.anonymous, told, notes={"workspaces": workspaces})
    cut, number = by_profile(source, id_shards)
    parts = [(shard, part) for shard, each in cut for part in pack_source(unit.number, each)]
    asked_in = sum(len(each.names[EXTERNAL_USER_ID]) + len(each.names[ASKED]) for _, each in cut)
    return UnitEvidence(
        parts=parts,
        profile=np.append(number.astype(np.uint32), NO_PROFILE)[np.minimum(ids.profile, told)],
        told=told,
        externals=asked_in if settings.asks_externals else 0,
        keys=list(_key_blocks(key_parts, reader.row_count, key_shards)),
        key_count=sum(int(valid.sum()) for _, valid, _ in key_parts),
        row_count=reader.row_count,
        rows=decoded,
        checksums=reader.checksums,
    )


def _add(links: UnitLinks, rows: Rows, evidence: np.ndarray, valid: np.ndarray) -> None:
    columns = {
        name: _column(rows.table, name)
        for name in ("user_id", "external_user_id", "device_id", "orphaned_by_id", "machine_open")
    }
    if "machine_open" in rows.broken:
        # Null says that a person opened it; what cannot be read does not.
        columns["machine_open"] = pc.if_else(pa.array(rows.broken["machine_open"]), "true", columns["machine_open"])
    links.add(
        rows.event_type,
        event_id=rows.table["id"],
        time=array(rows.table["time"]).cast(pa.int64()),
        evidence=evidence,
        file_index=rows.file,
        unit_row=rows.unit_row,
        # Only a row that makes a line in deletions/ deletes: one without an id is a reject.
        deletes=valid if rows.event_type == catalog.USER_DELETE_REQUEST else None,
        **columns,
    )


def _only_asked(columns: list[pa.Array], named: pa.Array, settings: Settings) -> pa.Array:
    """The distinct external ids of ``columns`` that name someone and are not ``named`` already."""
    if not columns:
        return pa.array([], pa.string())
    distinct = array(pa.chunked_array(columns, pa.string())).unique()
    good = usable(distinct, EXTERNAL_USER_ID, settings.no_id)
    known = pc.is_in(distinct, value_set=named.cast(pa.string())).to_numpy(zero_copy_only=False)
    return distinct.filter(pa.array(good & ~known))


def _column(table: pa.Table, name: str) -> pa.Array | None:
    return text(table[name]) if name in table.column_names else None


def sharded(table: pa.Table, by: str, count: int) -> Blocks:
    """A table in packed blocks, by the shard of one of its columns."""
    if not table.num_rows:
        return []
    return dealt(table, None if count == 1 else shards(array(table[by]), count), count)


def dealt(table: pa.Table, shard: np.ndarray | None, count: int) -> Blocks:
    """A table in packed blocks, by the shard of each row."""
    if count == 1 or shard is None:
        return [(0, block) for block in split(table)]
    order = np.argsort(shard, kind="stable")
    bounds = np.searchsorted(shard[order], np.arange(count + 1))
    return [
        (number, block)
        for number, (begin, end) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
        if end > begin
        for block in split(table.take(pa.array(order[begin:end])))
    ]


def _key_blocks(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]], row_count: int, count: int) -> Blocks:
    """The keys of a unit's rows, put at their place among its rows, whatever order the chunks came in."""
    pairs = np.zeros((row_count, 2), np.uint64)
    valid = np.zeros(row_count, bool)
    for part, good, unit_row in parts:
        pairs[unit_row] = part
        valid[unit_row] = good
    return list(pack_keys(pairs, valid, count))


def _note_workspaces(rows: Rows, names: list[str], workspaces: dict[str, str]) -> None:
    values = _column(rows.table, "app_group_id")
    if values is None:
        return
    if "app_group_id" in rows.broken:
        values = pc.if_else(pa.array(rows.broken["app_group_id"]), pa.scalar(None, pa.string()), values)
    encoded = values.dictionary_encode()
    numbers = {workspace: number for number, workspace in enumerate(encoded.dictionary.to_pylist())}
    for workspace in sorted(workspace for workspace in numbers if workspace and workspace.strip())[:WORKSPACES_KEPT]:
        place = pc.index(encoded.indices, numbers[workspace]).as_py()
        name = names[int(rows.file[place])]
        label = workspace if len(workspace) <= SHOWN else f"{shown(workspace)} {hash_of(workspace)}"
        workspaces[label] = min(name, workspaces.get(label, name))
    for label in sorted(workspaces)[WORKSPACES_KEPT:]:
        del workspaces[label]
