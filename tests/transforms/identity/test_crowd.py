"""External ids that many profiles carry, and profiles that carry several."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.exports.link_tables import graph_of, rows_of_links
from tests.oracle.kruskal_by_hand import Link
from tests.transforms.identity.test_forest import GRAPH, POLICIES
from transforms.evidence.own_ids import own_ids
from transforms.identity.forest import resolve
from transforms.identity.invariants import certify
from transforms.identity.resolution import RESOLVED_LINKS, Resolution
from transforms.report.identity_warnings import identity_warnings
from transforms.telemetry.tally import merge

CROWD = [Link(0, f"p{number}", "everybody", number) for number in range(4)]


def run(links: list[Link], crowd_ids: str = "drop", limit: int = 3, nodes: list[tuple[int, str]] | None = None,
        device_links: str = "sole") -> Resolution:  # fmt: skip
    resolution = resolve(
        graph_of(rows_of_links(links), nodes or []),
        device_links=device_links,
        crowd_ids=crowd_ids,
        max_profiles_per_known_user=limit,
    )
    certify(resolution.links, resolution.ids)
    return resolution


def known_users(resolution: Resolution) -> dict[str, str | None]:
    return {row["id"]: row["known_user"] for row in resolution.profiles.to_pylist()}


def test_a_crowd_id_is_kept_and_named_with_its_number() -> None:
    resolution = run(CROWD, "keep")
    assert known_users(resolution) == {f"p{number}": "everybody" for number in range(4)}
    assert resolution.figures["crowd_external_ids"] == 1
    assert resolution.figures["crowd_examples"] == [{"external_user_id": "everybody", "profiles": 4}]
    assert len(resolution.dropped) == 0


def test_a_dropped_crowd_id_is_nowhere_and_its_profiles_stay() -> None:
    links = [*CROWD, Link(0, "p1", "ada", 9), Link(1, "p2", "p1", 9), Link(2, "p3", "phone", 9)]
    resolution = run(links, nodes=[(1, "everybody"), (1, "bob")])
    assert known_users(resolution) == {"p0": None, "p1": "ada", "p2": "ada", "p3": None}
    assert resolution.dropped.to_pylist() == ["everybody"]
    assert resolution.figures["crowd_examples"] == [{"external_user_id": "everybody", "profiles": 4}]
    assert "everybody" not in resolution.ids.slice()["id"].to_pylist()
    assert "everybody" not in resolution.links["b"].to_pylist()
    assert resolution.figures["known_users"] == 2  # ada and bob


def test_as_many_profiles_as_allowed_are_no_crowd() -> None:
    resolution = run(CROWD, limit=4)
    assert resolution.figures["crowd_external_ids"] == 0
    assert set(known_users(resolution).values()) == {"everybody"}


def test_a_device_that_only_a_crowd_contests_links_again() -> None:
    links = [*CROWD, Link(0, "q", "ada"), Link(2, "q", "phone"), Link(2, "p0", "phone")]
    assert known_users(run(links, "keep"))["p0"] == "everybody"
    assert known_users(run(links))["p0"] == "ada"


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(GRAPH, st.sampled_from(POLICIES), st.integers(1, 3), st.randoms(use_true_random=False))
def test_dropping_is_resolving_without_the_crowds_links(
    links: list[Link], policy: str, limit: int, chance: random.Random
) -> None:
    profiles: dict[str, set[str]] = {}
    for link in links:
        if link.rank == 0:
            profiles.setdefault(link.b, set()).add(link.a)
    crowd = {user for user, those in profiles.items() if len(those) > limit}
    rest = [link for link in links if link.rank or link.b not in crowd]
    alone = [(2, link.a) for link in links if not link.rank and link.b in crowd]
    wanted = run(rest, "keep", nodes=alone, device_links=policy)
    got = run(chance.sample(links, len(links)), limit=limit, device_links=policy)
    assert got.links.cast(RESOLVED_LINKS).equals(wanted.links.cast(RESOLVED_LINKS))
    assert got.ids.slice().equals(wanted.ids.slice())
    assert got.profiles.equals(wanted.profiles)
    assert set(got.dropped.to_pylist()) == crowd
    most = [-len(profiles[user]) for user in got.dropped.to_pylist()]
    assert most == sorted(most)


def test_unknown_policies_and_limits_are_refused() -> None:
    with pytest.raises(ValueError, match=r"crowd_ids is \[send\]; use one of keep, drop"):
        run(CROWD, "send")
    with pytest.raises(ValueError, match=r"max_profiles_per_known_user is \[0\]; use 1 or more"):
        run(CROWD, limit=0)


def test_a_profile_with_several_external_ids_is_counted_with_them_in_the_order_of_time() -> None:
    links = [Link(0, "p", "new", 9), Link(0, "p", "old", 1), Link(0, "q", "other"), Link(1, "q", "r")]
    figures = run(links).figures
    assert figures["renamed_profiles"] == 1
    assert figures["renamed_examples"] == [{"user_id": "p", "external_user_ids": ["old", "new"]}]
    assert run([*CROWD, Link(0, "p0", "ada", 9)]).figures["renamed_profiles"] == 0


def test_external_ids_of_rows_are_told_from_what_braze_sends() -> None:
    texts = ["ada", None, "", " ", "Guest", "null", "$device:p", "everybody", "max_nobody", "Guest"]
    found = own_ids(pa.array(texts), ("max_nobody",), pa.array(["everybody", "null"]))
    assert found.known.to_pylist() == ["ada", *[None] * 9]
    assert found.by_connector.tolist() == [True, False, False, True, True, False, True, True, True, True]
    assert found.left_out == {
        "nobody": {"Guest": 2, "null": 1, "max_nobody": 1},
        "anonymous_prefix": {"$device:p": 1},
        "crowd": {"everybody": 1},
    }
    total = merge(merge({}, {"external_ids_left_out": found.left_out}), {"external_ids_left_out": found.left_out})
    assert total["external_ids_left_out"]["nobody"] == {"Guest": 4, "null": 2, "max_nobody": 2}


def test_external_ids_that_are_all_known_users_are_passed_on_as_they_are() -> None:
    texts = pa.array(["ada", None, "bob"])
    found = own_ids(texts, ("other",), pa.array(["everybody"]))
    assert found.known is texts
    assert (found.by_connector.tolist(), found.left_out) == ([True, False, True], {})


def reported(resolution: Resolution, **more: Any) -> Any:
    """A resolution's figures with what the report adds to them."""
    return {**resolution.figures, "crowd_ids": "keep", "external_ids_left_out": {}, **more}


def test_warnings_name_ids_on_one_line_with_their_numbers() -> None:
    left_out = {"anonymous_prefix": {"$device:p9": 3, "(others)": 2}}
    resolution = run([*CROWD, Link(0, "p0", "a\nb", 9)], "keep")
    figures = reported(resolution, external_ids_left_out=left_out)
    crowd, anonymous, renamed, refused = identity_warnings(figures, {})
    assert crowd == (
        "1 external id is carried by more Braze profiles than --max_profiles_per_known_user, so most likely a "
        "placeholder and not a person: [everybody] by 4 Braze profiles; all rows under "
        "such an id go to one person in Mixpanel; --crowd_ids drop leaves it out"
    )
    assert anonymous.startswith("5 rows have an external id that begins with $device:")
    assert "e.g. [$device:p9]: it is not a known user" in anonymous
    assert renamed.startswith("1 Braze profile had several external ids over time")
    assert "e.g. [p0]: [everybody], then [a\\nb];" in renamed
    assert refused.startswith("1 link was refused, since each would have joined two known users, e.g. user_id [p0] ")
    assert identity_warnings(reported(run([Link(0, "p", "u")])), {}) == []


def test_the_warning_of_dropped_crowds_counts_them_all_and_their_rows() -> None:
    links = [Link(0, f"p{at}", f"crowd-{number:02}") for number in range(12) for at in range(4 + (number == 7))]
    left_out = {"crowd": {"crowd-07": 5, "crowd-00": 40}}
    identity = reported(run(links), crowd_ids="drop", external_ids_left_out=left_out)
    (warning,) = (text for text in identity_warnings(identity, {}) if "crowd" in text)
    assert warning.startswith("12 external ids are carried")
    assert "person: [crowd-07] by 5 Braze profiles, [crowd-00] by 4 Braze profiles" in warning
    assert warning.endswith("and 2 more; --crowd_ids drop left them out, on 45 rows")
