"""The run's figures: nested counts that every step adds to and that sum to the same whatever the order.

A tally is a plain dict of JSON values: integers add up, dicts merge by key, lists of examples keep the first few in
the order of their JSON text. So a report is made from the data, on every runner, and never from a runner's metrics.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import orjson

from transforms.errors import AccountingError, TooManyRejects

Tally = dict[str, Any]

EXAMPLES = 20
SHOWN = 500
"""Characters of a value that an example or a figure's name shows."""

# Below these, names come from the data, and one that begins as a maximum's does is a count all the same.
_NAMED_BY_DATA = frozenset({"limits", "unknown_columns", "external_ids_left_out", "leaves", "cost"})
_NAMES_KEPT = 100
_TYPES_KEPT = 1_000
_OTHERS = "(others)"
_TALLY_BYTES = 4_000_000


def merge(into: Tally, other: Tally, *, maxima: bool = True) -> Tally:
    """Add one tally to another, in place; returns the first. Without ``maxima`` all numbers are counts.

    >>> merge({"rows": {"a": 1}}, {"rows": {"a": 2, "b": 1}})
    {'rows': {'a': 3, 'b': 1}}
    """
    for key, value in other.items():
        mine = into.get(key)
        if isinstance(value, dict):
            into[key] = merge({} if mine is None else mine, value, maxima=maxima and key not in _NAMED_BY_DATA)
        elif mine is None:
            into[key] = _first(value)
        elif isinstance(value, list):
            into[key] = _first([*mine, *value])
        elif maxima and key.startswith("max_"):
            into[key] = max(mine, value)
        else:
            into[key] = mine + value
    return into


def _first(value: Any) -> Any:
    return sorted(value, key=orjson.dumps)[:EXAMPLES] if isinstance(value, list) else value


def no_figures() -> Tally:
    """What a run has counted before it has read anything; of these figures, a step sends those that it has."""
    return {
        "rows_by_type": {}, "withheld": {}, "withheld_by_type": {}, "rejects": {}, "reject_examples": {},
        "damaged": {"files": 0, "blocks": 0, "whole_files": 0, "rows_lost": 0, "bytes_unread": 0, "lines": 0,
                    "reasons": {}, "examples": {}},
        "type_conflicts": {"files": 0, "examples": []}, "unknown_types": {}, "unknown_columns": {}, "limits": {},
        "external_ids_left_out": {}, "profile_lines": 0, "events_by_day": {},
        "persons": {"by_month": {}, "by_type": {}},
        "gain": {"native_rows": 0, "anonymous_rows": 0, "rows_joined_to_known": 0, "known_rows_of_other_types": 0,
                 "persons_with_earlier_history": 0, "persons_native_never_sends": 0, "days_earlier": {}},
        "cost": {}, "leaves": {}, "seconds": {}, "memory": {}, "sent": {}, "received": {}, "max_element_bytes": 0,
    }  # fmt: skip


def shown(value: Any) -> Any:
    """A value as an example shows it: long texts by their beginning.

    >>> shown("x" * 501) == "x" * 500 + "…", shown("x" * 500) == "x" * 500, shown(None)
    (True, True, None)
    """
    return f"{value[:SHOWN]}…" if isinstance(value, str) and len(value) > SHOWN else value


def in_turn(by_reason: dict[str, list[Any]]) -> list[Any]:
    """At most ``EXAMPLES`` examples of all reasons together, each reason's first before any reason's second.

    >>> in_turn({"a": [1, 2], "b": [3]})
    [1, 3, 2]
    """
    rounds = itertools.zip_longest(*(by_reason[reason] for reason in sorted(by_reason)))
    return [example for found in rounds for example in found if example is not None][:EXAMPLES]


def merged(tallies: Iterable[Tally]) -> Tally:
    """The sum of tallies."""
    total: Tally = {}
    for tally in tallies:
        merge(total, tally)
    return total


def pack(tally: Tally) -> bytes:
    """A tally as bytes, the same for equal tallies."""
    return orjson.dumps(tally, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)


def check_sum(rows: dict[str, int], what: str = "the run") -> None:
    """Hold ``read`` against the sum of its outcomes.

    Raises:
        AccountingError: they differ.
    """
    parts = {outcome: count for outcome, count in rows.items() if outcome != "read"}
    if rows.get("read", 0) != sum(parts.values()):
        raise AccountingError(f"{what} read {rows.get('read', 0)} rows and accounts for {sum(parts.values())}: {parts}")


def check_rejects(total: Tally, limit: float) -> None:
    """Refuse a run of which too large a share is rejected or lost, from 1,000 rows or 20 files on, or all of it.

    The rows of a file that cannot be opened at all are estimated from its bytes. A run that has nothing to publish is
    refused whatever its size; files without rows by their own counts are not a loss.

    Raises:
        TooManyRejects: with the most frequent reasons and an example each.
    """
    read = sum(rows["read"] for rows in total["rows_by_type"].values()) if total.get("rows_by_type") else 0
    rejects: dict[str, int] = total.get("rejects", {})
    damaged = total.get("damaged", {})
    files = total["files"]["read"]
    lost = damaged.get("rows_lost", 0)
    readable = total["files"]["bytes"] - damaged.get("bytes_unread", 0)
    if read and readable > 0:
        lost += round(damaged.get("bytes_unread", 0) * read / readable)
    unread_share = damaged.get("whole_files", 0) / max(files, 1) if not read else 0.0
    unfit = sum(rejects.values()) + lost
    share = max(unfit / max(read + lost, 1), unread_share)
    is_loss = bool(unfit or damaged.get("whole_files") or damaged.get("bytes_unread"))
    is_all = limit < 1 and unfit == read + lost and is_loss
    if not is_all and (share <= limit or (read + lost < 1_000 and files < 20)):
        return
    reasons = sorted(merged([damaged.get("reasons", {}), rejects]).items(), key=_most_frequent)[:10]
    examples = {**damaged.get("examples", {}), **total.get("reject_examples", {})}
    lines = [f"  {reason}: {count:,}, e.g. {_example(examples[reason][0])}" for reason, count in reasons]
    if is_all:
        what = (
            f"all {read:,} rows that could be read are rejected" if read else f"no row of {_files(files)} could be read"
        )
        raise TooManyRejects(
            f"{what}: check --input, repair the export, or leave files out with --skip (--max_reject_share 1 publishes "
            "even that):\n" + "\n".join(lines)
        )
    what = f"{share:.2%} of {read + lost:,} rows" if read else f"{share:.2%} of {files:,} files"
    raise TooManyRejects(
        f"{what} are rejected or lost, more than --max_reject_share {limit:g} allows; "
        "repair the export, leave files out with --skip, or raise the limit:\n" + "\n".join(lines)
    )


def _files(number: int) -> str:
    return f"{number:,} file{'' if number == 1 else 's'}"


def _most_frequent(counted: tuple[str, int]) -> tuple[int, str]:
    return -counted[1], counted[0]


def _example(example: dict[str, Any]) -> str:
    places = (f" {name} {example[name]}" for name in ("block", "row") if example.get(name) is not None)
    return f"{example['file']}{''.join(places)}: {example['detail']}"


def pack_bounded(tally: Tally) -> bytes:
    """A tally as bytes, with no more names from the data than an element holds; the tally is bounded in place."""
    names, types = _NAMES_KEPT, _TYPES_KEPT
    packed = pack(bound(tally, names, types))
    while len(packed) > _TALLY_BYTES and types > 1:
        names, types = max(1, names // 2), max(1, types // 2)
        packed = pack(bound(tally, names, types))
    return packed


def bound(total: Tally, names: int = _NAMES_KEPT, types: int = _TYPES_KEPT) -> Tally:
    """Keep small, in place, what is counted by names that come from the data, of which there may be millions.

    The most frequent stay; the others are summed under "(others)".
    """
    for kind, events in total.get("limits", {}).items():
        for event, keys in events.items():
            events[event] = _most(keys, names)
        total["limits"][kind] = _most_by(events, names, named=True)
    for reason, ids in total.get("external_ids_left_out", {}).items():
        total["external_ids_left_out"][reason] = _most(ids, names)
    columns: dict[str, Tally] = total.get("unknown_columns", {})
    for event_type, counts in columns.items():
        columns[event_type] = _most(counts, names)
    if columns:
        total["unknown_columns"] = _most_by(columns, names, named=True)
    leaves: Tally = total.get("leaves", {})
    for done in ("sent", "drop", "hash"):
        for of_type in leaves.get(done, {}).values():
            for column, found in of_type.items():
                of_type[column] = _most(found, types)
    for kind, found in leaves.get("looks", {}).items():
        leaves["looks"][kind] = _most(found, types)
    for of_types in total.get("cost", {}).get("events", {}).values():
        for event_type, by_name in of_types.items():
            of_types[event_type] = _most_by(by_name, types, named=False)
    persons: Tally = total.get("persons", {})
    for holder, key in (
        (total, "rows_by_type"), (total, "withheld_by_type"), (total, "unknown_types"), (persons, "by_type"),
    ):  # fmt: skip
        if key in holder:
            holder[key] = _most_by(holder[key], types, named=False)
    return total


def _most_by(by_name: dict[str, dict[str, int]], most: int, *, named: bool) -> dict[str, dict[str, int]]:
    """``_most`` of names with counts of their own, which are summed under their own names or, ``named``, all in one."""
    if len(by_name) <= most:
        return by_name
    kept = _most({name: sum(counts.values()) for name, counts in by_name.items()}, most)
    small = {name: counts for name, counts in by_name.items() if name in kept and name != _OTHERS}
    rest = [counts for name, counts in by_name.items() if name not in small]
    others = {_OTHERS: sum(sum(counts.values()) for counts in rest)} if named else merged(rest)
    return {**small, _OTHERS: others}


def _most(counts: dict[str, int], most: int) -> dict[str, int]:
    if len(counts) <= most:
        return counts
    others = counts.get(_OTHERS, 0)
    ordered = sorted((item for item in counts.items() if item[0] != _OTHERS), key=lambda item: (-item[1], item[0]))
    return {**dict(ordered[: most - 1]), _OTHERS: others + sum(count for _, count in ordered[most - 1 :])}
