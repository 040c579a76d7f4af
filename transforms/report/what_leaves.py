"""What leaves, for the report: every property and attribute, what the rules did, and what looks personal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transforms.currents import catalog
from transforms.currents.coverage import HoursCovered
from transforms.privacy.lookalikes import KINDS
from transforms.privacy.marks import IDS, is_marked, is_personal
from transforms.privacy.rules import DROP, HASH
from transforms.report.report_json import LeavingLine, ReportJson, WhatLeaves
from transforms.telemetry.tally import Tally

DELETIONS_SINCE = "2026-07-01T00:00Z"
"""Release 10 of Currents, the first with rows of deletions on request."""


RULES_NAMED = 10
"""In a warning; the report's section has all."""

SENT = "sent"
_Names = tuple[str, str, str | None, str]  # property or attribute, field, mark, what the rules did


def figures(leaves: Tally, flags: Mapping[str, Any]) -> WhatLeaves:
    """The report's ``what_leaves``, of the figures of all units."""
    ruled: dict[str, int] = leaves.get("rules", {})
    rules = sorted({*(flags.get(DROP) or ()), *(flags.get(HASH) or ())})
    looks: dict[str, dict[str, int]] = leaves.get("looks", {})
    ids = frozenset(flags.get(HASH) or ()) & frozenset(IDS)
    return {
        "properties": _lines(leaves, ids, of_profiles=False),
        "attributes": _lines(leaves, ids, of_profiles=True),
        "rules": {rule: ruled.get(rule, 0) for rule in rules},
        "rules_without_values": [rule for rule in rules if not ruled.get(rule)],
        "looks_personal": {kind: dict(sorted(looks.get(kind, {}).items())) for kind in KINDS},
    }


def _lines(leaves: Tally, ids: frozenset[str], *, of_profiles: bool) -> list[LeavingLine]:
    rows: dict[str, int] = leaves.get("rows", {})
    values: dict[_Names, int] = {}
    types: dict[_Names, set[str]] = {}
    hashed: dict[str, Any] = leaves.get(HASH, {})
    for done in (SENT, DROP):
        for event_type, columns in leaves.get(done, {}).items():
            if (event_type == catalog.PROFILE_UPDATE) is not of_profiles:
                continue
            for field, names in columns.items():
                for name, count in names.items():
                    is_hashed = not ids.isdisjoint(field.split(", ")) or bool(
                        hashed.get(event_type, {}).get(field, {}).get(name)
                    )
                    word = "dropped" if done == DROP else "hashed" if is_hashed else SENT
                    key = (name, field, _mark(event_type, field), word)
                    values[key] = values.get(key, 0) + count
                    types.setdefault(key, set()).add(event_type)
    lines: list[LeavingLine] = []
    for key in sorted(values, key=_by_name):
        of_types = sum(rows.get(event_type, 0) for event_type in types[key])
        name, field, mark, word = key
        lines.append(
            {
                "name": name,
                "field": field,
                "event_types": len(types[key]),
                "values": values[key],
                "rows": of_types,
                "share": round(values[key] / of_types, 6) if of_types else None,
                "mark": mark,
                "rules": word,
            }
        )
    return lines


def _mark(event_type: str, field: str) -> str | None:
    """``pii`` where Braze marks the field, ``pii+`` where it is personal without a mark."""
    fields = field.split(", ")
    if any(is_marked(event_type, name) for name in fields):
        return "pii"
    return "pii+" if any(is_personal(event_type, name) for name in fields) else None


def _by_name(key: _Names) -> tuple[bytes, bytes, str, str]:
    name, field, mark, word = key
    return name.encode(), field.encode(), mark or "", word


def deletions_known_since(coverage: HoursCovered) -> str | None:
    """The first hour with a file of ``users.UserDeleteRequest``; None where there is none."""
    of_type = coverage["by_type"].get(catalog.USER_DELETE_REQUEST)
    return of_type["first_hour"] if of_type else None


def warnings(report: ReportJson, flags: Mapping[str, Any]) -> list[str]:
    """What somebody should look at: rules that named no value, and deletions that the export could not tell of."""
    return [*_unused(report), *_deleted_before(report, flags)]


def _unused(report: ReportJson) -> list[str]:
    unused = report["what_leaves"]["rules_without_values"]
    if not unused:
        return []
    named = ", ".join(f"[{rule}]" for rule in unused[:RULES_NAMED])
    more = f" and {len(unused) - RULES_NAMED:,} more" if len(unused) > RULES_NAMED else ""
    return [f"rules that named no value of what was read: {named}{more}; see whether they are spelt as Braze spells"]


def _deleted_before(report: ReportJson, flags: Mapping[str, Any]) -> list[str]:
    first, known = report["coverage"]["first_hour"], report["deletions_known_since"]
    if flags.get("suppress") is not None or first is None or first >= (known or DELETIONS_SINCE):
        return []
    told = f"has deletions on request only from {known} on" if known is not None else "has no deletions on request"
    return [
        f"the export {told}, and begins at {first}: the events of people whom Braze deleted earlier are in events/ "
        "like any others; name these people with --suppress, so that they are not sent"
    ]
