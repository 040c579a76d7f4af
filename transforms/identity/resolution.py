"""What the resolver found, as numbers; strings stand in its tables where they are asked for, slice by slice."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.arrow.columns import array
from transforms.evidence.anonymous_ids import anonymous_ids
from transforms.evidence.ids import EXTERNAL_USER_ID, ID_TYPES, USER_ID
from transforms.identity.graph import Graph
from transforms.identity.spanning import Joined
from transforms.vocabulary.persons import LINK_STATUSES, VIA

RESOLVED_LINKS = pa.schema(
    [(name, pa.string()) for name in ("a_type", "a", "b_type", "b")]
    + [("rank", pa.int8()), ("time", pa.int64()), ("event_id", pa.string()), ("file", pa.string())]
    + [("status", pa.string()), ("device_id", pa.string())]
)
IDS = pa.schema([(name, pa.string()) for name in ("id_type", "id", "distinct_id", "cluster")])
_PREFIXES = pa.array([f"{name}:" if name != ID_TYPES[EXTERNAL_USER_ID] else "" for name in ID_TYPES])


@dataclasses.dataclass(frozen=True)
class Resolution:
    """What the resolver found.

    Attributes:
        graph: ids and links; its numbers are meant below.
        status: of each link a position in ``LINK_STATUSES``.
        cluster: of each id the least id of its cluster.
        known: of each id its cluster's known user, -1 for none.
        via: of each profile a position in ``VIA``: ``own`` (own external id), ``profile`` (through a merged profile),
            ``device`` or ``none``.
        before: what was one without devices.
        dropped: the external ids that were left out as a crowd's, which are not in the graph.
        figures: counts and examples for the report (see ``figures.summary``).
    """

    graph: Graph
    status: np.ndarray
    cluster: np.ndarray
    known: np.ndarray
    via: np.ndarray
    before: Joined
    dropped: pa.Array
    figures: dict[str, Any]

    @property
    def links(self) -> pa.Table:
        """Every link with its status, by (rank, b_type, a, b); ``RESOLVED_LINKS`` once its dictionaries are cast.

        ``device_id`` is the device that a link between two profiles comes from, null for other links.
        """
        graph = self.graph
        columns = {
            "a_type": _words(np.full(len(self.status), USER_ID, dtype=np.int8), ID_TYPES),
            "a": pa.DictionaryArray.from_arrays(pa.array(graph.a), graph.names),
            "b_type": _words(graph.type_of(graph.b), ID_TYPES),
            "b": pa.DictionaryArray.from_arrays(pa.array(graph.b), graph.names),
            "rank": pa.array(graph.rank),
            **{name: graph.links[name] for name in ("time", "event_id", "file")},
            "status": _words(self.status, LINK_STATUSES.codes),
            "device_id": pa.DictionaryArray.from_arrays(pa.array(graph.device, mask=graph.device < 0), graph.names),
        }
        return pa.table({name: columns[name] for name in RESOLVED_LINKS.names})

    @property
    def ids(self) -> Ids:
        """Every id, by (id_type, id), with its ``distinct_id`` and its cluster's name."""
        return Ids(self)

    @property
    def profiles(self) -> pa.Table:
        """Every Braze profile: ``id``, ``known_user``, ``via`` and the number of its ``cluster``."""
        begin, end = self.graph.first[USER_ID], self.graph.first[USER_ID + 1]
        user = self.known[begin:end]
        return pa.table(
            {
                "id": self.graph.of_type(USER_ID),
                "known_user": self.graph.names.take(pa.array(np.maximum(user, 0), mask=user < 0)),
                "via": _words(self.via, VIA.codes),
                "cluster": pa.array(self.cluster[begin:end].astype(np.int64)),
            }
        )


class Ids:
    """The table ``IDS`` of a resolution, of which only a slice has strings of its own.

    ``cluster`` is the cluster's known user, else its least "type:id". ``distinct_id`` is the known user, else of a
    profile its anonymous id, else null.
    """

    def __init__(self, resolution: Resolution, columns: Sequence[str] = IDS.names) -> None:
        self._resolution = resolution
        self._columns = columns
        self.num_rows = resolution.graph.size

    def select(self, columns: Sequence[str]) -> Ids:
        """The same of some columns only."""
        return Ids(self._resolution, columns)

    def slice(self, offset: int = 0, length: int | None = None) -> pa.Table:
        """Rows of the table."""
        stop = self.num_rows if length is None else min(offset + length, self.num_rows)
        begin = min(offset, stop)
        made = {"id_type": self._id_type, "id": self._id, "distinct_id": self._distinct_id, "cluster": self._cluster}
        schema = pa.schema([IDS.field(name) for name in self._columns])
        return pa.Table.from_arrays(
            [made[name](begin, stop).cast(pa.string()) for name in self._columns], schema=schema
        )

    def _id_type(self, begin: int, end: int) -> pa.Array:
        return _words(self._resolution.graph.type_of(np.arange(begin, end)), ID_TYPES)

    def _id(self, begin: int, end: int) -> pa.Array:
        return self._resolution.graph.names.slice(begin, end - begin)

    def _cluster(self, begin: int, end: int) -> pa.Array:
        known, least = self._resolution.known[begin:end], self._resolution.cluster[begin:end]
        named_for = np.where(known >= 0, known, least)
        names = array(self._resolution.graph.names.take(pa.array(named_for)))
        prefix = _PREFIXES.take(pa.array(self._resolution.graph.type_of(named_for))).cast(names.type)
        return pc.binary_join_element_wise(prefix, names, pa.scalar("", names.type))

    def _distinct_id(self, begin: int, end: int) -> pa.Array:
        known = self._resolution.known[begin:end]
        person = self._resolution.graph.names.take(pa.array(np.maximum(known, 0), mask=known < 0))
        anonymous = (known < 0) & (np.arange(begin, end) >= self._resolution.graph.first[USER_ID])
        if not anonymous.any():
            return person
        own = anonymous_ids(self._id(begin, end))
        return pc.coalesce(person, pc.if_else(pa.array(anonymous), own, pa.scalar(None, own.type)))


def _words(codes: np.ndarray, words: tuple[str, ...]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(words))
