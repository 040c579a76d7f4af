"""The link table as a graph: ids numbered, links in their strict order."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa

from transforms.identity.columns import array, bytewise_order, leading_bytes, runs
from transforms.identity.ids import B_TYPES, DEVICE, ID_TYPES, OWN, USER_ID

STATUSES = ("accepted", "redundant", "refused", "contested", "quarantined")
ACCEPTED, REDUNDANT, REFUSED, CONTESTED, QUARANTINED = range(5)
VIA = ("own", "profile", "device", "none")


@dataclasses.dataclass(frozen=True)
class Graph:
    """The links as edges between numbered ids.

    Ids are numbered in the order of (id_type, id), so numbers compare as typed ids do; ``first[t]`` is the first number
    of type ``t``, ``first[3]`` the number of ids. ``links`` is sorted by (rank, a, b); ``a``, ``b``, ``rank`` have one
    entry a link, ``order`` lists the links from the strongest to the weakest.
    """

    names: list[pa.Array]
    first: np.ndarray
    links: pa.Table
    a: np.ndarray
    b: np.ndarray
    rank: np.ndarray
    order: np.ndarray

    @property
    def size(self) -> int:
        return int(self.first[-1])

    def name(self, number: int) -> str:
        kind = int(np.searchsorted(self.first, number, side="right")) - 1
        return self.names[kind][number - self.first[kind]].as_py()


def build_graph(links: pa.Table, nodes: pa.Table) -> Graph:
    """Number the ids of ``links`` and ``nodes`` and put the links in their strict order."""
    rank = np.asarray(array(links["rank"]))
    if rank.size and (rank.min() < OWN or rank.max() > DEVICE):
        raise ValueError(f"link ranks reach from [{rank.min()}] to [{rank.max()}]; known are {OWN} to {DEVICE}")
    a_ids, b_ids = array(links["a"]), array(links["b"])
    kinds, node_ids = np.asarray(array(nodes["id_type"])), array(nodes["id"])
    names: list[pa.Array] = []
    first = np.zeros(len(ID_TYPES) + 1, dtype=np.int64)
    a = np.zeros(len(rank), dtype=np.int32)
    b = np.zeros(len(rank), dtype=np.int32)
    for kind in range(len(ID_TYPES)):
        rows = rank == B_TYPES.index(kind)
        parts = [b_ids.filter(pa.array(rows)), node_ids.filter(pa.array(kinds == kind))]
        if kind == USER_ID:
            parts.append(a_ids)
        encoded = array(pa.chunked_array([part.cast(pa.large_string()) for part in parts])).dictionary_encode()
        by_name = bytewise_order(encoded.dictionary)
        number = np.empty(len(by_name), dtype=np.int64)
        number[by_name] = np.arange(len(by_name)) + first[kind]
        numbers = number[np.asarray(encoded.indices)]
        b[rows] = numbers[: len(parts[0])]
        if kind == USER_ID:
            a[:] = numbers[len(numbers) - len(a) :]
        names.append(encoded.dictionary.take(pa.array(by_name)))
        first[kind + 1] = first[kind] + len(by_name)
    by_key = np.lexsort((b, a, rank))
    if (np.diff(by_key) != 1).any():
        links = pa.table({name: array(links[name]).take(pa.array(by_key)) for name in links.column_names})
        a, b, rank = a[by_key], b[by_key], rank[by_key]
    return Graph(names, first, links, a, b, rank, _order(links, rank, a, b))


def _order(links: pa.Table, rank: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
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
