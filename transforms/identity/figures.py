"""Figures of a resolution for the report: counts, and a few examples by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.evidence.ids import DEVICE, EXTERNAL_USER_ID, ID_TYPES, OWN, USER_ID
from transforms.identity.crowd import Crowd
from transforms.identity.graph import REFUSED, Graph
from transforms.vocabulary.persons import LINK_STATUSES, VIA

EXAMPLES = 10
_SIZES = {"1": 1, "2": 2, "3-5": 5, "6-10": 10, "11-100": 100}
_ABOVE = ">100"


def summary(
    graph: Graph,
    status: np.ndarray,
    cluster: np.ndarray,
    known: np.ndarray,
    via: np.ndarray,
    known_without_devices: np.ndarray,
    quarantined: np.ndarray,
    contested: np.ndarray,
) -> dict[str, Any]:
    """Figures as JSON values.

    ``profiles``, ``known_users``, ``devices``, ``clusters``: numbers. ``clusters_by_size``: clusters by their number of
    ids, in buckets. ``links``: number by status. ``made_known``: profiles by how they came to their known user, those
    without one under ``none``. ``contested_devices``, ``quarantined_devices``: numbers, with up to ten
    ``contested_examples`` (``device_id``, ``known_users``), ``quarantined_examples`` (``device_id``, ``profiles``) and
    ``refused_examples`` (``a_type``, ``a``, ``b_type``, ``b``, ``known_users``, ``time``, ``event_id``, ``file``).
    ``renamed_profiles``: the number of profiles with two or more external ids of their own, with ``renamed_examples``
    (``user_id``, ``external_user_ids`` in the order of time).
    """
    sizes = np.bincount(cluster, minlength=graph.size)
    sizes = sizes[sizes > 0]
    bucket = np.bincount(np.searchsorted(list(_SIZES.values()), sizes, side="left"), minlength=len(_SIZES) + 1)
    counts = np.bincount(status, minlength=len(LINK_STATUSES))
    ways = np.bincount(via, minlength=len(VIA))
    return {
        "profiles": int(graph.first[USER_ID + 1] - graph.first[USER_ID]),
        "known_users": int(graph.first[EXTERNAL_USER_ID + 1] - graph.first[EXTERNAL_USER_ID]),
        "devices": int(graph.first[1]),
        "clusters": len(sizes),
        "clusters_by_size": dict(zip([*_SIZES, _ABOVE], bucket.tolist(), strict=True)),
        "links": dict(zip(LINK_STATUSES.codes, counts.tolist(), strict=True)),
        "made_known": dict(zip(VIA.codes, ways.tolist(), strict=True)),
        "contested_devices": int(contested.sum()),
        "quarantined_devices": int(quarantined.sum()),
        "contested_examples": _contested(graph, contested, known_without_devices),
        "quarantined_examples": _quarantined(graph, quarantined),
        "refused_examples": _refused(graph, status, known),
        **_renamed(graph),
    }


def crowd(found: Crowd) -> dict[str, Any]:
    """``crowd_external_ids``: how many, with ``crowd_examples`` (``external_user_id``, ``profiles``), largest first."""
    shown = zip(found.ids.slice(0, EXAMPLES).to_pylist(), found.profiles[:EXAMPLES].tolist(), strict=True)
    examples = [{"external_user_id": name, "profiles": profiles} for name, profiles in shown]
    return {"crowd_external_ids": len(found.ids), "crowd_examples": examples}


def _renamed(graph: Graph) -> dict[str, Any]:
    own = graph.order[graph.rank[graph.order] == OWN]  # by time
    begin = graph.first[USER_ID]
    ids_of = np.bincount(graph.a[own] - begin, minlength=graph.first[USER_ID + 1] - begin)
    renamed = np.flatnonzero(ids_of > 1) + begin
    examples = []
    for profile in renamed[:EXAMPLES]:
        ids = graph.b[own[graph.a[own] == profile]][:EXAMPLES]
        examples.append({"user_id": graph.name(profile), "external_user_ids": [graph.name(number) for number in ids]})
    return {"renamed_profiles": len(renamed), "renamed_examples": examples}


def _contested(graph: Graph, contested: np.ndarray, known: np.ndarray) -> list[dict[str, Any]]:
    examples = []
    for device in np.flatnonzero(contested)[:EXAMPLES]:
        users = known[graph.a[(graph.b == device) & (graph.rank == DEVICE)]]
        users = np.unique(users[users >= 0])
        examples.append(
            {"device_id": graph.name(device), "known_users": [graph.name(user) for user in users[:EXAMPLES]]}
        )
    return examples


def _quarantined(graph: Graph, quarantined: np.ndarray) -> list[dict[str, Any]]:
    examples = []
    for device in np.flatnonzero(quarantined)[:EXAMPLES]:
        profiles = int(((graph.b == device) & (graph.rank == DEVICE)).sum())
        examples.append({"device_id": graph.name(device), "profiles": profiles})
    return examples


def _refused(graph: Graph, status: np.ndarray, known: np.ndarray) -> list[dict[str, Any]]:
    examples = []
    for row in np.flatnonzero(status == REFUSED)[:EXAMPLES]:
        a, b = graph.a[row], graph.b[row]
        evidence = {name: graph.links[name][int(row)].as_py() for name in ("time", "event_id", "file")}
        users = [graph.name(known[a]), graph.name(known[b])]
        ends = {
            "a_type": ID_TYPES[USER_ID],
            "a": graph.name(a),
            "b_type": ID_TYPES[int(graph.type_of(b))],
            "b": graph.name(b),
        }
        examples.append({**ends, "known_users": users, **evidence})
    return examples
