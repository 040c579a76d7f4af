"""The ten lines at the end of a run, and what ``--json`` says of it."""

from __future__ import annotations

from typing import Any

from transforms.report import not_read
from transforms.stores.store import join
from transforms.vocabulary.rows import OUTCOMES

_NOT_EVENTS = {
    "repeats": "{} repeats (Braze delivered the row twice)",
    "rejects": "{} rejects (rejects/ has the reasons)",
    "identity_only": "{} say only which profiles Braze merged",
    "not_exported": "{} of types that are not sent by default (--event_types)",
    "profile_updates": "{} attribute updates (gathered in profiles/)",
    "deletions": "{} deletion requests (in deletions/)",
    "withheld": "{} withheld by flags or their defaults (the report says which)",
}
"""Every outcome of a row except ``events``, for a number."""

_JOINED = {
    "own": "by their own external id",
    "profile": "since Braze merged them with one that does",
    "device": "through a device",
}
"""The ways of a Braze profile to a known user, behind a number."""


def lines(report: dict[str, Any], output: str) -> list[str]:
    """What was read and what was not, what became of it, who was recognised, what to look at, where the report is."""
    rows, identity, gain = report["rows"], report["identity"], report["gain"]
    through = identity["profiles_known_through"]
    joined = sum(through.get(name, 0) for name in _JOINED)
    others = [_NOT_EVENTS[name].format(_n(count)) for name, count in rows.items() if name in _NOT_EVENTS and count]
    timing, files = report["timing"], report["files"]["read"]
    found = [
        f"read       {_n(rows['read'])} rows in {_n(files)} file{'' if files == 1 else 's'}, "
        f"{_n(timing['rows_per_second'])} rows/s; memory at its peak: {timing['peak_memory_bytes'] / 1e9:.1f} GB",
        f"events     {_n(rows['events'])} events are ready for Mixpanel in events/; nothing has been sent yet",
        f"others     {_n(sum(rows[name] for name in _NOT_EVENTS))} rows are not events: {', '.join(others) or 'none'}",
        f"persons    {_n(identity['known_users'])} known users (external ids) and "
        f"{_n(identity['profiles'])} Braze profiles. {_n(joined)} of the profiles belong to a known user: "
        f"{', '.join(f'{_n(through.get(name, 0))} {words}' for name, words in _JOINED.items())}. "
        f"{_n(identity['anonymous_profiles'])} remain anonymous",
        f"gained     {_n(gain['anonymous_rows'])} events that Braze's connector to Mixpanel never sends, since they "
        f"have no usable external id; {_n(gain['rows_joined_to_known'])} of them now belong to a known user",
    ]
    if left := not_read.in_short(report["listing"]):
        found.append(f"not read   {left}")
    score = identity.get("score")
    if score:
        found.append(
            f"truth      by --truth, {score['precision']:.2%} of the pairs of profiles that were joined are one person "
            f"(precision), {score['recall']:.2%} of the pairs to be joined were found (recall), and "
            f"{score['wrongly_joined_per_million']:.0f} persons in a million were joined with somebody else"
        )
    found += [f"warning    {text}" for text in report["warnings"]]
    found.append(f"report     {join(output, 'report.html')}")
    return found


def counts(report: dict[str, Any] | None) -> dict[str, Any]:
    """What ``--json`` says of what is published: rows by outcome, persons, warnings; of None, that nothing is."""
    persons = ("known_users", "profiles", "anonymous_profiles")
    if not report:
        return {**dict.fromkeys((*OUTCOMES.codes, *persons), 0), "warnings": [], "output": None}
    return {
        **{outcome: report["rows"][outcome] for outcome in OUTCOMES.codes},
        **{name: report["identity"][name] for name in persons},
        "warnings": report["warnings"],
        "output": None,
    }


def _n(number: int) -> str:
    return f"{number:,}"
