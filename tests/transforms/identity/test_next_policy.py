"""The policy ``next`` in the forest: against Kruskal's algorithm by hand, and whatever the order, cut and names."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.exports.link_tables import Row as LinkRow
from tests.exports.link_tables import source_of
from tests.oracle.kruskal_by_hand import Clusters, Link
from tests.transforms.identity.test_arrivals import DAY, Row, by_hand
from transforms.evidence.sources import by_profile, pack_source
from transforms.identity.forest import resolve
from transforms.identity.gathering import Gathered
from transforms.identity.invariants import certify
from transforms.identity.resolution import RESOLVED_LINKS, Resolution

pytestmark = pytest.mark.slow

PROFILES = ["P", "p", "same", "é", "\uffff", "\U0001f600"]  # in bytewise order, as those below
DEVICES = ["d", "same"]
USERS = ["same", "u"]
TIMES = st.sampled_from([0, 30, 60, 61, 3600, 3661, DAY, DAY + 61, 30 * DAY, 31 * DAY])
EVENTS = st.sampled_from(["", "a", "ä", "12345678x", "12345678y"])


class Heir(Link):
    """A link of the rank of devices between two profiles."""

    @property
    def ends(self) -> tuple[str, str]:
        return "user_id:" + self.a, "user_id:" + self.b


SEEN = st.builds(
    Row,
    profile=st.integers(0, len(PROFILES) - 1),
    device=st.integers(0, len(DEVICES) - 1),
    time=TIMES,
    bound=st.booleans(),
    event_id=EVENTS,
    file=st.sampled_from(["a.avro", "z.avro"]),
)
SAID = st.one_of(
    st.builds(Link, st.just(0), st.sampled_from(PROFILES), st.sampled_from(USERS), st.integers(0, 3), EVENTS),
    st.builds(Link, st.just(1), st.sampled_from(PROFILES), st.sampled_from(PROFILES), st.integers(0, 3), EVENTS).filter(
        lambda link: link.a != link.b
    ),
)
EXPORT = st.tuples(
    st.lists(SEEN, max_size=12), st.lists(SAID, max_size=6, unique_by=lambda link: (link.rank, frozenset(link.ends)))
)
STAYS = st.sampled_from([None, 1 / 24, 1.0, 7.0])
Export = tuple[list[Row], list[Link]]


def rows_of(export: Export) -> list[LinkRow]:
    seen, said = export
    rows = [link._asdict() for link in said]
    for row in seen:
        link = {"rank": 2, "a": PROFILES[row.profile], "b": DEVICES[row.device], "time": row.time, "file": row.file,
                "event_id": row.event_id}  # fmt: skip
        rows.append(link)
        if row.bound:
            rows.append({**link, "rank": 3, "last": row.time})
    return rows


def run(sources: list[list[LinkRow]], stay: float | None, most: int = 20, shards: int = 1) -> Resolution:
    parts: list[bytes] = []
    for rows in sources:
        for _, source in by_profile(source_of(rows), shards)[0]:
            parts += pack_source(len(parts), source)
    graph, _ = Gathered(parts).graph()
    resolution = resolve(graph, device_links="next", device_stay=stay, max_profiles_per_device=most)
    certify(resolution.links, resolution.ids)
    return resolution


def found(resolution: Resolution) -> dict[tuple[str, str], dict[str, Any]]:
    """The links between profiles of the rank of devices."""
    rows = [row for row in resolution.links.to_pylist() if row["device_id"] is not None]
    assert {(row["rank"], row["a_type"], row["b_type"]) for row in rows} <= {(2, "user_id", "user_id")}
    return {(row["a"], row["b"]): row for row in rows}


@settings(max_examples=300, deadline=None)
@given(EXPORT, STAYS, st.integers(1, 7))
def test_the_forest_of_policy_next_equals_kruskal_by_hand(export: Export, stay: float | None, most: int) -> None:
    seen, said = export
    strong = Clusters()
    strong.walk(said)
    users = {at: strong.known("user_id:" + name) for at, name in enumerate(PROFILES)}
    numbers = {at: USERS.index(name) for at, name in users.items() if name is not None}
    days = float("inf") if stay is None else stay * DAY
    heirs = by_hand(seen, numbers, days, most)
    resolution = run([rows_of(export)], stay, most)
    links = found(resolution)
    assert {key: (row["device_id"], row["time"], row["event_id"], row["file"]) for key, row in links.items()} == {
        (PROFILES[profile], PROFILES[heir]): (DEVICES[device], *evidence)
        for (profile, heir), (device, *evidence) in heirs.items()
    }
    added = [Heir(2, *key, row["time"], row["event_id"]) for key, row in links.items()]
    final = Clusters()
    accepted = final.walk([*said, *added])
    for link in added:
        a, b = link.ends
        status = "accepted" if link in accepted else "redundant" if final.find(a) == final.find(b) else "refused"
        assert links[link.a, link.b]["status"] == status
    known = {row["id"]: row["known_user"] for row in resolution.profiles.to_pylist()}
    assert known == {name: final.known("user_id:" + name) for name in known}
    others = {row["status"] for row in resolution.links.to_pylist() if row["b_type"] == "device_id"}
    assert others <= {"contested", "quarantined"}


@settings(max_examples=100, deadline=None)
@given(EXPORT, STAYS, st.integers(1, 4), st.randoms(use_true_random=False))
def test_order_repetition_and_cut_do_not_matter(
    export: Export, stay: float | None, shards: int, chance: random.Random
) -> None:
    rows = rows_of(export)
    one = run([rows], stay)
    again = [*rows, *chance.sample(rows, len(rows) // 2)]
    chance.shuffle(again)
    size = chance.randint(1, 5)
    other = run([again[at : at + size] for at in range(0, len(again), size)] or [[]], stay, shards=shards)
    assert one.links.cast(RESOLVED_LINKS).equals(other.links.cast(RESOLVED_LINKS))
    assert one.ids.slice().equals(other.ids.slice())
    assert one.figures == other.figures


@settings(max_examples=100, deadline=None)
@given(EXPORT, STAYS)
def test_other_names_in_the_same_order_give_the_same_links(export: Export, stay: float | None) -> None:
    def renamed(rows: list[LinkRow]) -> list[LinkRow]:
        of = {0: "u-", 1: "p-", 2: "d-", 3: "d-"}
        return [{**row, "a": "p-" + row["a"], "b": of[row["rank"]] + row["b"]} for row in rows]

    rows = rows_of(export)
    expected = {(f"p-{a}", f"p-{b}"): row["status"] for (a, b), row in found(run([rows], stay)).items()}
    assert {key: row["status"] for key, row in found(run([renamed(rows)], stay)).items()} == expected


@settings(max_examples=300, deadline=None)
@given(EXPORT)
def test_nobody_gets_a_user_who_came_more_than_a_minute_before_the_profile_left(export: Export) -> None:
    seen, _ = export
    for (profile, _), row in found(run([rows_of(export)], None)).items():
        here = [each for each in seen if each.profile == PROFILES.index(profile) and each.bound]
        last = {each.device: max(o.time for o in here if o.device == each.device) for each in here}
        assert any(end <= row["time"] + 60 for end in last.values())


@pytest.mark.parametrize(("stay", "user"), [(1.0, None), (1.5, "u"), (7.0, "u"), (None, "u")])
def test_a_longer_stay_joins_more(stay: float | None, user: str | None) -> None:
    seen = [Row(1, 0, 0), Row(1, 0, DAY), Row(2, 0, DAY + 3600)]
    resolution = run([rows_of((seen, [Link(0, PROFILES[2], "u")]))], stay)
    known = {row["id"]: row["known_user"] for row in resolution.profiles.to_pylist()}
    assert known[PROFILES[1]] == user
