"""The links as a graph: ids numbered in their bytewise order, links in their strict one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.arrow.columns import array, bytewise_order, leading_bytes, plain, runs
from transforms.evidence.ids import BOUND, DEVICE, EXTERNAL_USER_ID, ID_TYPES, OWN, PROFILE
from transforms.evidence.tables import ends
from transforms.vocabulary.persons import LINK_STATUSES

ACCEPTED, REDUNDANT, REFUSED, CONTESTED, QUARANTINED = map(
    LINK_STATUSES.position, ("accepted", "redundant", "refused", "contested", "quarantined")
)


@dataclasses.dataclass(frozen=True)
class Graph:
    """The links as edges between numbered ids.

    ``names`` are all ids in the order of (id_type, id), so numbers compare as typed ids do; ``first[t]`` is the first
    number of type ``t``, ``first[3]`` the number of ids. ``links`` (time, event_id, file) is sorted by (rank, type of
    ``b``, a, b); ``a``, ``b``, ``rank`` have one entry a link, ``order`` lists the links from the strongest to the
    weakest.
    ``device`` is the number of the device that a link between two profiles comes from, -1 for other links.
    ``bound`` (a, b, time, event_id, file, last) has the bound rows of profiles on devices, sorted by (a, b).
    """

    names: pa.Array
    first: np.ndarray
    links: pa.Table
    a: np.ndarray
    b: np.ndarray
    rank: np.ndarray
    order: np.ndarray
    device: np.ndarray
    bound: pa.Table

    @property
    def size(self) -> int:
        return int(self.first[-1])

    def of_type(self, kind: int) -> pa.Array:
        """The ids of a type, in order."""
        return self.names.slice(self.first[kind], self.first[kind + 1] - self.first[kind])

    def type_of(self, numbers: np.ndarray) -> np.ndarray:
        """The types (int8) of ids."""
        kind: np.ndarray = np.searchsorted(self.first, numbers, side="right") - 1
        return kind.astype(np.int8)

    def name(self, number: int) -> str:
        return str(self.names[int(number)].as_py())

    def without(self, users: np.ndarray) -> Graph:
        """The graph in which nobody is one of the known ``users``; whoever was stays, linked by the rest."""
        kept = np.ones(self.size, bool)
        kept[users] = False
        number = np.cumsum(kept, dtype=np.int32) - np.int32(1)
        first = self.first.copy()
        first[EXTERNAL_USER_ID + 1 :] -= len(users)
        rest = self.of_links(kept[self.b])
        names = self.names.filter(pa.array(kept))
        bound = self.bound.set_column(0, "a", pa.array(number[np.asarray(array(self.bound["a"]))]))
        return dataclasses.replace(rest, names=names, first=first, a=number[rest.a], b=number[rest.b], bound=bound)

    def of_links(self, kept: np.ndarray) -> Graph:
        """The graph of all ids and the ``kept`` links (a mask)."""
        links, place = self.links.filter(pa.array(kept)), np.cumsum(kept) - 1
        order = place[self.order[kept[self.order]]]
        a, b, rank, device = (values[kept] for values in (self.a, self.b, self.rank, self.device))
        return Graph(self.names, self.first, links, a, b, rank, order, device, self.bound)

    def with_links(self, a: np.ndarray, b: np.ndarray, device: np.ndarray, evidence: pa.Table) -> Graph:
        """The graph with links of the rank ``DEVICE`` between profiles, in their order, that come from devices."""
        if not len(a):
            return self
        links = pa.table(
            {
                name: _one(pa.chunked_array([*self.links[name].chunks, *evidence[name].chunks]))
                for name in self.links.column_names
            }
        )
        a, b, device = (
            np.concatenate((old, new.astype(np.int32)))
            for old, new in ((self.a, a), (self.b, b), (self.device, device))
        )
        rank = np.concatenate((self.rank, np.full(evidence.num_rows, DEVICE, self.rank.dtype)))
        return dataclasses.replace(
            self, links=links, a=a, b=b, rank=rank, device=device, order=strict_order(links, rank, a, b)
        )


def undirected(graph: Graph) -> Graph:
    """The graph without the later of two orphan links between the same profiles, one each way: they say the same."""
    rows = np.flatnonzero(graph.rank == PROFILE)
    least, most = np.minimum(graph.a, graph.b)[rows], np.maximum(graph.a, graph.b)[rows]
    pairs = least.astype(np.int64) << 32 | most
    found, count = np.unique(pairs, return_counts=True)
    rows = rows[np.isin(pairs, found[count > 1])]
    if not rows.size:
        return graph
    evidence = graph.links.take(pa.array(rows))
    keys = pa.table(
        {
            "least": np.minimum(graph.a[rows], graph.b[rows]),
            "most": np.maximum(graph.a[rows], graph.b[rows]),
            **{name: array(evidence[name]) for name in ("time", "event_id", "file")},
        }
    )
    order = np.asarray(pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in keys.column_names]))
    low, high = (np.asarray(array(keys[name]))[order] for name in ("least", "most"))
    later = np.append(False, (low[1:] == low[:-1]) & (high[1:] == high[:-1]))
    kept = np.ones(len(graph.a), bool)
    kept[rows[order[later]]] = False
    return graph.of_links(kept)


def build_graph(names: Sequence[pa.Array], links: pa.Table) -> tuple[Graph, list[np.ndarray]]:
    """Put ids (by type the distinct ones) and ``LINKS`` between their positions in order.

    Returns the graph, and of each type the number (int32) in the graph of each of its ids.
    """
    rank = np.asarray(array(links["rank"]))
    if rank.size and (rank.min() < OWN or rank.max() > BOUND):
        raise ValueError(f"link ranks reach from [{rank.min()}] to [{rank.max()}]; known are {OWN} to {BOUND}")
    first = np.zeros(len(ID_TYPES) + 1, dtype=np.int64)
    in_order: list[pa.Array] = []
    numbers: list[np.ndarray] = []
    for kind in range(len(ID_TYPES)):
        ids = plain(names[kind])
        by_name = bytewise_order(ids)
        number = np.empty(len(ids), dtype=np.int32)
        number[by_name] = np.arange(len(ids), dtype=np.int32) + np.int32(first[kind])
        numbers.append(number)
        in_order.append(ids.take(pa.array(by_name)))
        first[kind + 1] = first[kind] + len(ids)
    a, b = ends(links, numbers)
    by_key = np.lexsort((b, a, rank))
    evidence = links.select(["time", "event_id", "file", "last"])
    if (np.diff(by_key) != 1).any():
        taken = pa.array(by_key)
        evidence = pa.table({name: _one(evidence[name]).take(taken) for name in evidence.column_names})
        a, b, rank = a[by_key], b[by_key], rank[by_key]
    end = int(np.searchsorted(rank, BOUND))
    bound = pa.table({"a": pa.array(a[end:]), "b": pa.array(b[end:])})
    for name in evidence.column_names:
        bound = bound.append_column(name, evidence[name].slice(end))
    evidence, a, b, rank = evidence.select(["time", "event_id", "file"]).slice(0, end), a[:end], b[:end], rank[:end]
    no_device = np.full(end, -1, np.int32)
    order = strict_order(evidence, rank, a, b)
    return Graph(_joined(in_order), first, evidence, a, b, rank, order, no_device, bound), numbers


def _one(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece; a dictionary stays one."""
    if not pa.types.is_dictionary(column.type):
        return array(column)
    column = column.unify_dictionaries().combine_chunks()
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column


def _joined(names: list[pa.Array]) -> pa.Array:
    large = sum(part.nbytes for part in names) > 1 << 30 or any(pa.types.is_large_string(part.type) for part in names)
    kind = pa.large_string() if large else pa.string()
    return pa.concat_arrays([part.cast(kind) for part in names])


def strict_order(links: pa.Table, rank: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The links from the strongest to the weakest."""
    time, event_id = np.asarray(array(links["time"])), array(links["event_id"])
    lead = leading_bytes(event_id)
    order = np.lexsort((lead, time, rank))
    tied, run = runs(rank[order], time[order], lead[order])
    if tied.any():
        # Only these need their event ids compared as strings; each keeps to the places of its own run of equals.
        rows = order[tied]
        name = event_id.take(pa.array(rows)).dictionary_encode()
        position = np.empty(len(name.dictionary), dtype=np.int64)
        position[bytewise_order(name.dictionary)] = np.arange(len(position))
        low, high = np.minimum(a[rows], b[rows]), np.maximum(a[rows], b[rows])
        # The profile last: two orphan links may name the same two profiles, each as the other's survivor.
        order[tied] = rows[np.lexsort((a[rows], high, low, position[np.asarray(name.indices)], run))]
    return order
