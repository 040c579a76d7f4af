"""Who is who: the rooted minimum spanning forest of the link table.

Links are walked from the strongest to the weakest, strictly by (rank, time, event id, the two typed ids); a link is
accepted unless its ends are one already or belong to different known users. That is Kruskal's algorithm on the graph of
ids with one virtual root that is tied to every known user by edges stronger than any link, so SciPy's minimum spanning
tree finds it, and the result depends on the set of links alone.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from transforms.identity import figures
from transforms.identity.columns import in_slices
from transforms.identity.crowd import CROWD_POLICIES, DROP, KEEP, find_crowd, without_crowd
from transforms.identity.graph import (
    ACCEPTED,
    CONTESTED,
    QUARANTINED,
    REDUNDANT,
    REFUSED,
    STATUSES,
    VIA,
    Graph,
    build_graph,
)
from transforms.identity.ids import B_TYPES, DEVICE, DEVICE_ID, EXTERNAL_USER_ID, ID_TYPES, OWN, USER_ID

SOLE, FIRST, NONE = "sole", "first", "none"
DEVICE_POLICIES = (SOLE, FIRST, NONE)

RESOLVED_LINKS = pa.schema(
    [(name, pa.string()) for name in ("a_type", "a", "b_type", "b")]
    + [("rank", pa.int8()), ("time", pa.int64()), ("event_id", pa.string()), ("file", pa.string())]
    + [("status", pa.string())]
)
IDS = pa.schema([(name, pa.string()) for name in ("id_type", "id", "distinct_id", "cluster")])
PROFILES = pa.schema(
    [
        ("id", pa.string()),
        ("known_user", pa.string()),
        ("via", pa.dictionary(pa.int8(), pa.string())),
        ("cluster", pa.int64()),
    ]
)


@dataclasses.dataclass(frozen=True)
class Resolution:
    """What the resolver found.

    ``links`` (``RESOLVED_LINKS``): every link with its status, sorted by (rank, a, b). ``ids`` (``IDS``): every id,
    sorted by (id_type, id); ``cluster`` is the cluster's known user, else its least "type:id". ``profiles``
    (``PROFILES``): every Braze profile, sorted by id; ``via`` is ``own`` (own external id), ``profile`` (through a
    merged profile), ``device`` or ``none``; ``cluster`` is a number that only depends on the set of ids and links.
    ``dropped``: the external ids that were left out as a crowd's, which are in none of the tables. ``figures``: counts
    and examples for the report (see ``figures.summary``). Strings sort bytewise.
    """

    links: pa.Table
    ids: pa.Table
    profiles: pa.Table
    dropped: pa.Array
    figures: dict[str, Any]


def resolve(
    links: pa.Table,
    nodes: pa.Table,
    *,
    device_links: str = SOLE,
    max_profiles_per_device: int = 20,
    crowd_ids: str = KEEP,
    max_profiles_per_known_user: int = 1_000,
) -> Resolution:
    """Resolve ``links`` (``LINKS``, each (rank, a, b) once) and ``nodes`` (``NODES``, repetition allowed).

    ``device_links``: ``sole`` leaves out devices whose profiles have two or more known users by the links of ranks 0
    and 1, ``first`` none, ``none`` all. Devices with more than ``max_profiles_per_device`` profiles always are.
    ``crowd_ids`` ``drop`` leaves out the external ids that more than ``max_profiles_per_known_user`` profiles carry.
    Raises ValueError for another policy, a limit below 1, or a rank that is not 0, 1 or 2.
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
    graph = build_graph(links, nodes)
    crowd = find_crowd(graph, max_profiles_per_known_user)
    dropped = crowd.ids if crowd_ids == DROP else crowd.ids.slice(0, 0)
    if len(dropped):
        graph = build_graph(*without_crowd(links, nodes, crowd))
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
        links=_links_table(graph, status),
        ids=_ids_table(graph, cluster, known),
        profiles=_profiles_table(graph, cluster, known, via),
        dropped=dropped,
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
    least = np.full(count, graph.size, dtype=np.int64)
    np.minimum.at(least, label, np.arange(graph.size))
    return least[label]


def _known_users(graph: Graph, cluster: np.ndarray) -> np.ndarray:
    """For each id the number of its cluster's known user, -1 for none."""
    known = np.arange(graph.first[EXTERNAL_USER_ID], graph.first[EXTERNAL_USER_ID + 1])
    of_cluster = np.full(graph.size, -1, dtype=np.int64)
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


def _links_table(graph: Graph, status: np.ndarray) -> pa.Table:
    columns = {name: graph.links[name] for name in ("a", "b", "rank", "time", "event_id", "file")}
    columns["a_type"] = _words(np.full(len(status), USER_ID, dtype=np.int8), ID_TYPES)
    columns["b_type"] = _words(np.array(B_TYPES, dtype=np.int8)[graph.rank], ID_TYPES)
    columns["status"] = _words(status, STATUSES)
    return in_slices(pa.table({name: columns[name] for name in RESOLVED_LINKS.names}), RESOLVED_LINKS)


def _ids_table(graph: Graph, cluster: np.ndarray, known: np.ndarray) -> pa.Table:
    kind = np.repeat(np.arange(len(ID_TYPES), dtype=np.int8), np.diff(graph.first))
    ids = pa.concat_arrays(graph.names)
    typed = [
        _prefixed("device_id:", graph.names[DEVICE_ID]),
        graph.names[EXTERNAL_USER_ID],
        _prefixed("user_id:", graph.names[USER_ID]),
    ]
    cluster_names = pa.concat_arrays(typed)
    person = ids.take(pa.array(np.maximum(known, 0), mask=known < 0))
    anonymous = _prefixed("$device:", graph.names[USER_ID])
    profiles = slice(int(graph.first[USER_ID]), int(graph.first[USER_ID + 1]))
    distinct_id = pa.concat_arrays([person[: profiles.start], pc.coalesce(person[profiles], anonymous)])
    columns = {
        "id_type": _words(kind, ID_TYPES),
        "id": ids,
        "distinct_id": distinct_id,
        "cluster": cluster_names.take(pa.array(np.where(known >= 0, known, cluster))),
    }
    return in_slices(pa.table(columns), IDS)


def _profiles_table(graph: Graph, cluster: np.ndarray, known: np.ndarray, via: np.ndarray) -> pa.Table:
    begin, end = graph.first[USER_ID], graph.first[USER_ID + 1]
    user = known[begin:end]
    users = graph.names[EXTERNAL_USER_ID]
    columns = {
        "id": graph.names[USER_ID],
        "known_user": users.take(pa.array(np.maximum(user - graph.first[EXTERNAL_USER_ID], 0), mask=user < 0)),
        "via": _words(via, VIA),
        "cluster": pa.array(cluster[begin:end]),
    }
    return in_slices(pa.table(columns), PROFILES)


def _words(codes: np.ndarray, words: tuple[str, ...]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(words))


def _prefixed(prefix: str, names: pa.Array) -> pa.Array:
    parts = [pa.scalar(text, pa.large_string()) for text in (prefix, "")]
    return pc.binary_join_element_wise(parts[0], names, parts[1])
