"""The device policy ``next``: who was anonymous on a device is the known user who arrives there next.

By the rules of Braze's SDK an install begins anonymous, under a profile of its own; the first login turns that profile
into the known one, or orphans it into a profile that exists. So an anonymous profile belongs to the known user who
comes first on its device, the *heir*, if it had left before anybody known was there, had begun a short while before,
and had the device to itself. Only *bound* rows count as presence (see ``catalog.bound``): those that the device itself
or its push token gives rise to.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa

from transforms.arrow.columns import array, distinct, groups_of, least_rows
from transforms.evidence.ids import DEVICE, DEVICE_ID, USER_ID
from transforms.identity.graph import Graph

OVERLAP = 60  # seconds for which rows of before the login may come after it
LONGEST_GAP = 30 * 86_400  # seconds between the last row of before and the login
STAY_WHERE_SHARED = 3_600  # seconds, on a device with two or more known users


@dataclasses.dataclass(frozen=True)
class Sightings:
    """Which profiles were seen on which devices: columns with one entry a pair, sorted by (profile, device).

    ``profile``, ``device``: numbers from 0 on that compare as the ids do bytewise. ``first``: UNIX seconds of the
    earliest row of any type. ``evidence``: the position of the pair's bound rows in the other arrays, -1 where there
    are none: ``begin``, ``event_id`` and ``file`` (a position in ``paths``) are their least (time, event id, path),
    ``end`` is their latest time.
    """

    profile: np.ndarray
    device: np.ndarray
    first: np.ndarray
    evidence: np.ndarray
    begin: np.ndarray
    event_id: pa.Array
    file: np.ndarray
    end: np.ndarray
    paths: pa.Array

    @classmethod
    def of(cls, graph: Graph) -> Sightings:
        """The sightings of a graph, devices and profiles numbered from the first of their type."""
        begin, end = np.searchsorted(graph.rank, (DEVICE, DEVICE + 1))
        end -= int((graph.device[begin:end] >= 0).sum())  # links of this policy, which stand behind the others
        a, b = graph.a[begin:end], graph.b[begin:end]
        pairs = a.astype(np.int64) << 32 | b
        bound = np.asarray(array(graph.bound["a"])).astype(np.int64) << 32 | np.asarray(array(graph.bound["b"]))
        evidence = np.full(len(pairs), -1, np.int64)
        evidence[np.searchsorted(pairs, bound)] = np.arange(len(bound))
        file = graph.bound["file"].unify_dictionaries().combine_chunks()
        file = file.chunk(0) if isinstance(file, pa.ChunkedArray) else file
        return cls(
            profile=a - np.int32(graph.first[USER_ID]),
            device=b - np.int32(graph.first[DEVICE_ID]),
            first=np.asarray(array(graph.links["time"].slice(begin, end - begin))),
            evidence=evidence,
            begin=np.asarray(array(graph.bound["time"])),
            event_id=array(graph.bound["event_id"]),
            file=np.asarray(file.indices),
            end=np.asarray(array(graph.bound["last"])),
            paths=file.dictionary,
        )


@dataclasses.dataclass(frozen=True)
class Inheritance:
    """The links of the policy, each (``profile``, ``heir``) once, sorted by it.

    ``heir`` is the heir's profile that arrived, ``device`` the least of the devices that say so, ``evidence`` where in
    ``Sightings`` the arrival's ``begin``, ``event_id`` and ``file`` stand, which are the link's. ``devices``: all that
    say so.
    """

    profile: np.ndarray
    heir: np.ndarray
    device: np.ndarray
    evidence: np.ndarray
    devices: np.ndarray


def inherit(
    seen: Sightings, user: np.ndarray, *, devices: int, stay: float, max_profiles_per_device: int
) -> Inheritance:
    """Whom each anonymous profile becomes.

    ``user`` is the number of each sighting's known user by the links of ranks 0 and 1, -1 for none; ``devices`` the
    number of devices. An anonymous profile is the heir's if its last bound row on the device is at most a minute later
    than the earliest row of any type that a known user has there and at most 30 days before the arrival, its first at
    most ``stay`` seconds before the arrival (an hour at most where the device has two or more known users), and no
    other anonymous profile has a bound row there. A profile with heirs of two users has none.
    """
    known, bound = user >= 0, seen.evidence >= 0
    per_device = np.bincount(seen.device, minlength=devices)
    alone = np.bincount(seen.device[~known & bound], minlength=devices) == 1
    first_known = np.full(devices, np.iinfo(np.int64).max)
    np.minimum.at(first_known, seen.device[known], seen.first[known])
    arrival = _arrivals(seen, known, devices)
    most = np.where(_users(seen.device[known], user[known], devices) > 1, min(stay, STAY_WHERE_SHARED), stay)

    fits = alone & (arrival >= 0) & (per_device <= max_profiles_per_device)
    rows = np.flatnonzero(~known & bound & fits[seen.device])
    device, comes = seen.device[rows], arrival[seen.device[rows]]
    before, moment = seen.evidence[rows], seen.begin[seen.evidence[comes]]
    begin, end = seen.begin[before], seen.end[before]
    holds = (end <= first_known[device] + OVERLAP) & (moment - begin <= most[device]) & (moment - end <= LONGEST_GAP)
    return _links(seen, rows[holds], comes[holds], user)


def _arrivals(seen: Sightings, known: np.ndarray, devices: int) -> np.ndarray:
    """For each device the sighting whose bound row is the first of a known user there, -1 for none."""
    rows = np.flatnonzero(known & (seen.evidence >= 0))
    result = np.full(devices, -1, dtype=np.int64)
    if rows.size:
        group, groups = groups_of(seen.device[rows])
        least = rows[_least(seen, group, groups, seen.evidence[rows])]
        result[seen.device[least]] = least
    return result


def _users(number: np.ndarray, user: np.ndarray, count: int) -> np.ndarray:
    """For each number below ``count`` of a device, or profile, the number of distinct known users."""
    pairs = distinct(number.astype(np.int64) << 32 | user)
    return np.bincount(pairs >> 32, minlength=count)


def _links(seen: Sightings, rows: np.ndarray, comes: np.ndarray, user: np.ndarray) -> Inheritance:
    """Links of the sightings ``rows`` to the arrivals ``comes``, without the profiles that two users would inherit."""
    profile, heir = seen.profile[rows], seen.profile[comes]
    kept = _users(profile, user[comes], int(profile.max(initial=-1)) + 1)[profile] == 1
    rows, comes, profile, heir = rows[kept], comes[kept], profile[kept], heir[kept]
    if not rows.size:
        none = np.zeros(0, dtype=np.int64)
        return Inheritance(none, none, none, none, none)
    order = np.lexsort((seen.device[rows], heir, profile))
    rows, comes, profile, heir = rows[order], comes[order], profile[order], heir[order]
    begins = np.append(True, (profile[1:] != profile[:-1]) | (heir[1:] != heir[:-1]))
    group = np.cumsum(begins) - 1
    evidence = seen.evidence[comes]
    least = _least(seen, group, int(begins.sum()), evidence)
    devices = distinct(seen.device[rows])
    return Inheritance(profile[begins], heir[begins], seen.device[rows[begins]], evidence[least], devices)


def _least(seen: Sightings, group: np.ndarray, groups: int, evidence: np.ndarray) -> np.ndarray:
    """For each group the row with the least evidence."""
    event_id = seen.event_id.take(pa.array(evidence))
    return least_rows(group, groups, seen.begin[evidence], event_id, seen.file[evidence], seen.paths)
