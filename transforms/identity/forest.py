"""Who is who: the rooted minimum spanning forest of the link table.

Links are walked from the strongest to the weakest, strictly by (rank, time, event id, the two typed ids); a link is
accepted unless its ends are one already or belong to different known users. That is Kruskal's algorithm on the graph of
ids with one virtual root that is tied to every known user by edges stronger than any link, so SciPy's minimum spanning
tree finds it, and the result depends on the set of links alone.
"""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa

from transforms.arrow.columns import distinct
from transforms.evidence.ids import DEVICE, DEVICE_ID, EXTERNAL_USER_ID, OWN, USER_ID
from transforms.identity import figures
from transforms.identity.arrivals import Sightings, inherit
from transforms.identity.crowd import find_crowd
from transforms.identity.graph import ACCEPTED, CONTESTED, QUARANTINED, REDUNDANT, REFUSED, Graph
from transforms.identity.resolution import Resolution
from transforms.identity.spanning import Joined, rooted_forest
from transforms.settings import DROP, FIRST, KEEP, NEXT, SOLE, Settings
from transforms.vocabulary.persons import VIA

DEVICE_POLICIES, CROWD_POLICIES = Settings.choices("device_links"), Settings.choices("crowd_ids")
_DAY = 86_400


def resolve(
    graph: Graph,
    *,
    device_links: str = NEXT,
    device_stay: float | None = 1.0,
    max_profiles_per_device: int = 20,
    crowd_ids: str = KEEP,
    max_profiles_per_known_user: int = 1_000,
) -> Resolution:
    """Resolve a graph.

    ``device_links``: ``next`` leaves out all devices, and has links between profiles instead (see ``arrivals``, where
    ``device_stay`` is how many days before the arrival a profile may have begun, None for any); ``sole`` leaves out
    devices whose profiles have two or more known users by the links of ranks 0 and 1, ``first`` none, ``none`` all.
    Devices with more than ``max_profiles_per_device`` profiles always are.
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
    before = Joined.by(graph, strong)
    profiles_of_device = np.bincount(graph.b[by_device], minlength=graph.first[1])[: graph.first[1]]
    quarantined = profiles_of_device > max_profiles_per_device
    users_of_device = _distinct_known_users(graph, by_device, before.known)
    shared = contested = np.zeros_like(quarantined)
    if device_links != FIRST:
        contested = (users_of_device > 1 if device_links == SOLE else np.ones_like(quarantined)) & ~quarantined

        shared = contested if device_links != NEXT else (users_of_device > 1) & ~quarantined
    if device_links == NEXT:
        graph = _with_heirs(graph, by_device, before.known, device_stay, max_profiles_per_device)
        strong = np.append(strong, np.zeros(len(graph.a) - len(strong), bool))
        by_device = (graph.rank == DEVICE) & (graph.device < 0)
    left_out = np.zeros(len(graph.a), dtype=bool)
    left_out[by_device] = (quarantined | contested)[graph.b[by_device]]
    weak = (graph.rank == DEVICE) & ~left_out
    # Links that the stronger ranks refused stay refused: only their forest can matter now.
    accepted = _forest(graph, graph.order[(strong | weak)[graph.order]]) if weak.any() else strong
    after = Joined.by(graph, accepted)
    cluster, known = after.cluster, after.known

    same = cluster[graph.a] == cluster[graph.b]
    status = np.where(accepted, ACCEPTED, np.where(same, REDUNDANT, REFUSED)).astype(np.int8)
    status[by_device] = np.where(
        quarantined[graph.b[by_device]],
        QUARANTINED,
        np.where(contested[graph.b[by_device]], CONTESTED, status[by_device]),
    )
    via = _via(graph, accepted, before.known, known)
    return Resolution(
        graph,
        status,
        cluster,
        known,
        via,
        before,
        dropped,
        figures={
            **figures.summary(graph, status, cluster, known, via, before.known, quarantined, shared),
            **figures.crowd(crowd),
        },
    )


def _with_heirs(graph: Graph, by_device: np.ndarray, known: np.ndarray, days: float | None, most: int) -> Graph:
    """The graph with a link from each profile that was anonymous on a device to the known one that came next."""
    seen = Sightings.of(graph)
    user = known[graph.a[by_device]]
    stay = math.inf if days is None else days * _DAY
    found = inherit(seen, user, devices=int(graph.first[DEVICE_ID + 1]), stay=stay, max_profiles_per_device=most)
    begin = graph.first[USER_ID]
    evidence = graph.bound.take(pa.array(found.evidence.astype(np.int64)))
    return graph.with_links(found.profile + begin, found.heir + begin, found.device, evidence)


def _forest(graph: Graph, order: np.ndarray) -> np.ndarray:
    """Which links the minimum forest rooted in the known users takes, of those in ``order`` (strongest first)."""
    known = np.arange(graph.first[EXTERNAL_USER_ID], graph.first[EXTERNAL_USER_ID + 1])
    accepted = np.zeros(len(graph.a), dtype=bool)
    accepted[order[rooted_forest(graph.size, known, graph.a[order], graph.b[order])]] = True
    return accepted


def _distinct_known_users(graph: Graph, by_device: np.ndarray, known: np.ndarray) -> np.ndarray:
    """For each device the number of distinct known users of its profiles."""
    users = known[graph.a[by_device]]
    pairs = graph.b[by_device][users >= 0].astype(np.int64) * graph.size + users[users >= 0]
    return np.bincount(distinct(pairs) // max(graph.size, 1), minlength=graph.first[1])[: graph.first[1]]


def _via(graph: Graph, accepted: np.ndarray, known_without_devices: np.ndarray, known: np.ndarray) -> np.ndarray:
    """For each profile the position in ``VIA`` of the weakest kind of link on its way to its known user."""
    begin, end = graph.first[USER_ID], graph.first[USER_ID + 1]
    via = np.where(known[begin:end] >= 0, VIA.position("device"), VIA.position("none"))
    via[known_without_devices[begin:end] >= 0] = VIA.position("profile")
    via[graph.a[accepted & (graph.rank == OWN)] - begin] = VIA.position("own")
    return via.astype(np.int8)
