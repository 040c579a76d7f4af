"""The summary says to somebody who has never seen one what became of each row, and what to look at."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.command_line import summary
from transforms.report.identity_warnings import identity_warnings
from transforms.vocabulary.persons import VIA
from transforms.vocabulary.rows import OUTCOMES


def report(**changes: Any) -> dict[str, Any]:
    rows = dict.fromkeys(OUTCOMES.codes, 0) | {"read": 20, "events": 12, "repeats": 5, "withheld": 3}
    through = {"own": 2, "profile": 1, "device": 0}
    identity = {"known_users": 2, "profiles": 4, "profiles_known_through": through, "anonymous_profiles": 1}
    return {
        "rows": rows, "identity": identity, "gain": {"anonymous_rows": 7, "rows_joined_to_known": 3}, "warnings": [],
        "timing": {"rows_per_second": 1_000, "peak_memory_bytes": 400_000_000}, "files": {"read": 1},
        "listing": {"not_read": {}, "read_until": None}, **changes,
    }  # fmt: skip


def test_every_outcome_and_every_way_to_a_known_user_has_words() -> None:
    assert set(summary._NOT_EVENTS) == set(OUTCOMES.codes) - {"read", "events"}
    assert set(summary._JOINED) == set(VIA.codes) - {"none"}


def test_the_lines_add_up_and_name_what_is_not_an_event() -> None:
    assert summary.lines(report(warnings=["3 links"]), "out") == [
        "read       20 rows in 1 file, 1,000 rows/s; memory at its peak: 0.4 GB",
        "events     12 events are ready for Mixpanel in events/; nothing has been sent yet",
        "others     8 rows are not events: 5 repeats (Braze delivered the row twice), 3 withheld by flags or their "
        "defaults (the report says which)",
        "persons    2 known users (external ids) and 4 Braze profiles. 3 of the profiles belong to a known user: 2 by "
        "their own external id, 1 since Braze merged them with one that does, 0 through a device. 1 remain anonymous",
        "gained     7 events that Braze's connector to Mixpanel never sends, since they have no usable external id; "
        "3 of them now belong to a known user",
        "warning    3 links",
        "report     out/report.html",
    ]


@pytest.mark.parametrize(
    ("identity", "policy", "where"),
    [
        ({"contested_devices": 1}, "sole", "1 device is shared by several known users"),
        ({"contested_devices": 5}, "sole", "«Contested devices» in the report; --device_links next"),
        ({"contested_devices": 5}, "next", None),
        ({"quarantined_devices": 1}, "next", "1 device was seen with more Braze profiles than"),
        ({"quarantined_devices": 2}, "next", "«Quarantined devices» in the report; if these are people's own, raise"),
    ],
)
def test_devices_that_link_nobody_are_explained_with_where_to_look(
    identity: dict[str, int], policy: str, where: str | None
) -> None:
    nothing: Any = {
        "contested_devices": 0, "quarantined_devices": 0, "external_ids_left_out": {}, "crowd_external_ids": 0,
        "renamed_profiles": 0, "links": {"refused": 0},
    }  # fmt: skip
    told = identity_warnings(nothing | identity, {"device_links": policy})
    assert [where in text for text in told if where] == ([True] if where else [])
    assert bool(told) is bool(where)
