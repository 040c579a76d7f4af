"""The hours that an export covers, and its gaps, in words: for the warnings."""

from __future__ import annotations

from transforms.currents.coverage import HoursCovered

GAPS_NAMED = 3
"""In a warning; the report's section has more."""

_ALL = "all types together"


def warnings(coverage: HoursCovered) -> list[str]:
    """What somebody should look at: one sentence, where there is a gap."""
    found = coverage["gaps_found"]
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
