"""What leaves, for the report: who asked to be deleted, and whether the run could know of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transforms.currents import catalog

DELETIONS_SINCE = "2026-07-01T00:00Z"
"""Release 10 of Currents, the first with rows of deletions on request."""


def deletions_known_since(coverage: Mapping[str, Any]) -> str | None:
    """The first hour with a file of ``users.UserDeleteRequest``; None where there is none."""
    of_type = (coverage.get("by_type") or {}).get(catalog.USER_DELETE_REQUEST) or {}
    found: str | None = of_type.get("first_hour")
    return found


def warnings(report: Mapping[str, Any], flags: Mapping[str, Any]) -> list[str]:
    """What somebody should look at: one sentence, where people may have been deleted before the export could say so."""
    coverage = report.get("coverage") or {}
    first, known = coverage.get("first_hour"), report.get("deletions_known_since")
    if flags.get("suppress") is not None or first is None or first >= (known or DELETIONS_SINCE):
        return []
    told = f"has deletions on request only from {known} on" if known is not None else "has no deletions on request"
    return [
        f"the export {told}, and begins at {first}: the events of people whom Braze deleted earlier are in events/ "
        "like any others; name these people with --suppress, so that they are not sent"
    ]
