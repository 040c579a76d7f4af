"""Forests over the links of a graph: which links join what is not one yet, and what then is one."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from transforms.evidence.ids import EXTERNAL_USER_ID
from transforms.identity.graph import Graph


@dataclasses.dataclass(frozen=True)
class Joined:
    """Of each id the least id (int32) of its cluster, and the number of the cluster's known user, -1 for none."""

    cluster: np.ndarray
    known: np.ndarray

    @classmethod
    def by(cls, graph: Graph, accepted: np.ndarray) -> Joined:
        """By the accepted links (a mask)."""
        cluster = components(graph.size, graph.a[accepted], graph.b[accepted])
        users = np.arange(graph.first[EXTERNAL_USER_ID], graph.first[EXTERNAL_USER_ID + 1])
        of_cluster = np.full(graph.size, -1, dtype=np.int32)
        of_cluster[cluster[users]] = users
        return cls(cluster, of_cluster[cluster])

    def extended(self, a: np.ndarray, b: np.ndarray) -> Joined:
        """With weaker links between ids, strongest first, of which those count that join no two known users.

        The clusters are taken for points, so it costs what the weaker links do.
        """
        tail, head = self.cluster[a].astype(np.int64), self.cluster[b].astype(np.int64)
        low, high = np.minimum(tail, head), np.maximum(tail, head)
        strongest = np.sort(np.unique(low << 32 | high, return_index=True)[1])
        strongest = strongest[low[strongest] != high[strongest]]
        if not strongest.size:
            return self
        points, ends = np.unique(np.concatenate((low[strongest], high[strongest])), return_inverse=True)
        low, high = ends[: len(strongest)], ends[len(strongest) :]
        known = self.known[points]
        accepted = rooted_forest(len(points), np.flatnonzero(known >= 0), low, high)
        least = components(len(points), low[accepted], high[accepted])
        of_point = np.full(len(points), -1, dtype=np.int32)
        of_point[least[known >= 0]] = known[known >= 0]
        moved = np.arange(len(self.cluster), dtype=np.int32)
        moved[points] = points[least]
        users = np.array(self.known)
        users[points] = of_point[least]
        return Joined(moved[self.cluster], users[self.cluster])


def rooted_forest(size: int, known: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Which links (a mask), given from the strongest to the weakest, the minimum forest takes that is rooted in the
    ``known`` points: no link joins two of them.
    """
    # Weights begin at one, since SciPy takes zero for no edge, and are exact in float64 up to 2**53.
    weight = np.arange(1, len(known) + len(a) + 1, dtype=np.float64)
    tail = np.concatenate((np.full(len(known), size), a)).astype(np.int32)
    head = np.concatenate((known, b)).astype(np.int32)
    edges = csr_matrix((weight, (tail, head)), shape=(size + 1, size + 1))
    chosen = minimum_spanning_tree(edges, overwrite=True).data.astype(np.int64) - 1 - len(known)
    accepted = np.zeros(len(a), dtype=bool)
    accepted[chosen[chosen >= 0]] = True
    return accepted


def components(size: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """For each point the least number (int32) of one that links join it to."""
    edges = csr_matrix((np.ones(len(a), dtype=np.int8), (a, b)), shape=(size, size))
    count, label = connected_components(edges, directed=False)
    least = np.empty(count, dtype=np.int32)
    least[label[::-1]] = np.arange(size, dtype=np.int32)[::-1]  # of one label the last one set stays
    return least[label]
