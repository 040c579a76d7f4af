"""The part of a delivery's page that tells of deletions."""

from __future__ import annotations

from typing import Any

from transforms.report.markup import Html, block, code, figures, isolated, moment, number, table

_LONGEST = 2_000
_NEXT = {
    "asked": "Mixpanel has accepted all of it, and may take 30 days; --deletion_status asks for the progress.",
    "partial": "Read Mixpanel's message; the same command asks again for what is left.",
    "stopped": "Fix what the message says and give the same command again: it resumes where this one stopped.",
    "interrupted": "Give the same command again: it resumes where this one stopped.",
    "nothing": "No person of this run is deleted whole.",
}


def deletions(told: dict[str, Any] | None) -> str:
    """Tiles and the tasks with their states; empty where no deletion was asked for."""
    if not told:
        return ""
    tiles = [
        ("Persons asked for", number(told["asked"]), f"of {number(told['ids'])} that are deleted whole"),
        ("Left", number(told["not_asked"]), f"{number(told['refused'])} refused"),
        ("For a person to decide", number(told["undecided"]), f"of {number(told['in_run'])} lines of deletions/"),
        ("Ended badly", number(told["ended_badly"]), "tasks that failed, were cancelled or are not found"),
    ]
    tasks = table("Tasks", ["Task", "#Ids", "State", "As of", "Asked for at"], [
        [code(one["task_id"]), one["ids"], one["state"], moment(one["state_at"]), moment(one["asked_at"])]
        for one in told["tasks"]])  # fmt: skip
    lines = [f"<p>{_whole(_NEXT[told['status']])}</p>"]
    if told["message"]:
        lines.insert(0, f'<p class="wrong">{_whole(told["message"])}</p>')
    if told["undecided"]:
        where = code(told["undecided_file"] or "deletions/", _LONGEST)
        lines.append(f"<p>Of some persons a part stays in Braze: decide on each, {where} has them.</p>")
    return figures(tiles) + f'<div class="block">{"".join(lines)}</div>' + block("Tasks", tasks)


def _whole(text: str) -> Html:
    return isolated(text, _LONGEST)
