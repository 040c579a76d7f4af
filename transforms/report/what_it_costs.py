"""What the run's events cost at Mixpanel, by month, and what they would cost under other flags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transforms.currents.catalog import FREE_EVENTS
from transforms.mixpanel.monthly_users import largest
from transforms.report.report_json import Cost, MonthlyCost
from transforms.telemetry.tally import Tally, merged

_NOBODY = {"known": 0, "anonymous": 0}


def figures(cost: Tally, rows_by_type: Mapping[str, Mapping[str, int]]) -> Cost:
    """The report's ``cost``, of the figures of all steps."""
    sent = {kind: rows["events"] for kind, rows in rows_by_type.items() if rows["events"]}
    largest_types = largest(sent)
    months: dict[str, dict[str, dict[str, dict[str, int]]]] = cost.get("events", {})
    return {
        "largest_types": largest_types,
        "by_month": {
            month: _month(by_type, cost.get("persons", {}).get(month, {}), set(largest_types))
            for month, by_type in sorted(months.items())
        },
    }


def _month(
    by_type: dict[str, dict[str, dict[str, int]]], persons: Mapping[str, Any], largest_types: set[str]
) -> MonthlyCost:
    names = merged(by_type.values())
    by_name = {name: counts["known"] + counts["anonymous"] for name, counts in names.items()}
    known = {name: counts["known"] for name, counts in names.items()}
    of_small = [counts for kind, counts in by_type.items() if kind not in largest_types]
    small = {name: counts["known"] + counts["anonymous"] for name, counts in merged(of_small).items()}
    return {
        "events_by_name": dict(sorted(by_name.items(), key=_most_first)),
        "as_it_is": _choice(by_name, persons.get("as_it_is", {})),
        "anonymous_none": _choice(known, persons.get("anonymous_none", {})),
        "device_links_none": _choice(by_name, persons.get("device_links_none", {})),
        "without_largest_types": _choice(small, persons.get("without_largest_types", {})),
    }


def _choice(events: Mapping[str, int], persons: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    billed, every = persons.get("billed", _NOBODY), persons.get("persons", _NOBODY)
    return {
        "events": sum(events.values()),
        "events_of_free_names": sum(count for name, count in events.items() if name in FREE_EVENTS),
        "mtu_known": billed["known"],
        "mtu_anonymous": billed["anonymous"],
        "persons_of_free_names_only": every["known"] + every["anonymous"] - billed["known"] - billed["anonymous"],
    }


def _most_first(entry: tuple[str, int]) -> tuple[int, str]:
    return -entry[1], entry[0]
