"""Who is who: the rooted minimum spanning forest of the link table.

Links are walked from the strongest to the weakest, strictly by (rank, time, event id, the two typed ids); a link is
accepted unless its ends are one already or belong to different known users. That is Kruskal's algorithm on the graph of
ids with one virtual root that is tied to every known user by edges stronger than any link, so SciPy's minimum spanning
tree finds it, and the result depends on the set of links alone.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from transforms.identity import figures
from transforms.identity.crowd import CROWD_POLICIES, DROP, KEEP, find_crowd
from transforms.identity.graph import ACCEPTED, CONTESTED, QUARANTINED, REDUNDANT, REFUSED, VIA, Graph
from transforms.identity.ids import DEVICE, EXTERNAL_USER_ID, OWN, USER_ID
from transforms.identity.resolution import Resolution

SOLE, FIRST, NONE = "sole", "first", "none"
DEVICE_POLICIES = (SOLE, FIRST, NONE)


def resolve(
    graph: Graph,
    *,
    device_links: str = SOLE,
    max_profiles_per_device: int = 20,
    crowd_ids: str = KEEP,
    max_profiles_per_known_user: int = 1_000,
) -> Resolution:
    """Resolve a graph.

    ``device_links``: ``sole`` leaves out devices whose profiles have two or more known users by the links of ranks 0
    and 1, ``first`` none, ``none`` all. Devices with more than ``max_profiles_per_device`` profiles always are.
    ``crowd_ids`` ``drop`` leaves out the external ids that more than ``max_profiles_per_known_user`` profiles carry.
    Raises ValueError for another policy or a limit below 1.
    """
    if device_links not in DEVICE_POLICIES:
        raise ValueError(f"device_links is [{device_links}]; use one of {', '.join(DEVICE_POLICIES)}")
    if crowd_ids not in CROWD_POLICIES:
        raise ValueError(f"crowd_ids is [{crowd_ids}]; use one of {', '.join(CROWD_POLICIES)}")
    for name, limit in (
        ("max_profiles_per_device", max_profiles_per_device),
        ("max_profiles_per_known_user", max_profiles_per_known_user),
    ):
        if limit < 1:
            raise ValueError(f"{name} is [{limit}]; use 1 or more")
    crowd = find_crowd(graph, max_profiles_per_known_user)
    dropped = crowd.ids if crowd_ids == DROP else crowd.ids.slice(0, 0)
    if len(dropped):
        graph = graph.without(crowd.numbers)
    by_device = graph.rank == DEVICE

    strong = _forest(graph, graph.order[~by_device[graph.order]])
    known_without_devices = _known_users(graph, _components(graph, strong))
    profiles_of_device = np.bincount(graph.b[by_device], minlength=graph.first[1])[: graph.first[1]]
    quarantined = profiles_of_device > max_profiles_per_device
    users_of_device = _distinct_known_users(graph, by_device, known_without_devices)
    contested = np.zeros_like(quarantined)
    if device_links != FIRST:
        contested = (users_of_device > 1 if device_links == SOLE else np.ones_like(quarantined)) & ~quarantined
    left_out = np.zeros(len(graph.a), dtype=bool)
    left_out[by_device] = (quarantined | contested)[graph.b[by_device]]

    accepted = strong
    if device_links != NONE:
        # Links that the stronger ranks refused stay refused: only their forest can matter now.
        weak = by_device & ~left_out
        accepted = _forest(graph, graph.order[(strong | weak)[graph.order]])
    cluster = _components(graph, accepted)
    known = _known_users(graph, cluster)

    same = cluster[graph.a] == cluster[graph.b]
    status = np.where(accepted, ACCEPTED, np.where(same, REDUNDANT, REFUSED)).astype(np.int8)
    status[by_device] = np.where(
        quarantined[graph.b[by_device]],
        QUARANTINED,
        np.where(contested[graph.b[by_device]], CONTESTED, status[by_device]),
    )
    via = _via(graph, accepted, known_without_devices, known)
    return Resolution(
        graph,
        status,
        cluster,
        known,
        via,
        dropped,
        figures={
            **figures.summary(graph, status, cluster, known, via, known_without_devices, quarantined, contested),
            **figures.crowd(crowd),
        },
    )


def _forest(graph: Graph, order: np.ndarray) -> np.ndarray:
    """Which links the minimum forest rooted in the known users takes, of those in ``order`` (strongest first)."""
    known = np.arange(graph.first[EXTERNAL_USER_ID], graph.first[EXTERNAL_USER_ID + 1])
    root = graph.size
    # Weights begin at one, since SciPy takes zero for no edge, and are exact in float64 up to 2**53.
    weight = np.arange(1, len(known) + len(order) + 1, dtype=np.float64)
    tail = np.concatenate((np.full(len(known), root), graph.a[order])).astype(np.int32)
    head = np.concatenate((known, graph.b[order])).astype(np.int32)
    edges = csr_matrix((weight, (tail, head)), shape=(root + 1, root + 1))
    chosen = minimum_spanning_tree(edges, overwrite=True).data.astype(np.int64) - 1 - len(known)
    accepted = np.zeros(len(graph.a), dtype=bool)
    accepted[order[chosen[chosen >= 0]]] = True
    return accepted


def _components(graph: Graph, accepted: np.ndarray) -> np.ndarray:
    """For each id the least number of an id in its cluster."""
    ends = (graph.a[accepted], graph.b[accepted])
    edges = csr_matrix((np.ones(len(ends[0]), dtype=np.int8), ends), shape=(graph.size, graph.size))
    count, label = connected_components(edges, directed=False)
    least = np.empty(count, dtype=np.int32)
    least[label[::-1]] = np.arange(graph.size, dtype=np.int32)[::-1]  # of one label the last one set stays
    return least[label]


def _known_users(graph: Graph, cluster: np.ndarray) -> np.ndarray:
    """For each id the number of its cluster's known user, -1 for none."""
    known = np.arange(graph.first[EXTERNAL_USER_ID], graph.first[EXTERNAL_USER_ID + 1])
    of_cluster = np.full(graph.size, -1, dtype=np.int32)
    of_cluster[cluster[known]] = known
    return of_cluster[cluster]


def _distinct_known_users(graph: Graph, by_device: np.ndarray, known: np.ndarray) -> np.ndarray:
    """For each device the number of distinct known users of its profiles."""
    users = known[graph.a[by_device]]
    pairs = graph.b[by_device][users >= 0].astype(np.int64) * graph.size + users[users >= 0]
    return np.bincount(np.unique(pairs) // max(graph.size, 1), minlength=graph.first[1])[: graph.first[1]]


def _via(graph: Graph, accepted: np.ndarray, known_without_devices: np.ndarray, known: np.ndarray) -> np.ndarray:
    """For each profile the position in ``VIA`` of the weakest kind of link on its way to its known user."""
    begin, end = graph.first[USER_ID], graph.first[USER_ID + 1]
    via = np.where(known[begin:end] >= 0, VIA.index("device"), VIA.index("none"))
    via[known_without_devices[begin:end] >= 0] = VIA.index("profile")
    via[graph.a[accepted & (graph.rank == OWN)] - begin] = VIA.index("own")
    return via.astype(np.int8)
