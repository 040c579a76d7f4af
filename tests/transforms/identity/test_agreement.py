"""The table of device policies, against resolving for each of them anew."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from tests.exports.link_tables import Row, graph_of
from transforms.evidence.ids import PROFILE, USER_ID
from transforms.identity.agreement import POLICIES, agreement
from transforms.identity.forest import resolve
from transforms.identity.graph import Graph
from transforms.identity.resolution import Resolution

DAY = 86_400
LIMIT = 4


def random_rows(chance: random.Random) -> list[Row]:
    """Few profiles, users and devices; each profile on a device has a row of any type, and some a bound one."""
    rows: dict[tuple[int, str, str], Row] = {}

    def add(rank: int, a: str, b: str, time: int, last: int = 0) -> None:
        event_id = chance.choice(["", "a", "b", "12345678x", "12345678y"])
        rows[rank, a, b] = {
            "rank": rank, "a": a, "b": b, "time": time, "event_id": event_id, "file": "f", "last": last
        }  # fmt: skip

    profiles = [f"p{number}" for number in range(chance.randint(1, 12))]
    for profile in profiles:
        if chance.random() < 0.5:
            add(0, profile, f"u{chance.randint(0, 3)}", chance.randint(0, 40 * DAY))
        elif chance.random() < 0.5:
            survivor = chance.choice(profiles)
            if survivor != profile:
                add(1, profile, survivor, chance.randint(0, 20 * DAY))
        for device in chance.sample(["d", "e", "f", "g"], chance.randint(0, 2)):
            begin = chance.choice([0, DAY // 48, DAY, 5 * DAY, 20 * DAY]) + chance.randint(0, 50)
            add(2, profile, device, begin - chance.choice([0, 0, 100]))
            if chance.random() < 0.8:
                add(3, profile, device, begin, begin + chance.choice([0, 30, DAY // 2]))
    return list(rows.values())


def known(resolution: Resolution) -> list[str | None]:
    return [row["known_user"] for row in resolution.profiles.to_pylist()]


def by_resolving(graph: Graph, anonymous: np.ndarray, policy: str, stay: float | None) -> dict[str, Any]:
    flags: dict[str, Any] = {"device_links": policy, "device_stay": stay, "max_profiles_per_device": LIMIT}
    bare = graph.of_links(graph.rank != PROFILE)
    guesses = known(resolve(bare, **flags))
    braze = known(resolve(graph, device_links="none"))
    result = resolve(graph, **flags)
    orphans = [row["time"] for row in _links(graph) if row["rank"] == PROFILE]
    own = {row["a"] for row in _links(graph) if row["rank"] == 0}
    latest: dict[str, int] = {}
    for row in graph.bound.to_pylist():
        name = graph.name(row["a"])
        latest[name] = max(row["last"], latest.get(name, row["last"]))
    names = graph.of_type(USER_ID).to_pylist()
    judged = [
        at for at, name in enumerate(names) if orphans and name not in own and latest.get(name, -1) >= min(orphans)
    ]
    pairs = [(guesses[at], braze[at]) for at in judged]
    verdicts = {
        "confirmed": sum(a is not None and a == b for a, b in pairs),
        "contradicted": sum(a is not None and b is not None and a != b for a, b in pairs),
        "missed": sum(a is None and b is not None for a, b in pairs),
        "unconfirmed": sum(a is not None and b is None for a, b in pairs),
    }
    gained = [at for at, (new, old) in enumerate(zip(known(result), braze, strict=True)) if new and not old]
    return {
        **(verdicts if orphans else {}),
        "profiles": len(gained),
        "rows": int(anonymous[gained].sum()),
        "largest_cluster": int(max(np.bincount(result.cluster[graph.first[USER_ID] :], minlength=1))),
        "judged": len(judged),
        "since": min(orphans, default=None),
        "devices_left_out": _left_out(graph, result, policy),
    }


def _links(graph: Graph) -> list[Row]:
    rows = graph.links.to_pylist()
    return [
        {**row, "a": graph.name(a), "rank": int(rank)} for row, a, rank in zip(rows, graph.a, graph.rank, strict=True)
    ]


def _left_out(graph: Graph, result: Resolution, policy: str) -> int:
    rows = [row for row in result.links.to_pylist() if row["b_type"] == "device_id"]
    shared = {row["b"] for row in rows if sum(other["b"] == row["b"] for other in rows) > 1}
    if policy == "next":
        return len(shared - {row["device_id"] for row in result.links.to_pylist() if row["device_id"]})
    return len(shared & {row["b"] for row in rows if row["status"] in ("contested", "quarantined")})


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(150))
def test_the_table_says_what_resolving_by_each_policy_gives(seed: int) -> None:
    chance = random.Random(seed)
    graph = graph_of(random_rows(chance))
    anonymous = np.array([chance.randint(0, 9) for _ in range(len(graph.of_type(USER_ID)))], np.int64)
    chosen = chance.choice([*POLICIES, ("next", None), ("next", 0.5)])
    resolution = resolve(
        graph, device_links=chosen[0], device_stay=chosen[1], max_profiles_per_device=LIMIT
    )  # fmt: skip
    found = agreement(
        resolution.graph, resolution.before, anonymous, chosen=chosen, max_profiles_per_device=LIMIT
    )  # fmt: skip
    assert len(found["table"]) == len(POLICIES) + (chosen not in POLICIES)
    for line in found["table"]:
        stay = None if line["device_stay"] in (None, "any") else line["device_stay"]
        expected = by_resolving(graph, anonymous, line["device_links"], stay)
        assert found["judged_profiles"] == expected.pop("judged")
        assert found["orphans_since"] == expected.pop("since")
        several = line["device_links"] == "next" and line["devices_left_out"] != expected["devices_left_out"]
        if several:  # the links name the least of the devices that say so, the table counts them all
            assert line["devices_left_out"] < expected["devices_left_out"]
            expected.pop("devices_left_out")
        assert {name: line[name] for name in expected} == expected
        assert line["chosen"] == ((line["device_links"], stay) == chosen)
    assert [line["chosen"] for line in found["table"]].count(True) == 1
