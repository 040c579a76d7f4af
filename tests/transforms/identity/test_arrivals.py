"""Who inherits an anonymous presence on a device, against a slow count by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.identity.arrivals import Inheritance, Sightings, inherit

DAY = 86_400
LATER = 100 * DAY


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of ``profile`` on ``device``; ``bound`` as its type is."""

    profile: int
    device: int
    time: int
    bound: bool = True
    event_id: str = ""
    file: str = "a.avro"

    @property
    def evidence(self) -> tuple[int, bytes, bytes]:
        return self.time, self.event_id.encode(), self.file.encode()


def sightings(rows: list[Row]) -> Sightings:
    pairs = sorted({(row.profile, row.device) for row in rows})
    of = {pair: [row for row in rows if (row.profile, row.device) == pair] for pair in pairs}
    bound = {pair: [row for row in of[pair] if row.bound] for pair in pairs}
    least = {pair: min(bound[pair], key=lambda row: row.evidence, default=Row(0, 0, 0)) for pair in pairs}
    paths = sorted({row.file for row in rows} | {"a.avro"})
    numbers: Any = {"dtype": np.int64}
    return Sightings(
        profile=np.array([pair[0] for pair in pairs], **numbers),
        device=np.array([pair[1] for pair in pairs], **numbers),
        first=np.array([min(row.time for row in of[pair]) for pair in pairs], **numbers),
        evidence=np.array([at if bound[pair] else -1 for at, pair in enumerate(pairs)], **numbers),
        begin=np.array([least[pair].time for pair in pairs], **numbers),
        event_id=pa.array([least[pair].event_id for pair in pairs], pa.string()),
        file=np.array([paths.index(least[pair].file) for pair in pairs], **numbers),
        end=np.array([max((row.time for row in bound[pair]), default=0) for pair in pairs], **numbers),
        paths=pa.array(paths, pa.string()),
    )


def found(rows: list[Row], users: dict[int, int], *, stay: float = DAY, most: int = 20) -> Inheritance:
    seen = sightings(rows)
    user = np.array([users.get(profile, -1) for profile in seen.profile.tolist()], dtype=np.int64)
    devices = max((row.device for row in rows), default=-1) + 1
    return inherit(seen, user, devices=devices, stay=stay, max_profiles_per_device=most)


def links(rows: list[Row], users: dict[int, int], **limits: Any) -> dict[tuple[int, int], tuple[int, int, str, str]]:
    """(profile, heir) → (device, time, event id, file)."""
    seen, got = sightings(rows), found(rows, users, **limits)
    return {
        (profile, heir): (
            device, int(seen.begin[at]), seen.event_id[at].as_py(), seen.paths[seen.file[at]].as_py()
        )
        for profile, heir, device, at in zip(
            got.profile.tolist(), got.heir.tolist(), got.device.tolist(), got.evidence.tolist(), strict=True
        )
    }  # fmt: skip


def by_hand(rows: list[Row], users: dict[int, int], stay: float, most: int) -> dict[tuple[int, int], tuple[Any, ...]]:
    heirs: dict[int, list[tuple[int, int, int, tuple[int, bytes, bytes]]]] = {}
    for device in {row.device for row in rows}:
        here = [row for row in rows if row.device == device]
        arrivals = [row for row in here if row.profile in users and row.bound]
        strangers = {row.profile for row in here if row.profile not in users and row.bound}
        if len({row.profile for row in here}) > most or not arrivals or len(strangers) != 1:
            continue
        (profile,) = strangers
        heir = min(arrivals, key=lambda row: (row.evidence, row.profile))
        mine = [row.time for row in here if row.profile == profile and row.bound]
        shared = len({users[row.profile] for row in here if row.profile in users}) > 1
        if max(mine) > min(row.time for row in here if row.profile in users) + 60:
            continue
        if heir.time - min(mine) > (min(stay, 3600) if shared else stay) or heir.time - max(mine) > 30 * DAY:
            continue
        heirs.setdefault(profile, []).append((users[heir.profile], heir.profile, device, heir.evidence))
    result: dict[tuple[int, int], tuple[Any, ...]] = {}
    for profile, those in heirs.items():
        if len({user for user, *_ in those}) == 1:
            for heir_profile in {one[1] for one in those}:
                same = [one for one in those if one[1] == heir_profile]
                time, event_id, file = min(one[3] for one in same)
                result[profile, heir_profile] = (min(one[2] for one in same), time, event_id.decode(), file.decode())
    return result


def before_and_after(**change: Any) -> list[Row]:
    """Profile 0 for an hour on device 0, half an hour later profile 1, which is user 7's."""
    begin, end, arrives = change.get("begin", 0), change.get("end", 3600), change.get("arrives", 5400)
    return [Row(0, 0, begin), Row(0, 0, end), Row(1, 0, arrives, event_id="login", file="b.avro")]


def test_the_known_user_who_comes_first_inherits_with_the_arrival_as_evidence() -> None:
    assert links(before_and_after(), {1: 7}) == {(0, 1): (0, 5400, "login", "b.avro")}


@pytest.mark.parametrize(
    ("case", "inherits"),
    [
        ({"arrives": DAY}, True),
        ({"arrives": DAY + 1}, False),
        ({"arrives": 3540}, True),  # a minute of overlap
        ({"arrives": 3539}, False),
    ],
)
def test_a_stay_of_a_day_and_an_overlap_of_a_minute_are_the_most(case: dict[str, int], inherits: bool) -> None:
    assert bool(links(before_and_after(**case), {1: 7})) == inherits


def test_without_a_limit_of_the_stay_a_gap_of_thirty_days_is_the_most() -> None:
    last = 200 * DAY
    for arrives, inherits in ((last + 30 * DAY, True), (last + 30 * DAY + 1, False)):
        assert bool(links(before_and_after(end=last, arrives=arrives), {1: 7}, stay=np.inf)) == inherits


def test_where_two_known_users_are_an_hour_is_the_most_even_without_a_limit() -> None:
    for arrives, inherits in ((3600, True), (3601, False)):
        rows = [*before_and_after(arrives=arrives), Row(2, 0, LATER, bound=False)]
        assert bool(links(rows, {1: 7, 2: 8}, stay=np.inf)) == inherits
        assert links(rows, {1: 7, 2: 7}, stay=np.inf), "two profiles of one user share nothing"


def test_a_second_anonymous_presence_leaves_none_unless_its_rows_are_of_the_server_alone() -> None:
    assert not links([*before_and_after(), Row(2, 0, LATER)], {1: 7})
    assert links([*before_and_after(), Row(2, 0, LATER, bound=False)], {1: 7})


def test_a_known_user_s_row_of_any_type_ends_the_presence_and_only_a_bound_one_arrives() -> None:
    assert not links([*before_and_after(), Row(1, 0, 1000, bound=False)], {1: 7})
    assert not links([Row(0, 0, 0), Row(1, 0, 100, bound=False)], {1: 7})


def test_more_profiles_than_a_device_may_have_leave_none() -> None:
    rows = [*before_and_after(), Row(2, 0, LATER, bound=False)]
    assert links(rows, {1: 7}, most=3)
    assert not links(rows, {1: 7}, most=2)


def test_heirs_of_two_users_are_none_and_two_profiles_of_one_user_are_two_links() -> None:
    other = [Row(0, 1, 0), Row(2, 1, 60)]
    assert not links(before_and_after() + other, {1: 7, 2: 8})
    assert set(links(before_and_after() + other, {1: 7, 2: 7})) == {(0, 1), (0, 2)}


def test_of_several_devices_the_least_is_named_beside_the_least_evidence() -> None:
    rows = [Row(0, 3, 0), Row(1, 3, 60, event_id="x"), Row(0, 5, 0), Row(1, 5, 50, event_id="y")]
    assert links(rows, {1: 7}) == {(0, 1): (3, 50, "y", "a.avro")}


NEAR = st.sampled_from([0, 30, 60, 61, 90, 3600, 3660, 3661, DAY, DAY + 60, DAY + 61, 30 * DAY, 31 * DAY])
ROWS = st.lists(
    st.builds(
        Row,
        profile=st.integers(0, 6),
        device=st.integers(0, 3),
        time=NEAR,
        bound=st.booleans(),
        event_id=st.sampled_from(
            ["", "a", "ä", "a long one of the same first bytes", "a long one of the same first x"]
        ),
        file=st.sampled_from(["a.avro", "b.avro", "z.avro"]),
    ),
    max_size=14,
)
USERS = st.dictionaries(st.integers(0, 6), st.integers(0, 2), max_size=4)


@pytest.mark.slow
@given(ROWS, USERS, st.sampled_from([60.0, 3600.0, DAY, 7 * DAY, np.inf]), st.integers(1, 7))
@settings(max_examples=1_500, deadline=None)
def test_the_links_are_those_of_a_count_by_hand(rows: list[Row], users: dict[int, int], stay: float, most: int) -> None:
    assert links(rows, users, stay=stay, most=most) == by_hand(rows, users, stay, most)


@pytest.mark.slow
@given(ROWS, USERS, st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_no_user_inherits_who_came_more_than_a_minute_before_the_profile_left(
    rows: list[Row], users: dict[int, int], chance: Any
) -> None:
    got = links(rows, users, stay=np.inf)
    again = rows + rows[:3]
    chance.shuffle(again)
    assert links(again, users, stay=np.inf) == got
    for (profile, _), (_, time, _, _) in got.items():
        here = [row for row in rows if row.profile == profile and row.bound]
        last = [max(row.time for row in here if row.device == device) for device in {row.device for row in here}]
        assert profile not in users
        assert any(end <= time + 60 for end in last)
