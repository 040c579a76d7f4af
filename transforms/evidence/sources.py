"""What one source of evidence says: its ids, each once, and links between their numbers; and how that travels.

A source is a unit, or a shard of all units' ids. Its ids stand in lists by type, and what else it says of one names it
by its position there. So a string leaves its source once, and is looked at again when all of them are numbered.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from transforms.arrow.columns import array
from transforms.arrow.hashing import shards
from transforms.evidence.ids import B_TYPES, ID_TYPES, LINKS, USER_ID
from transforms.evidence.links import MAX_BLOCK, split, unpack
from transforms.evidence.tables import with_ends

ASKED = len(ID_TYPES)
"""The list behind those of ``ID_TYPES``: external ids that are in no link and no node, and only asked about."""
LISTS = (*range(len(ID_TYPES)), ASKED)

_HEAD = struct.Struct("<III")  # number of the source, position of the part, parts of this source
_SECTION = struct.Struct("<BI")  # kind, bytes
_LINKS, _DELETED, _NOTES = range(len(LISTS), len(LISTS) + 3)


@dataclasses.dataclass(frozen=True)
class Source:
    """What one source says.

    Attributes:
        names: by type (a position in ``ID_TYPES``, or ``ASKED``) its distinct ids.
        links: ``LINKS`` between positions in ``names``.
        deleted: the positions of deleted profiles.
        anonymous: of each profile how many rows name it and no known user (int32).
        told: how many profiles, from the first on, it must be told about: the others are ends of links alone.
        begin: the number by which the source's own maker knows the first of them; the next one has the next.
        notes: JSON values that go along.
    """

    names: tuple[pa.Array, ...]
    links: pa.Table
    deleted: np.ndarray
    anonymous: np.ndarray
    told: int
    begin: int = 0
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many ids it names."""
        return sum(map(len, self.names))


def pack_source(number: int, source: Source) -> list[bytes]:
    """A source in parts of some four megabytes, one at least; each can be read by itself."""
    sections: list[tuple[int, bytes]] = []
    for kind, names in zip(LISTS, source.names, strict=True):
        columns = [names, pa.array(source.anonymous, pa.int32())] if kind == USER_ID else [names]
        sections += [(kind, block) for block in split(pa.Table.from_arrays(columns, schema=_schema(names, kind)))]
    sections += [(_LINKS, block) for block in split(source.links)]
    deleted = source.deleted.astype("<u4").tobytes()
    sections += [(_DELETED, deleted[at : at + MAX_BLOCK]) for at in range(0, len(deleted), MAX_BLOCK)]
    parts: list[bytearray] = [bytearray()]
    for kind, block in sections:
        if len(parts[-1]) and len(parts[-1]) + len(block) > MAX_BLOCK:
            parts.append(bytearray())
        parts[-1] += _SECTION.pack(kind, len(block)) + block
    packed = orjson.dumps({**source.notes, "told": source.told, "begin": source.begin})
    parts[-1] += _SECTION.pack(_NOTES, len(packed)) + packed
    return [_HEAD.pack(number, at, len(parts)) + part for at, part in enumerate(parts)]


def unpack_source(parts: list[bytes]) -> Source:
    """The source of all its parts (or, to look at it, of some), in their order."""
    names: list[list[pa.Array]] = [[] for _ in LISTS]
    links: list[pa.Table] = []
    anonymous: list[np.ndarray] = [np.zeros(0, np.int32)]
    deleted = b""
    notes: dict[str, Any] = {"told": 0, "begin": 0}
    for part in parts:
        for kind, block in _sections(part):
            if kind == _NOTES:
                notes |= orjson.loads(memoryview(block))
            elif kind == _LINKS:
                links.append(unpack(block))
            elif kind == _DELETED:
                deleted += bytes(block)
            else:
                table = unpack(block)
                names[kind].append(array(table["id"]))
                if kind == USER_ID:
                    anonymous.append(np.asarray(array(table["anonymous"])))
    told, begin = notes.pop("told"), notes.pop("begin")
    return Source(
        tuple(pa.concat_arrays(found) if found else pa.array([], pa.string()) for found in names),
        pa.concat_tables(links) if links else LINKS.empty_table(),
        np.frombuffer(deleted, "<u4").astype(np.int32),
        np.concatenate(anonymous),
        told,
        begin,
        notes,
    )


def place_of(part: bytes) -> tuple[int, int, int]:
    """(Number of the source, position of the part, how many parts the source has)."""
    number, position, count = _HEAD.unpack_from(part)
    return number, position, count


def _sections(part: bytes) -> Iterator[tuple[int, pa.Buffer]]:
    buffer, at = pa.py_buffer(part), _HEAD.size
    while at < len(part):
        kind, size = _SECTION.unpack_from(part, at)
        at += _SECTION.size
        yield kind, buffer.slice(at, size)
        at += size


def _schema(names: pa.Array, kind: int) -> pa.Schema:
    fields = [pa.field("id", names.type, False)]
    return pa.schema([*fields, pa.field("anonymous", pa.int32(), False)] if kind == USER_ID else fields)


def by_profile(source: Source, count: int) -> tuple[list[tuple[int, Source]], np.ndarray]:
    """The source cut into ``count`` shards by its profiles: (shard, source) pairs, and each profile's new position.

    A link goes with its profile, an id without one by itself, and each shard names what its links do. A profile's new
    position is the one among the profiles to be told about of all shards, one shard after the other.
    """
    profiles = source.names[USER_ID]
    if count == 1:
        return [(0, source)], np.arange(len(profiles), dtype=np.int32)
    home = [shards(names, count) for names in source.names]
    rank, a, b = (np.asarray(array(source.links[name])) for name in ("rank", "a", "b"))
    of_link = home[USER_ID][a]
    b_type = np.array(B_TYPES, np.int8)[rank]
    for kind in set(B_TYPES) - {USER_ID}:
        home[kind][b[b_type == kind]] = -1  # goes where its links go
    place = [np.zeros(len(names), np.int32) for names in source.names]
    cut, begin = [], 0
    for shard in range(count):
        rows = np.flatnonzero(of_link == shard)
        links, names = source.links.take(pa.array(rows)), []
        ends = np.empty(len(rows), np.int32)
        for kind in LISTS:
            chosen = np.flatnonzero(home[kind] == shard)
            of_kind = b_type[rows] == kind
            chosen = np.append(chosen, np.setdiff1d(b[rows[of_kind]], chosen))
            place[kind][chosen] = np.arange(len(chosen), dtype=np.int32)
            ends[of_kind] = place[kind][b[rows[of_kind]]]
            names.append(source.names[kind].take(pa.array(chosen)))
        if not sum(map(len, names)) and shard:
            continue
        links = with_ends(links, place[USER_ID][a[rows]], ends)
        gone = source.deleted[home[USER_ID][source.deleted] == shard]
        told = int((home[USER_ID] == shard).sum())
        profiles_here = np.flatnonzero(home[USER_ID] == shard)
        anonymous = np.zeros(len(names[USER_ID]), np.int32)  # of profiles that are ends of links alone, elsewhere
        anonymous[:told] = source.anonymous[profiles_here]
        notes = {} if shard else source.notes
        cut.append((shard, Source(tuple(names), links, place[USER_ID][gone], anonymous, told, begin, notes)))
        begin += told
    position = np.empty(len(profiles), np.int32)
    position[np.argsort(home[USER_ID], kind="stable")] = np.arange(len(profiles), dtype=np.int32)
    return cut, position
