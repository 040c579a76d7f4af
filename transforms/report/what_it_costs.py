"""What the run's events cost at Mixpanel, by month, and what they would cost under other flags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transforms.currents.catalog import FREE_EVENTS
from transforms.mixpanel.monthly_users import largest
from transforms.report.markup import Html, block, code, folded, note, section, table
from transforms.telemetry.tally import Tally, merged

CHOICES = {
    "as_it_is": "this run",
    "anonymous_none": "with --anonymous none",
    "device_links_none": "with --device_links none",
    "without_largest_types": "without the ten largest event types",
}
_NOBODY = {"known": 0, "anonymous": 0}


def figures(cost: Tally, rows_by_type: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
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
) -> dict[str, Any]:
    names = merged(by_type.values())
    by_name = {name: counts["known"] + counts["anonymous"] for name, counts in names.items()}
    known = {name: counts["known"] for name, counts in names.items()}
    of_small = [counts for kind, counts in by_type.items() if kind not in largest_types]
    small = {name: counts["known"] + counts["anonymous"] for name, counts in merged(of_small).items()}
    events = {
        "as_it_is": by_name, "anonymous_none": known, "device_links_none": by_name, "without_largest_types": small,
    }  # fmt: skip
    return {
        "events_by_name": dict(sorted(by_name.items(), key=_most_first)),
        **{choice: _choice(events[choice], persons.get(choice, {})) for choice in CHOICES},
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


def shown(report: Mapping[str, Any]) -> Html:
    """Returns the section on cost."""
    cost = report.get("cost") or {}
    months: Mapping[str, Any] = cost.get("by_month") or {}
    if not months:
        return section("cost", "What it costs", "")
    told = note(
        "Mixpanel bills by events or by monthly tracked users (MTU). A person with events of free names alone is not "
        "counted as one, if Mixpanel takes these names for free from an import too: ask before you rely on it."
    )
    rows = [
        [
            month,
            *(Html(words), of[choice]["events"], of[choice]["events_of_free_names"]),
            *(of[choice]["mtu_known"], of[choice]["mtu_anonymous"], of[choice]["persons_of_free_names_only"]),
        ]
        for month, of in months.items()
        for choice, words in CHOICES.items()
    ]
    heads = [
        "Month",
        "Choice",
        "#Events",
        "#Of free names",
        "#MTU, known",
        "#MTU, anonymous",
        "#Persons of free names",
    ]
    names = [
        [month, code(name), events, "free of MTU" if name in FREE_EVENTS else ""]
        for month, of in months.items()
        for name, events in of["events_by_name"].items()
    ]
    by_name = table("Events by month and name", ["Month", "Event", "#Events", "MTU"], names)
    kinds = ", ".join(str(code(kind)) for kind in cost.get("largest_types") or [])
    largest_types = note(Html(f"The largest event types: {kinds}."))
    return section(
        "cost",
        "What it costs",
        told
        + block("By month, and instead", table("Cost by month", heads, rows) + largest_types)
        + folded(f"Events by name ({len(names):,})", by_name),
    )
