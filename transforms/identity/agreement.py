"""What each device policy would do on the data at hand, and how far Braze's own merges bear it out.

A ``users.UserOrphan`` row says that Braze merged a profile into another. So the profiles without an external id of
their own that were active when such rows existed are judged: whom a policy names, by the links of external ids alone,
is held against whom Braze's merges name.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from transforms.arrow.columns import array, distinct
from transforms.evidence.ids import DEVICE, DEVICE_ID, OWN, PROFILE, USER_ID
from transforms.identity.arrivals import Sightings, inherit
from transforms.identity.graph import Graph, strict_order
from transforms.identity.score import score
from transforms.identity.spanning import Joined, rooted_forest

POLICIES: tuple[tuple[str, float | None], ...] = (
    ("none", None), ("sole", None), ("first", None), ("next", 1.0), ("next", 7.0), ("next", 30.0),
)  # fmt: skip
"""(``device_links``, ``device_stay`` in days) of each line of the table."""
_DAY = 86_400
_MANY_PROFILES = 3


def agreement(
    graph: Graph,
    before: Joined,
    anonymous: np.ndarray,
    *,
    chosen: tuple[str, float | None],
    max_profiles_per_device: int,
    truth: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The table as JSON values.

    ``before`` is what is one by the links of ranks 0 and 1, ``anonymous`` of each profile how many rows name it and no
    known user, ``chosen`` the run's own policy (its stay None for any), which gets a line of its own if it has none.

    ``orphans_since``: UNIX seconds of the first orphan row, null without one; ``judged_profiles``: how many profiles
    without an external id of their own had a bound row from then on. ``table``: of each policy ``device_links``,
    ``device_stay`` (days, "any", or null for other policies than ``next``), ``chosen``; of the judged profiles
    ``confirmed`` (policy and Braze name the same known user), ``contradicted`` (another one), ``missed`` (Braze alone
    names one), ``unconfirmed`` (the policy alone does); and of all ``profiles`` and ``rows`` made known by devices,
    ``devices_left_out`` (of two profiles and more, and linking nobody), ``largest_cluster`` in profiles; with a truth
    ``precision``, ``recall`` and ``wrongly_joined_per_million``. ``rows_on_busy_devices``: of the rows of profiles
    without a known user, the share of those that were seen on a device with three profiles and more.
    """
    devices = _Devices.of(graph, max_profiles_per_device)
    bare = Joined.by(graph, _own_forest(graph))
    judged, since = _judged(graph)
    lines = []
    for policy, stay in _policies(chosen):
        guess = devices.joined(bare, policy, stay)[0] if since is not None else bare
        result, links_nobody = devices.joined(before, policy, stay)
        line: dict[str, Any] = {
            "device_links": policy,
            "device_stay": None if policy != "next" else "any" if stay is None else stay,
            "chosen": (policy, stay) == chosen,
            **(_verdicts(guess, before, judged) if since is not None else {}),
            **_gains(graph, before, result, anonymous),
            "devices_left_out": links_nobody,
        }
        if truth is not None:
            begin = int(graph.first[USER_ID])
            profiles = pa.table({"id": graph.of_type(USER_ID), "cluster": pa.array(result.cluster[begin:])})
            found = score(profiles, truth)
            line |= {name: found[name] for name in ("precision", "recall", "wrongly_joined_per_million")}
        lines.append(line)
    return {
        "orphans_since": since,
        "judged_profiles": len(judged),
        "rows_on_busy_devices": devices.share_on_busy(before, anonymous),
        "table": lines,
    }


def _policies(chosen: tuple[str, float | None]) -> Sequence[tuple[str, float | None]]:
    if chosen in POLICIES:
        return POLICIES
    return sorted([*POLICIES, chosen], key=_place)


def _place(line: tuple[str, float | None]) -> tuple[int, float]:
    policy, stay = line
    names = [name for name, _ in POLICIES]
    return names.index(policy), math.inf if stay is None else stay


def _own_forest(graph: Graph) -> np.ndarray:
    order = graph.order[graph.rank[graph.order] == OWN]
    begin, end = graph.first[1], graph.first[2]
    accepted = np.zeros(len(graph.a), dtype=bool)
    accepted[order[rooted_forest(graph.size, np.arange(begin, end), graph.a[order], graph.b[order])]] = True
    return accepted


def _judged(graph: Graph) -> tuple[np.ndarray, int | None]:
    """The numbers of the profiles that are judged, and since when orphan rows exist."""
    times = np.asarray(array(graph.links["time"]))[graph.rank == PROFILE]
    if not times.size:
        return np.zeros(0, np.int64), None
    since = int(times.min())
    active = np.asarray(array(graph.bound["last"])) >= since
    profiles = distinct(np.asarray(array(graph.bound["a"]))[active])
    return np.setdiff1d(profiles, graph.a[graph.rank == OWN]), since


def _verdicts(guess: Joined, braze: Joined, judged: np.ndarray) -> dict[str, int]:
    ours, theirs = guess.known[judged], braze.known[judged]
    both = (ours >= 0) & (theirs >= 0)
    return {
        "confirmed": int((both & (ours == theirs)).sum()),
        "contradicted": int((both & (ours != theirs)).sum()),
        "missed": int(((ours < 0) & (theirs >= 0)).sum()),
        "unconfirmed": int(((ours >= 0) & (theirs < 0)).sum()),
    }


def _gains(graph: Graph, before: Joined, after: Joined, anonymous: np.ndarray) -> dict[str, int]:
    begin = graph.first[USER_ID]
    gained = (before.known[begin:] < 0) & (after.known[begin:] >= 0)
    return {
        "profiles": int(gained.sum()),
        "rows": int(anonymous[gained].sum()),
        "largest_cluster": int(np.bincount(after.cluster[begin:], minlength=1).max()),
    }


@dataclasses.dataclass(frozen=True)
class _Devices:
    """The links of profiles and devices, from the strongest to the weakest, and what the policies make of them."""

    graph: Graph
    seen: Sightings
    links: np.ndarray
    profiles: np.ndarray
    most: int

    @classmethod
    def of(cls, graph: Graph, most: int) -> _Devices:
        is_device = (graph.rank == DEVICE) & (graph.device < 0)
        devices = int(graph.first[DEVICE_ID + 1])
        profiles = np.bincount(graph.b[is_device], minlength=devices)
        return cls(graph, Sightings.of(graph), graph.order[is_device[graph.order]], profiles, most)

    def joined(self, base: Joined, policy: str, stay: float | None) -> tuple[Joined, int]:
        """What is one by the policy on top of ``base``; how many devices of two and more profiles link nobody."""
        graph, shared = self.graph, self.profiles > 1
        if policy == "next":
            user = base.known[self.seen.profile + graph.first[USER_ID]]
            days = math.inf if stay is None else stay * _DAY
            found = inherit(self.seen, user, devices=len(self.profiles), stay=days, max_profiles_per_device=self.most)
            a, b = (numbers + graph.first[USER_ID] for numbers in (found.profile, found.heir))
            evidence = graph.bound.take(pa.array(found.evidence))
            order = strict_order(evidence, np.zeros(len(a), np.int8), a, b)
            return base.extended(a[order], b[order]), int(shared.sum()) - len(found.devices)
        if policy == "none":
            return base, int(shared.sum())
        left_out = self.profiles > self.most
        if policy == "sole":
            left_out |= self._users(base) > 1
        # A device whose profiles are all known can join nobody else.
        alone = base.known[graph.a[self.links]] < 0
        matters = np.zeros(len(self.profiles), bool)
        matters[graph.b[self.links[alone]]] = True
        links = self.links[(matters & ~left_out)[graph.b[self.links]]]
        return base.extended(graph.a[links], graph.b[links]), int((left_out & shared).sum())

    def _users(self, base: Joined) -> np.ndarray:
        """For each device the number of distinct known users of its profiles."""
        user, device = base.known[self.graph.a[self.links]], self.graph.b[self.links]
        pairs = distinct((device.astype(np.int64) << 32 | user)[user >= 0])
        return np.bincount(pairs >> 32, minlength=len(self.profiles))

    def share_on_busy(self, base: Joined, anonymous: np.ndarray) -> float:
        """Of the rows of profiles without a known user, the share of those that were seen on a device with many."""
        begin = self.graph.first[USER_ID]
        unknown = base.known[begin:] < 0
        on_busy = np.zeros(len(anonymous), bool)
        on_busy[self.seen.profile[self.profiles[self.seen.device] >= _MANY_PROFILES]] = True
        rows = int(anonymous[unknown].sum())
        return int(anonymous[unknown & on_busy].sum()) / rows if rows else 0.0
