"""The ten lines at the end of a run, and what ``--json`` says of it."""

from __future__ import annotations

from typing import Any

from transforms.report import not_read
from transforms.stores.store import join
from transforms.vocabulary.rows import OUTCOMES


def lines(report: dict[str, Any], output: str) -> list[str]:
    """What was read and what was not, what became of it, who was recognised, what to look at, where the report is."""
    rows, identity, gain = report["rows"], report["identity"], report["gain"]
    through = identity["profiles_known_through"]
    others = {name: count for name, count in rows.items() if name not in ("read", "events") and count}
    timing, files = report["timing"], report["files"]["read"]
    found = [
        f"read       {_n(rows['read'])} rows in {_n(files)} file{'' if files == 1 else 's'}, "
        f"{_n(timing['rows_per_second'])} rows/s, {timing['peak_memory_bytes'] / 1e9:.1f} GB at the peak",
        f"sent       {_n(rows['events'])} events",
        f"not sent   {', '.join(f'{_n(count)} {name}' for name, count in others.items()) or 'nothing'}",
        f"persons    {_n(identity.get('known_users', 0))} known users, {_n(identity.get('profiles', 0))} profiles: "
        f"{_n(through.get('own', 0))} known by their own id, {_n(through.get('profile', 0))} through profile links, "
        f"{_n(through.get('device', 0))} through devices, {_n(identity['anonymous_profiles'])} anonymous",
        f"gained     {_n(gain['anonymous_rows'])} rows the native connector would have dropped, "
        f"{_n(gain['rows_joined_to_known'])} of them joined to a known user",
    ]
    if left := not_read.in_short(report.get("listing") or {}):
        found.append(f"not read   {left}")
    score = identity.get("score")
    if score:
        found.append(
            f"truth      precision {score['precision']:.4f}, recall {score['recall']:.4f}, "
            f"{score['wrongly_joined_per_million']:.0f} persons in a million wrongly joined"
        )
    found += [f"look at    {text}" for text in report["warnings"]]
    found.append(f"report     {join(output, 'report.html')}")
    return found


def counts(report: dict[str, Any] | None) -> dict[str, Any]:
    """What ``--json`` says of what is published: rows by outcome, persons, warnings; of None, that nothing is."""
    found = report or {}
    identity = found.get("identity") or {}
    return {
        **{outcome: (found.get("rows") or {}).get(outcome, 0) for outcome in OUTCOMES.codes},
        **{name: identity.get(name, 0) for name in ("known_users", "profiles", "anonymous_profiles")},
        "warnings": found.get("warnings", []),
        "output": None,
    }


def _n(number: int) -> str:
    return f"{number:,}"
