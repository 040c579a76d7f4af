"""What leaves the resolver: the identity files, and the answers that sources need."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.arrow.columns import array
from transforms.arrow.hashing import person_hash
from transforms.evidence.anonymous_ids import anonymous_ids
from transforms.evidence.ids import EXTERNAL_USER_ID, USER_ID
from transforms.identity.resolution import IDS, RESOLVED_LINKS, Resolution
from transforms.vocabulary.outputs import OUTPUT_FILES

ROWS_A_FILE = 1_000_000
_ROWS_A_GROUP = 1 << 17
_LINES_A_BLOCK = 100_000

ANSWERS = pa.schema(
    [
        pa.field("known_user", pa.string()),
        pa.field("via", pa.int8(), False),  # the position in ``VIA``
        pa.field("deleted", pa.bool_(), False),
        pa.field("whole_person", pa.bool_(), False),
        pa.field("suppressed", pa.bool_(), False),
        pa.field("person", pa.uint64(), False),  # ``hashing.person_hash`` of who the profile is
    ]
)

CROWD_IDS = pa.schema(
    [
        pa.field("number", pa.uint32(), False),
        pa.field("id", pa.string(), False),
        pa.field("suppressed", pa.bool_(), False),
    ]
)
"""External ids that were dropped, and those of suppressed persons, by their number among those that a source names."""


def identity_files(resolution: Resolution) -> Iterator[tuple[str, bytes, int]]:
    """(Path, content, rows) of ``ids-*.parquet`` and ``links-*.parquet``; at least one of each."""
    for name, table, schema in (("ids", resolution.ids, IDS), ("links", resolution.links, RESOLVED_LINKS)):
        for number in range(max(1, -(-table.num_rows // ROWS_A_FILE))):
            begin = number * ROWS_A_FILE
            rows = min(ROWS_A_FILE, table.num_rows - begin)
            sink = pa.BufferOutputStream()
            with pq.ParquetWriter(sink, schema, compression="zstd", version="2.6") as writer:
                for at in range(0, max(rows, 1), _ROWS_A_GROUP):
                    group = table.slice(begin + at, min(_ROWS_A_GROUP, rows - at)).cast(schema)
                    writer.write_table(group, row_group_size=_ROWS_A_GROUP)
                    del group
            yield OUTPUT_FILES["identity"].at(number, table=name), sink.getvalue().to_pybytes(), rows


class ProfileLines:
    """What there is to say of each profile, by its number in the graph: a line of ``ANSWERS`` each."""

    def __init__(self, resolution: Resolution, deleted: np.ndarray, suppressed: np.ndarray | None = None) -> None:
        """``deleted``: the deleted profiles, counted from the first profile; ``suppressed``: whether each is to stay
        out (bool).

        A person is whole in the deletions if every profile of its known user was deleted; a profile without a known
        user is a person of its own.
        """
        graph = resolution.graph
        begin, end = graph.first[USER_ID], graph.first[USER_ID + 1]
        self._users = graph.of_type(EXTERNAL_USER_ID)
        known = resolution.known[begin:end]
        has_user = known >= 0
        self._user = np.where(has_user, known - graph.first[EXTERNAL_USER_ID], -1).astype(np.int32)
        self._deleted = np.zeros(end - begin, bool)
        self._deleted[deleted] = True
        self._suppressed = np.zeros(end - begin, bool) if suppressed is None else suppressed
        survives = np.zeros(len(self._users) + 1, bool)
        survives[self._user[~self._deleted & has_user]] = True
        self._whole = ~(survives[self._user] & has_user)
        self._via = resolution.via.astype(np.int8)
        self._person = person_hash(anonymous_ids(graph.of_type(USER_ID)), False)
        self._person[has_user] = person_hash(self._users, True)[self._user[has_user]]

    def of(self, numbers: np.ndarray) -> Iterator[tuple[int, pa.Table]]:
        """(How many lines come before, ``ANSWERS``) of profiles, counted from the first, in their order."""
        for begin in range(0, len(numbers), _LINES_A_BLOCK):
            rows = numbers[begin : begin + _LINES_A_BLOCK]
            user = self._user[rows]
            columns = [
                self._users.take(pa.array(np.maximum(user, 0), mask=user < 0)).cast(pa.string()),
                *(
                    pa.array(values[rows])
                    for values in (self._via, self._deleted, self._whole, self._suppressed, self._person)
                ),
            ]
            yield begin, pa.Table.from_arrays(columns, schema=ANSWERS)


class CrowdLines:
    """Which external ids were dropped, or are suppressed persons', for sources that know them by numbers."""

    def __init__(self, externals: pa.Array, dropped: pa.Array, suppressed: pa.Array | None = None) -> None:
        self._externals = externals
        self._is_dropped = _is_in(externals, dropped)
        none = np.zeros(len(externals), bool)
        self._is_suppressed = none if suppressed is None else _is_in(externals, suppressed) & ~self._is_dropped

    def of(self, externals: np.ndarray) -> pa.Table:
        """``CROWD_IDS`` of a source's external ids, by their numbers in all."""
        places = np.flatnonzero((self._is_dropped | self._is_suppressed)[externals])
        ids = array(self._externals.take(pa.array(externals[places]))).cast(pa.string())
        suppressed = pa.array(self._is_suppressed[externals[places]])
        return pa.Table.from_arrays([pa.array(places.astype(np.uint32)), ids, suppressed], schema=CROWD_IDS)


def _is_in(values: pa.Array, asked: pa.Array) -> np.ndarray:
    found: np.ndarray = pc.is_in(values, value_set=asked.cast(values.type)).to_numpy(zero_copy_only=False)
    return found
