"""The part of a delivery's page that tells of deletions."""

from __future__ import annotations

from typing import Any

from transforms.report.markup import Html
from transforms.report.templates import filled

_LONGEST_WORDS = 2_000
_NEXT = {
    "asked": "Mixpanel has accepted all of it, and may take 30 days; --deletion_status asks for the progress.",
    "partial": "Read Mixpanel's message; the same command asks again for what is left.",
    "stopped": "Fix what the message says and give the same command again: it resumes where this one stopped.",
    "interrupted": "Give the same command again: it resumes where this one stopped.",
    "nothing": "No person of this run is deleted whole.",
}


def deletions(told: dict[str, Any] | None) -> Html:
    """Tiles and the tasks with their states; blank where no deletion was asked for."""
    return filled(
        "deletions.html.j2", "transforms.delivery", deletions=told, next_steps=_NEXT, longest_words=_LONGEST_WORDS
    )
