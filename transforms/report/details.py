"""The sections of the report below the fold: what was left out, what was changed, how the run went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from transforms.report import charts, file_gaps, not_read
from transforms.report.markup import (
    Html,
    block,
    code,
    count,
    duration,
    escaped,
    figures,
    folded,
    note,
    nothing,
    number,
    own_words,
    ranked,
    section,
    size,
    table,
)
from transforms.vocabulary.changes import LIMITS
from transforms.vocabulary.rows import REJECTS, WITHHELD


def left_out(report: Mapping[str, Any]) -> Html:
    """Returns rejects, withheld rows and damage, with examples."""
    halves = []
    if report.get("rejects") is not None:
        rows = [[code(reason), own_words(REJECTS[reason].meaning), n] for reason, n in ranked(report["rejects"])]
        halves.append(block("Rejects", table("Rejects by reason", ["Reason", "Meaning", "#Rows"], rows)))
    if report.get("withheld") is not None:
        rows = [[code(reason), own_words(WITHHELD[reason].meaning), n] for reason, n in ranked(report["withheld"])]
        shown = table("Withheld rows by reason", ["Reason", "Meaning", "#Rows"], rows)
        by_type = report.get("withheld_by_type") or {}
        kinds = [
            [code(kind), code(reason), n] for kind, reasons in by_type.items() for reason, n in ranked(reasons or {})
        ]
        heads = ["Event type", "Reason", "#Rows"]
        more = folded("By event type", table("Withheld rows by type", heads, kinds) if kinds else "")
        halves.append(block("Withheld", shown + more))
    parts = [f'<div class="pair">{"".join(halves)}</div>'] if halves else []
    if report.get("reject_examples"):
        heads = ["Reason", "Detail", "Event type", "Id", "File", "#Row"]
        rows = [
            [
                *(code(e.get("reason")), e.get("detail"), code(e.get("event_type")), code(e.get("id"))),
                *(code(e.get("file")), e.get("row")),
            ]
            for e in report["reject_examples"]
        ]
        parts.append(block("Rejects: examples", table("Examples of rejects", heads, rows)))
    if report.get("damaged") is not None:
        parts.append(block("Damaged files", _damage(report["damaged"])))
    if report.get("listing"):
        parts.append(block("Files that were not read", not_read.shown(report["listing"])))
    if report.get("coverage"):
        parts.append(block("Hours covered", file_gaps.shown(report["coverage"])))
    return section("left-out", "What was left out", "".join(parts))


def _damage(damaged: Mapping[str, Any]) -> str:
    if not any(count(damaged.get(name)) for name in ("files", "blocks", "rows_lost")):
        return nothing("None: every file could be read to its end.")
    tiles = [
        ("Files", number(damaged.get("files")), "with damage"),
        ("Blocks", number(damaged.get("blocks")), "not readable; the others were kept"),
        ("Rows lost", number(damaged.get("rows_lost")), "as far as block headers tell"),
    ]
    rows = [
        [
            *(code(e.get("file")), "whole file" if e.get("block") is None else f"block {number(e['block'])}"),
            *(code(e.get("reason")), e.get("detail"), e.get("rows_lost")),
        ]
        for e in damaged.get("examples") or []
    ]
    shown = table("Damaged files", ["File", "Where", "Reason", "Detail", "#Rows lost"], rows) if rows else ""
    return figures(tiles) + (f'<div class="block">{shown}</div>' if shown else "")


def changes(report: Mapping[str, Any]) -> Html:
    """Returns what Mixpanel's limits changed, and the types and columns that the catalogue lacks."""
    parts = []
    limits = report.get("limits")
    if limits is not None:
        rows = []
        for name, counts in limits.items():
            limit = LIMITS[name]
            kind = Html(f'{limit.label}<span class="meaning">{own_words(limit.meaning)}</span>')
            for path, amount in sorted(_leaves(counts, ()), key=_by_amount, reverse=True):
                where = [code(path[0]) if path else "–", code(" · ".join(path[1:])) if len(path) > 1 else "–"]
                rows.append([kind, *where, amount])
        told = nothing("None: everything fitted as it was.")
        shown = table("Changes by limit", ["Limit", "Event", "Property", "#Events"], rows) if rows else told
        parts.append(block("Mixpanel's limits", shown))
    halves = []
    if report.get("unknown_types") is not None:
        rows = [
            [code(kind), (of or {}).get("sent_as"), (of or {}).get("rows")]
            for kind, of in report["unknown_types"].items()
        ]
        told = note("Newer than the catalogue; sent under a name made from the type.")
        shown = table("Unknown event types", ["Type", "Sent as", "#Rows"], rows)
        halves.append(block("Unknown event types", told + shown))
    if report.get("unknown_columns") is not None:
        of_types = report["unknown_columns"].items()
        rows = [[code(kind), code(column), n] for kind, columns in of_types for column, n in ranked(columns or {})]
        shown = table("Unknown columns", ["Type", "Column", "#Rows"], rows)
        halves.append(block("Unknown columns", note("Newer than the catalogue; sent under their own names.") + shown))
    if halves:
        parts.append(Html(f'<div class="pair">{"".join(halves)}</div>'))
    if report.get("type_conflicts") is not None:
        parts.append(block("Files of two event types", _conflicts(report["type_conflicts"])))
    return section("changes", "What was changed or is new", "".join(parts))


def _conflicts(conflicts: Mapping[str, Any]) -> str:
    if not count(conflicts.get("files")):
        return nothing("None: paths and schemas agree.")
    names = ("file", "path_type", "schema_type", "taken_as")
    rows = [[code(example.get(name)) for name in names] for example in conflicts.get("examples") or []]
    told = note(f"{number(conflicts['files'])} files whose path and schema name different event types.")
    return told + table("Files of two event types", ["File", "By the path", "By the schema", "Read as"], rows)


def _leaves(counts: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(counts, Mapping):
        for name, inner in counts.items():
            yield from _leaves(inner, (*path, str(name)))
    elif count(counts):
        yield path, count(counts)


def _by_amount(leaf: tuple[tuple[str, ...], int]) -> int:
    return leaf[1]


def run(report: Mapping[str, Any]) -> Html:
    """Returns time, memory, files written, flags and versions."""
    parts = []
    timing = report.get("timing")
    if timing:
        parts.append(block("Time", _timing(timing)))
    if report.get("outputs") is not None:
        rows = [
            [code(output.get("path")), output.get("rows"), Html(size(output.get("bytes")))]
            for output in report["outputs"]
        ]
        parts.append(block("Files written", table("Files written", ["File", "#Rows", "#Size"], rows)))
    for key, title in (("flags", "Flags"), ("versions", "Versions")):
        if report.get(key) is not None:
            parts.append(block(title, _pairs(report[key])))
    return section("run", "The run", f'<div class="pair">{"".join(parts)}</div>' if parts else "")


def _timing(timing: Mapping[str, Any]) -> str:
    seconds = timing.get("seconds") or {}
    rows = [
        (str(stage), [("plain", "ms", max(round(1000 * float(taken)), 0))], duration(taken))
        for stage, taken in seconds.items()
        if isinstance(taken, (int, float))
    ]
    facts: dict[str, object] = {}
    if timing.get("peak_memory_bytes") is not None:
        facts["Peak memory, all processes"] = size(timing["peak_memory_bytes"])
    if timing.get("largest_shuffle_element_bytes") is not None:
        facts["Largest element in a shuffle"] = size(timing["largest_shuffle_element_bytes"])
    return (charts.bars("stages", "Seconds a stage", rows) if rows else "") + (_pairs(facts) if facts else "")


def _pairs(entries: Mapping[str, object]) -> str:
    if not entries:
        return nothing()
    items = "".join(f"<dt>{escaped(name)}</dt><dd>{code(_value(value))}</dd>" for name, value in entries.items())
    return f'<dl class="pairs">{items}</dl>'


def _value(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "–"
    return "–" if value is None or value == "" else str(value)
