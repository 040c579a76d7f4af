"""The resolver against Kruskal by hand, and on shapes that are known to be hard."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.exports.link_tables import graph_of, rows_of_links, source_of
from tests.oracle.kruskal_by_hand import Link, resolve_by_hand
from transforms.evidence.ids import ID_TYPES
from transforms.evidence.sources import pack_source
from transforms.identity.forest import resolve
from transforms.identity.gathering import Gathered
from transforms.identity.invariants import certify
from transforms.identity.resolution import RESOLVED_LINKS, Resolution

# One string is a profile, a device and a known user; another a known user that looks like a typed id.
PROFILES = ["p", "same", "é", "P", " p", "\uffff", "\U0001f600"]
USERS = ["u", "same", "user_id:p", "$device:p", "U"]
DEVICES = ["d", "same", "user_id:p", "d "]
EVENTS = ["", "a", "b", "B", "é", "\uffff", "\U0001f600", "0a8f8e4c-aaaa", "0a8f8e4c-aaab"]
POLICIES = ["sole", "first", "none"]


def _links(rank: int, others: list[str]) -> st.SearchStrategy[Link]:
    return st.builds(
        Link,
        st.just(rank),
        st.sampled_from(PROFILES),
        st.sampled_from(others),
        st.integers(0, 2),
        st.sampled_from(EVENTS),
    )


LINK = st.one_of(_links(0, USERS), _links(1, PROFILES).filter(lambda link: link.a != link.b), _links(2, DEVICES))
GRAPH = st.lists(LINK, max_size=24, unique_by=lambda link: (link.rank, link.a, link.b))
NODE = st.tuples(st.integers(0, 2), st.sampled_from(["p", "lonely", "same"]))


def run(
    links: list[Link], policy: str = "first", limit: int = 20, nodes: list[tuple[int, str]] | None = None
) -> Resolution:
    graph = graph_of(rows_of_links(links), nodes or [])
    resolution = resolve(graph, device_links=policy, max_profiles_per_device=limit)
    certify(resolution.links, resolution.ids)
    return resolution


def statuses(resolution: Resolution) -> dict[tuple[int, str, str], str]:
    return {(row["rank"], row["a"], row["b"]): row["status"] for row in resolution.links.to_pylist()}


def groups(resolution: Resolution) -> set[frozenset[tuple[str, str]]]:
    """The clusters as sets of typed ids; a known user's is told from an anonymous one of the same name."""
    found: dict[tuple[str, bool], set[tuple[str, str]]] = {}
    for row in resolution.ids.slice().to_pylist():
        key = row["cluster"], row["distinct_id"] == row["cluster"]
        found.setdefault(key, set()).add((row["id_type"], row["id"]))
    return {frozenset(members) for members in found.values()}


@settings(max_examples=100, deadline=None)
@given(GRAPH, st.lists(NODE, max_size=4), st.sampled_from(POLICIES), st.integers(1, 4))
def test_the_forest_equals_kruskal_by_hand(
    links: list[Link], nodes: list[tuple[int, str]], policy: str, limit: int
) -> None:
    resolution = run(links, policy, limit, nodes)
    typed = [f"{ID_TYPES[kind]}:{name}" for kind, name in nodes]
    status, ids, profiles = resolve_by_hand(links, typed, policy, limit)
    assert statuses(resolution) == {(link.rank, link.a, link.b): said for link, said in status.items()}
    assert resolution.ids.slice().to_pylist() == ids
    said = {row["id"]: (row["known_user"], row["via"]) for row in resolution.profiles.to_pylist()}
    assert said == profiles
    assert list(said) == sorted(said, key=str.encode)
    assert len(groups(resolution)) == resolution.figures["clusters"]
    assert sum(resolution.figures["clusters_by_size"].values()) == resolution.figures["clusters"]


@pytest.mark.parametrize("seed", range(60))
def test_dense_graphs_equal_kruskal_by_hand(seed: int) -> None:
    """Few ids, times and event ids: most orders are decided by the last tie-breaks, and many links refused."""
    chance = random.Random(seed)
    others = [chance.sample(names, 3) for names in (USERS, PROFILES, DEVICES)]
    events = chance.choice([EVENTS[:3], EVENTS[4:7], EVENTS[7:], [""]])
    found = {}
    for _ in range(chance.randint(5, 40)):
        rank, a = chance.randint(0, 2), chance.choice(PROFILES)
        link = Link(rank, a, chance.choice(others[rank]), chance.randint(0, 1), chance.choice(events))
        if rank != 1 or a != link.b:
            found[link[:3]] = link
    links, policy, limit = list(found.values()), POLICIES[seed % 3], chance.choice([2, 3, 20])
    resolution = run(links, policy, limit)
    status, ids, profiles = resolve_by_hand(links, [], policy, limit)
    assert statuses(resolution) == {(link.rank, link.a, link.b): said for link, said in status.items()}
    assert resolution.ids.slice().to_pylist() == ids
    said = {row["id"]: (row["known_user"], row["via"]) for row in resolution.profiles.to_pylist()}
    assert said == profiles


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(GRAPH, st.sampled_from(POLICIES), st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_matter(links: list[Link], policy: str, chance: random.Random) -> None:
    shuffled = chance.sample(links, len(links))
    said = [[link, link._replace(time=link.time + 1)] for link in [*shuffled, *chance.sample(links, len(links) // 2)]]
    parts = [part for at, some in enumerate(said) for part in pack_source(at, source_of(rows_of_links(some)))]
    one, two = run(links, policy), run(shuffled, policy)
    three = resolve(Gathered(parts).graph()[0], device_links=policy)
    for other in (two, three):
        assert one.links.cast(RESOLVED_LINKS).equals(other.links.cast(RESOLVED_LINKS))
        assert one.ids.slice().equals(other.ids.slice())
        assert one.profiles.equals(other.profiles)
        assert one.figures == other.figures


@settings(max_examples=50, deadline=None)
@given(GRAPH, st.integers(0, 2**24))
def test_the_direction_of_orphan_links_does_not_matter(links: list[Link], flips: int) -> None:
    links = list({(link.rank, frozenset(link.ends)): link for link in links}.values())
    flipped = [
        link._replace(a=link.b, b=link.a) if link.rank == 1 and flips >> at & 1 else link
        for at, link in enumerate(links)
    ]
    assert run(links).ids.slice().equals(run(flipped).ids.slice())


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(GRAPH, st.integers(1, 4), st.integers(0, 4**24))
def test_forest_of_the_forests_of_parts_is_the_forest(links: list[Link], shards: int, choice: int) -> None:
    parts: list[list[Link]] = [[] for _ in range(shards)]
    for at, link in enumerate(links):
        parts[(choice >> 2 * at) % shards].append(link)
    kept = []
    for part in parts:
        status = statuses(run(part))
        kept += [link for link in part if status[link.rank, link.a, link.b] == "accepted"]
    nodes = [(ID_TYPES.index(end.split(":", 1)[0]), end.split(":", 1)[1]) for link in links for end in link.ends]
    whole, of_parts = run(links), run(kept, nodes=nodes)
    assert whole.ids.slice().equals(of_parts.ids.slice())
    accepted = {key for key, status in statuses(of_parts).items() if status == "accepted"}
    assert accepted == {key for key, status in statuses(whole).items() if status == "accepted"}


@settings(max_examples=50, deadline=None)
@given(GRAPH, st.sampled_from(POLICIES))
def test_other_names_give_the_same_clusters(links: list[Link], policy: str) -> None:
    links = [link._replace(time=at) for at, link in enumerate(links)]

    def rename(name: str) -> str:
        return name[::-1] + "x"

    renamed = [link._replace(a=rename(link.a), b=rename(link.b)) for link in links]
    expected = {frozenset((kind, rename(name)) for kind, name in group) for group in groups(run(links, policy))}
    assert groups(run(renamed, policy)) == expected


def test_links_are_walked_by_rank_time_event_id_and_typed_pair() -> None:
    """Each link but one would join the users u and v over profile p; only the strongest may have it."""
    rivals = [
        Link(0, "p", "u", 9, "z"),
        Link(1, "p", "q", 1, "z"),
        Link(1, "p", "r", 2, "Z"),
        Link(1, "p", "s", 2, "a"),
        Link(1, "p", "t", 2, "é"),
        Link(2, "p", "d", 0, "a"),
    ]
    users = [Link(0, link.b, "of " + link.b, 0) for link in rivals if link.rank == 1]
    device = [Link(0, "w", "of d", 0), Link(2, "w", "d", 0)]
    while rivals:
        status = statuses(run([*rivals[::-1], *users, *device]))
        said = [status[link.rank, link.a, link.b] for link in rivals]
        assert said == ["accepted"] + ["refused"] * (len(rivals) - 1)
        rivals = rivals[1:]


def test_equal_evidence_is_decided_by_the_typed_pair() -> None:
    links = [Link(1, "m", "a"), Link(1, "z", "m"), Link(0, "a", "first"), Link(0, "z", "second")]
    status = statuses(run(links))
    assert status[1, "m", "a"] == "accepted"
    assert status[1, "z", "m"] == "refused"


def test_each_device_policy_links_whom_it_says() -> None:
    links = [
        *(Link(0, "p1", "u1"), Link(0, "p2", "u2"), Link(2, "p1", "shared", 1), Link(2, "p2", "shared", 2)),
        *(Link(2, "p3", "shared", 3), Link(2, "p1", "own", 4), Link(2, "p4", "own", 5)),
    ]
    expected = {
        "sole": {"p1": "u1", "p2": "u2", "p3": None, "p4": "u1"},
        "first": {"p1": "u1", "p2": "u2", "p3": "u1", "p4": "u1"},
        "none": {"p1": "u1", "p2": "u2", "p3": None, "p4": None},
    }
    for policy, users in expected.items():
        resolution = run(links, policy)
        assert {row["id"]: row["known_user"] for row in resolution.profiles.to_pylist()} == users
    sole = run(links, "sole").figures
    assert sole["contested_devices"] == 1
    assert sole["contested_examples"] == [{"device_id": "shared", "known_users": ["u1", "u2"]}]
    assert run(links, "none").figures["contested_devices"] == 2
    refused = run(links, "first").figures["refused_examples"]
    evidence = {"time": 2, "event_id": "", "file": "f.avro"}
    assert refused == [
        {"a_type": "user_id", "a": "p2", "b_type": "device_id", "b": "shared", "known_users": ["u2", "u1"], **evidence}
    ]


def test_a_device_of_too_many_profiles_is_quarantined_under_every_policy() -> None:
    links = [Link(0, "p0", "u")] + [Link(2, f"p{at}", "kiosk", at) for at in range(4)]
    for policy in POLICIES:
        figures = run(links, policy, limit=3).figures
        assert figures["quarantined_examples"] == [{"device_id": "kiosk", "profiles": 4}]
        assert (figures["links"]["quarantined"], figures["contested_devices"]) == (4, 0)
    assert run(links, "sole", limit=4).figures["made_known"] == {"own": 1, "profile": 0, "device": 3, "none": 0}


def test_profiles_say_by_which_link_they_came_to_their_user() -> None:
    links = [
        *(Link(0, "own", "u"), Link(1, "merged", "own"), Link(2, "own", "d"), Link(2, "on device", "d")),
        *(Link(1, "behind it", "on device"), Link(1, "x", "y")),
    ]
    resolution = run(links, "sole")
    via = {row["id"]: row["via"] for row in resolution.profiles.to_pylist()}
    assert via == {
        "own": "own",
        "merged": "profile",
        "on device": "device",
        "behind it": "device",
        "x": "none",
        "y": "none",
    }


@pytest.mark.parametrize("shape", ["sequential", "reversed", "random", "zig-zag", "bit-reversed"])
def test_a_path_between_two_users_is_cut_at_its_weakest_link(shape: str) -> None:
    size = 1 << 14
    at = np.arange(size)
    times = {
        "sequential": at,
        "reversed": at[::-1],
        "random": np.random.default_rng(1).permutation(size),
        "zig-zag": np.where(at % 2, at, size - 1 - at + at % 2),
        "bit-reversed": np.array([int(f"{number:014b}"[::-1], 2) for number in range(size)]),
    }[shape]
    names = [f"{number * 7919 % 99991:05d}" for number in range(size + 1)]
    path = [Link(1, names[n], names[n + 1], int(times[n]), f"{n:06d}") for n in range(size)]
    resolution = run([Link(0, names[0], "first"), Link(0, names[-1], "last"), *path])
    weakest = max(range(size), key=lambda n: (times[n], n))
    assert [key for key, status in statuses(resolution).items() if status != "accepted"] == [
        (1, names[weakest], names[weakest + 1])
    ]
    sizes = resolution.profiles.group_by("known_user").aggregate([("id", "count")]).to_pylist()
    assert {row["known_user"]: row["id_count"] for row in sizes} == {"first": weakest + 1, "last": size - weakest}


@pytest.mark.parametrize("shape", ["smallest hub", "largest hub", "binary tree", "caterpillar", "power law"])
def test_the_ids_of_a_tree_are_one_person(shape: str) -> None:
    size = 20_000
    above = {
        "smallest hub": lambda n: 0,
        "largest hub": lambda n: size,
        "binary tree": lambda n: (n - 1) // 2,
        "caterpillar": lambda n: n - 1 if n % 2 else max(n - 2, 0),
        "power law": lambda n: int(n * random.Random(n).random() ** 4),
    }[shape]
    members = range(size) if shape == "largest hub" else range(1, size)
    tree = [Link(1, f"{n:06d}", f"{above(n):06d}", n % 5) for n in members]
    resolution = run([Link(0, f"{size // 2:06d}", "u"), *tree])
    assert resolution.figures["clusters"] == 1
    assert resolution.figures["made_known"]["none"] == 0


def test_a_junk_device_of_many_profiles_joins_no_one() -> None:
    count = 100_000
    resolution = resolve(
        graph_of(rows_of_links(Link(2, f"{n:024x}", "junk", n) for n in range(count))), device_links="first"
    )
    certify(resolution.links, resolution.ids)
    assert resolution.figures["clusters"] == count + 1
    assert resolution.figures["links"]["quarantined"] == count


def test_orphan_cycles_lose_their_weakest_link() -> None:
    links = [
        Link(1, "a", "b", 1),
        Link(1, "b", "a", 2),
        Link(1, "b", "c", 3),
        Link(1, "c", "a", 4),
        Link(1, "c", "c", 0),
    ]
    status = statuses(run(links))
    assert [status[link.rank, link.a, link.b] for link in links] == [
        *("accepted", "redundant", "accepted", "redundant", "redundant")
    ]


def test_a_known_user_may_be_named_like_an_anonymous_cluster() -> None:
    resolution = run([Link(0, "p", "user_id:q"), Link(2, "p", "d")], nodes=[(2, "q"), (1, "device_id:x"), (0, "x")])
    assert [tuple(row.values()) for row in resolution.ids.slice().to_pylist()] == [
        ("device_id", "d", "user_id:q", "user_id:q"),
        ("device_id", "x", None, "device_id:x"),
        ("external_user_id", "device_id:x", "device_id:x", "device_id:x"),
        ("external_user_id", "user_id:q", "user_id:q", "user_id:q"),
        ("user_id", "p", "user_id:q", "user_id:q"),
        ("user_id", "q", "$device:q", "user_id:q"),
    ]


def test_no_links_give_empty_tables_of_identities() -> None:
    resolution = run([])
    assert (resolution.links.num_rows, resolution.ids.num_rows, resolution.profiles.num_rows) == (0, 0, 0)


def test_a_policy_a_limit_or_a_rank_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[last\].*next, sole, first, none"):
        run([], "last")
    with pytest.raises(ValueError, match=r"\[0\]; use 1 or more"):
        run([], limit=0)
    with pytest.raises(ValueError, match=r"\[0\] to \[4\]"):
        graph_of(rows_of_links(Link(0, "a", "b")._replace(rank=rank) for rank in (0, 4)))
