"""The hours that an export covers, and its gaps, in words: for the warnings and the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transforms.report.markup import Html, code, count, escaped, folded, note, nothing, number, table

GAPS_NAMED = 3
"""In a warning; the report's section has more."""

_ALL = "all types together"


def warnings(coverage: Mapping[str, Any]) -> list[str]:
    """What somebody should look at: one sentence, where there is a gap."""
    found = count(coverage.get("gaps_found"))
    if not found:
        return []
    named = [
        f"{gap['event_type'] or _ALL}, {gap['from']} to {gap['until']} ({gap['hours']:,} hours)"
        for gap in coverage["gaps"][:GAPS_NAMED]
    ]
    more = found - len(named)
    return [
        f"{found:,} gap{'' if found == 1 else 's'} without files, unlikely at the usual pace of this export: "
        f"{'; '.join(named)}{f'; and {more:,} more' if more else ''}: Braze does not replay what an export missed, so "
        "check whether Currents was stopped then, or files were removed"
    ]


def shown(coverage: Mapping[str, Any]) -> str:
    """First and last hour, the gaps, and the hours of each type."""
    without = count(coverage.get("files_without_hour"))
    undated = f" {number(without)} files have no date in their path." if without else ""
    if coverage.get("first_hour") is None:
        return nothing(f"No file tells its hour.{undated}")
    told = f"Files from {escaped(coverage['first_hour'])} to the end of the hour {escaped(coverage['last_hour'])}."
    rows = [
        [
            Html(_ALL) if gap.get("event_type") is None else code(gap["event_type"]),
            *(escaped(gap.get("from")), escaped(gap.get("until")), gap.get("hours")),
        ]
        for gap in coverage.get("gaps") or []
    ]
    heads = ["Event type", "From", "Until", "#Hours"]
    gaps = table("Gaps without files", heads, rows) if rows else nothing("No gap that the usual pace makes unlikely.")
    kinds = [
        [code(kind), escaped(of.get("first_hour")), escaped(of.get("last_hour")), of.get("hours_with_files")]
        for kind, of in (coverage.get("by_type") or {}).items()
    ]
    heads = ["Event type", "First hour", "Last hour", "#Hours with files"]
    by_type = folded(f"By event type ({len(kinds):,})", table("Hours by event type", heads, kinds)) if kinds else ""
    return note(Html(told + undated)) + gaps + by_type
