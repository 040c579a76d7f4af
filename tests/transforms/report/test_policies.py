"""The device policies in the report: the order of the table, its marks, and what is warned of."""

from __future__ import annotations

from typing import Any

import pytest

from transforms.report.page import section
from transforms.report.policies import in_order, policy_warnings
from transforms.report.templates import filled


def line(policy: str, stay: float | str | None = None, **figures: Any) -> dict[str, Any]:
    return {"device_links": policy, "device_stay": stay, "chosen": False, **figures}


def identity(chosen: dict[str, Any], busy: float = 0.0, **more: Any) -> Any:
    return {"device_policies": {"rows_on_busy_devices": busy, "table": [{**chosen, "chosen": True}], **more}}


def device_policies(report: dict[str, Any]) -> str:
    return filled("device_policies.html.j2", found=report["identity"])


def test_the_table_has_the_order_of_the_page_whatever_order_it_travelled_in() -> None:
    lines = [line("next", "any"), line("first"), line("next", 30.0), line("none"), line("next", 0.5), line("sole")]
    policies: Any = {"judged_profiles": 3, "table": lines}
    found = in_order(policies)
    assert found["judged_profiles"] == 3
    assert [(each["device_links"], each["device_stay"]) for each in found["table"]] == [
        ("none", None), ("sole", None), ("first", None), ("next", 0.5), ("next", 30.0), ("next", "any"),
    ]  # fmt: skip
    empty: Any = {"orphans_since": None, "judged_profiles": 0, "rows_on_busy_devices": 0.0, "table": []}
    assert in_order(empty) == empty


@pytest.mark.parametrize(
    ("policy", "confirmed", "contradicted", "warned"),
    [
        ("sole", 990, 10, False),
        ("sole", 989, 11, True),
        ("first", 98, 2, True),
        ("first", 97, 2, False),  # of fewer than a hundred nothing is said
        ("next", 500, 500, False),
        ("none", 0, 0, False),
    ],
)
def test_contradicted_joins_of_loose_policies_are_warned_of(
    policy: str, confirmed: int, contradicted: int, warned: bool
) -> None:
    chosen = line(policy, 1.0 if policy == "next" else None, confirmed=confirmed, contradicted=contradicted)
    found = list(policy_warnings(identity(chosen)))
    assert len(found) == warned
    if warned:
        assert f"{contradicted} of {confirmed + contradicted}" in found[0].replace(",", "")
        assert "--device_links next" in found[0]


def test_rows_of_tablets_are_warned_of_unless_devices_link_nobody() -> None:
    (found,) = policy_warnings(identity(line("next", 7.0), 0.2))
    assert "carry 20% of the rows" in found
    assert "a shorter --device_stay" in found
    assert "--device_links next" in next(policy_warnings(identity(line("sole"), 0.5)))
    assert not list(policy_warnings(identity(line("next", 7.0), 0.199)))
    assert not list(policy_warnings(identity(line("none"), 0.9)))
    assert not list(policy_warnings(identity({**line("sole"), "chosen": False}, 0.9, table=[])))


def test_the_page_marks_the_chosen_policy_and_says_since_when_it_judges() -> None:
    figures = {"profiles": 5, "rows": 70, "devices_left_out": 3, "largest_cluster": 2}
    verdicts = {"confirmed": 1, "contradicted": 2, "missed": 3, "unconfirmed": 4}
    chosen = line("next", 1.0, **figures, **verdicts)
    shown = device_policies({"identity": identity(chosen, orphans_since=1_772_323_200, judged_profiles=1_234)})
    assert "<strong>next, stay of 1 day (chosen)</strong>" in shown
    assert "1,234 Braze profiles" in shown
    assert "2026-03-01 00:00:00 UTC" in shown
    assert "Contradicted" in shown
    shown = device_policies({"identity": identity(line("sole", **figures), orphans_since=None)})
    assert "nothing was judged" in shown
    assert "Contradicted" not in shown
    scored = line("sole", **figures, precision=0.5, recall=0.25, wrongly_joined_per_million=7.0)
    assert "Wrongly joined per million" in device_policies({"identity": identity(scored, orphans_since=None)})
    assert section("identity.html.j2", {"identity": {}, "rows": {}}).strip() == ""
