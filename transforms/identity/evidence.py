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

from transforms.accounting import SHOWN, shown
from transforms.currents import catalog
from transforms.currents.broken_text import broken_ids, broken_names
from transforms.currents.paths import Unit
from transforms.currents.units import Rows, UnitReader
from transforms.identity.columns import array, text
from transforms.identity.hashing import hash_of, shards
from transforms.identity.ids import EXTERNAL_USER_ID, USER_ID, given, usable
from transforms.identity.links import LINKS, NODES, NodeTable, from_rows, split, unique_links
from transforms.identity.repeats import keys, pack_keys
from transforms.settings import Settings

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
        links, nodes: ``LINKS`` and ``NODES`` in blocks by shard of their profile or id, each once in this unit.
        deleted: the profiles of ``users.UserDeleteRequest`` rows, as ``NODES``, by shard.
        asked: the distinct profiles whose rows must be told who they are, as ``NODES``, by shard; where crowd ids are
            dropped, the external ids too.
        asked_count: how many those are.
        keys: event-id keys by shard; ``key_count`` of them.
        row_count: rows by the block headers; ``rows`` those that were decoded.
        workspaces: ``app_group_id`` to the first file that has it, the least few of them.
    """

    links: Blocks
    nodes: Blocks
    deleted: Blocks
    asked: Blocks
    asked_count: int
    keys: Blocks
    key_count: int
    row_count: int
    rows: int
    checksums: list[int]
    workspaces: dict[str, str]


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
    links: list[pa.Table] = []
    nodes, deleted = NodeTable(), NodeTable()
    names = [file.name for file in unit.files]
    # Files are in bytewise order, so a number is compared as the name it stands for would be, and is shorter.
    numbers = [f"{number:07d}" for number in range(len(names))]
    profiles: list[pa.Array] = []
    externals: list[pa.Array] = []
    key_parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    workspaces: dict[str, str] = {}
    decoded = 0
    for rows in reader.rows(None if settings.thorough else COLUMNS):
        decoded += len(rows.row)
        count = len(rows.row)
        evidence = settings.valid_times(np.asarray(pc.fill_null(array(rows.table["time"]), 0)))
        evidence &= ~broken_ids(rows.broken, count)
        found = _links(rows, evidence, numbers, settings.no_id)
        links.append(found[0])
        nodes.add(found[1])
        user_id = _column(rows.table, "user_id")
        if user_id is not None:
            profiles.append(_usable(user_id, evidence, USER_ID, settings))
            if rows.event_type == catalog.USER_DELETE_REQUEST:
                # Only a row that makes a line in deletions/ deletes: one without an id is a reject.
                asking = _usable(user_id, evidence & given(rows.table["id"]), USER_ID, settings)
                deleted.add(_nodes(asking))
        external_user_id = _column(rows.table, "external_user_id")
        if settings.crowd_ids == "drop" and external_user_id is not None:
            externals.append(_usable(external_user_id, evidence, EXTERNAL_USER_ID, settings))
        pairs, _ = keys(rows.event_type, rows.table["id"])
        valid = given(rows.table["id"])
        # A row that is a reject for its event's name says who is who, and no row is a repeat of it.
        named = ~broken_names(rows.event_type, rows.broken, count)
        key_parts.append((pairs, valid & evidence & named, rows.unit_row))
        _note_workspaces(rows, names, workspaces)
    asked = pa.concat_tables([_nodes(_once(profiles)), _nodes(_once(externals), EXTERNAL_USER_ID)])
    key_blocks = list(_key_blocks(key_parts, reader.row_count, key_shards))
    link_table = unique_links(pa.concat_tables(links)) if len(links) > 1 else links[0] if links else LINKS.empty_table()
    link_table = _with_names(link_table, names)
    node_table = nodes.result()
    return UnitEvidence(
        links=sharded(link_table, "a", id_shards),
        nodes=sharded(node_table, "id", id_shards),
        deleted=sharded(deleted.result(), "id", id_shards),
        asked=sharded(asked, "id", id_shards),
        asked_count=asked.num_rows,
        keys=key_blocks,
        key_count=sum(int(valid.sum()) for _, valid, _ in key_parts),
        row_count=reader.row_count,
        rows=decoded,
        checksums=reader.checksums,
        workspaces=workspaces,
    )


def _links(rows: Rows, evidence: np.ndarray, names: list[str], no_id: tuple[str, ...]) -> tuple[pa.Table, pa.Table]:
    columns = {
        name: _column(rows.table, name)
        for name in ("user_id", "external_user_id", "device_id", "orphaned_by_id", "machine_open")
    }
    if "machine_open" in rows.broken:
        # Null says that a person opened it; what cannot be read does not.
        columns["machine_open"] = pc.if_else(pa.array(rows.broken["machine_open"]), "true", columns["machine_open"])
    return from_rows(
        rows.event_type,
        event_id=rows.table["id"],
        time=array(rows.table["time"]).cast(pa.int64()),
        evidence=evidence,
        file_index=rows.file,
        file_paths=names,
        only_unlinked=True,
        no_id=no_id,
        **columns,
    )


def _with_names(links: pa.Table, names: list[str]) -> pa.Table:
    """Links with their file's name, as a dictionary, in the place of its number."""
    numbers = pc.cast(links["file"], pa.int32()).combine_chunks()
    return links.set_column(5, "file", pa.DictionaryArray.from_arrays(numbers, pa.array(names, pa.string())))


def _column(table: pa.Table, name: str) -> pa.Array | None:
    return text(table[name]) if name in table.column_names else None


def _usable(ids: pa.Array, rows: np.ndarray, id_type: int, settings: Settings) -> pa.Array:
    """The distinct ids of the ``rows`` that name someone."""
    distinct = ids.filter(pa.array(rows)).unique()
    return distinct.filter(pa.array(usable(distinct, id_type, settings.no_id)))


def _once(ids: list[pa.Array]) -> pa.Array:
    return pa.chunked_array(ids, pa.string()).unique() if ids else pa.array([], pa.string())


def _nodes(ids: pa.Array, id_type: int = USER_ID) -> pa.Table:
    kinds = pa.array(np.full(len(ids), id_type, np.int8))
    return pa.Table.from_arrays([kinds, ids.cast(pa.string())], schema=NODES)


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
