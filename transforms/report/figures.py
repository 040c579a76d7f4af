"""The run's last act: hold the figures against each other, make the reports, publish."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import orjson

from transforms.currents import catalog
from transforms.currents.coverage import Coverage, HoursCovered
from transforms.currents.left_out import LeftOut, Listing
from transforms.errors import AccountingError
from transforms.messages.elements import process_key
from transforms.output.publication import Written, finish
from transforms.report import file_gaps, not_read, what_it_costs, what_leaves
from transforms.report.identity_warnings import counted, identity_warnings
from transforms.report.page import render
from transforms.report.policies import in_order, policy_warnings
from transforms.report.report_json import Gain, PersonCounts, ReportJson
from transforms.settings import Plan, Settings
from transforms.telemetry.tally import EXAMPLES, Tally, check_rejects, check_sum, in_turn
from transforms.vocabulary.outputs import OUTPUT_FILES, OutputFiles
from transforms.vocabulary.rows import OUTCOMES


def _nothing_left_out() -> Listing:
    return LeftOut().figures(None)


def _no_hours() -> HoursCovered:
    return Coverage().figures()


@dataclasses.dataclass(frozen=True)
class RunContext:
    """What the publishing step must know of the run; plain values, no secret among them."""

    output: str
    digest: str
    settings: Settings
    plan: Plan
    command: str
    flags: dict[str, Any]
    versions: dict[str, str]
    started: float
    launcher_process: int  # 0 where it is on another machine than the workers
    listing: Listing = dataclasses.field(default_factory=_nothing_left_out)
    coverage: HoursCovered = dataclasses.field(default_factory=_no_hours)


def publish_run(context: RunContext, files: Sequence[Written], total: Tally) -> bytes:
    """Check, report, publish; returns the report's JSON.

    Raises:
        AccountingError: figures that must agree do not.
        TooManyRejects: more rows are unfit than allowed.
    """
    check_conservation(context, files, total)
    report = build_report(context, files, total)
    check_rejects(total, context.settings.max_reject_share)
    body = orjson.dumps(report, option=orjson.OPT_INDENT_2)
    page = render(report).encode("utf-8", "replace")
    finish(context.output, context.digest, files, {"report.json": body, "report.html": page})
    return body


def check_conservation(context: RunContext, files: Sequence[Written], total: Tally) -> None:
    """Nothing was lost or doubled between the steps: units, files, rows, lines, all as often as they must be.

    Raises:
        AccountingError: something was.
    """
    rows = _summed(total)
    check_sum(rows)
    for kind, outcomes in total["rows_by_type"].items():
        check_sum(outcomes, kind)
    summed = {**total, "rows": rows}
    pairs = {
        "units read for ids": (_at(total, "narrow", "units"), context.plan.units),
        "units written": (_at(total, "units"), context.plan.units),
        "files read": (_at(total, "files", "read"), context.plan.files),
        **{
            kind.label: (
                _written(kind, files),
                sum(_at(summed, *figure.split(".")) for figure in kind.counted),
            )
            for kind in OUTPUT_FILES
        },
        "whether there are identity files": (_at(total, "identity_files") > 0, True),
        "files of different names": (len({f.path for f in files}), len(files)),
        "rows withheld, by reason": (sum(total["withheld"].values()), rows["withheld"]),
        "rows rejected, by reason": (sum(total["rejects"].values()), rows["rejects"]),
    }
    sent, received = total["sent"], total["received"]
    for kind in _COUNTED_BOTH_WAYS:
        pairs[f"elements received of {kind}"] = tuple(way.get(kind, {}).get("elements", 0) for way in (received, sent))
    for what, (found, expected) in pairs.items():
        if found != expected:
            raise AccountingError(f"{what}: [{found}], and there must be [{expected}]; run again, or on another runner")
    first, second = _at(total, "narrow", "rows"), _at(total, "wide", "rows")
    if second > first:
        raise AccountingError(f"pass 2 read {second} rows, pass 1 only {first}: the input changed; run again")


FILES_NAMED = 3
"""In a warning; the report's section has more."""

# Elements of other kinds are counted where they arrive: a unit checks that all of its answers are there.
_COUNTED_BOTH_WAYS = ("links", "profile attributes", "persons by month")


def _written(kind: OutputFiles, files: Sequence[Written]) -> int:
    """The lines, or files, of a kind."""
    found = [file for file in files if file.path.startswith(f"{kind.folder}/")]
    return len(found) if kind.counts == "files" else sum(file.rows or 0 for file in found)


def _at(total: Tally, *keys: str) -> int:
    """A figure that every whole run has; 0 where it is missing."""
    found: Any = total
    for key in keys:
        found = found.get(key, {})
    return found or 0


def build_report(context: RunContext, files: Sequence[Written], total: Tally) -> ReportJson:
    """``report.json``: see docs for every key."""
    by_type = {kind: _outcomes(rows) for kind, rows in sorted(total["rows_by_type"].items())}
    rows = _summed(total)
    wall = time.time() - context.started
    identity: Any = dict(total["identity"])  # becomes an ``Identity``
    made_known = identity.pop("made_known")
    identity["profiles_known_through"] = {via: n for via, n in made_known.items() if via != "none"}
    identity["anonymous_profiles"] = made_known["none"]
    identity["device_links"] = policy = context.settings.device_links
    stay = context.settings.device_stay
    identity["device_stay"] = None if policy != "next" else "any" if stay is None else stay
    identity["device_policies"] = in_order(identity["device_policies"])
    identity["id_merge"] = context.settings.id_merge
    identity["crowd_ids"] = context.settings.crowd_ids
    identity["external_ids_left_out"] = {
        reason: _sorted(rows) for reason, rows in sorted(total["external_ids_left_out"].items())
    }
    damaged, persons = total["damaged"], total["persons"]
    report: ReportJson = {
        "status": "published",
        "title": f"Braze Currents to Mixpanel: {context.output.rstrip('/').rpartition('/')[2]}",
        "command": context.command,
        "versions": context.versions,
        "flags": context.flags,
        "now": context.settings.now,
        "rows": rows,
        "rows_by_type": by_type,
        "withheld": _sorted(total["withheld"]),
        "withheld_by_type": dict(sorted(total["withheld_by_type"].items())),
        "rejects": _sorted(total["rejects"]),
        "reject_examples": in_turn(total["reject_examples"]),
        "damaged": {
            "files": damaged["files"],
            "blocks": damaged["blocks"],
            "whole_files": damaged["whole_files"],
            "rows_lost": damaged["rows_lost"],
            "examples": in_turn(damaged["examples"]),
        },
        "files": total["files"],
        "listing": context.listing,
        "coverage": context.coverage,
        "cost": what_it_costs.figures(total["cost"], by_type),
        "what_leaves": what_leaves.figures(total["leaves"], context.flags),
        "deletions_known_since": what_leaves.deletions_known_since(context.coverage),
        "units": context.plan.units,
        "type_conflicts": total["type_conflicts"],
        "unknown_types": {
            kind: {"sent_as": catalog.readable_name(kind), "rows": found["rows"]}
            for kind, found in sorted(total["unknown_types"].items())
        },
        "unknown_columns": dict(sorted(total["unknown_columns"].items())),
        "limits": total["limits"],
        "identity": identity,
        "persons": {
            "by_month": {month: _person_counts(found) for month, found in sorted(persons["by_month"].items())},
            "by_type": {kind: _person_counts(found) for kind, found in sorted(persons["by_type"].items())},
        },
        "events_by_day": dict(sorted(total["events_by_day"].items())),
        "gain": _gain(total, made_known),
        "timing": {
            "seconds": {stage: round(seconds, 3) for stage, seconds in total["seconds"].items()},
            "wall_seconds": round(wall, 3),
            "rows_per_second": round(rows["read"] / wall) if wall > 0 else 0,
            "peak_memory_bytes": _peak_memory(context, total),
            "largest_shuffle_element_bytes": total["max_element_bytes"],
            # Where a step has no figures of its own to send, what it sent is counted where it arrived.
            "shuffled": dict(sorted({**total["received"], **total["sent"]}.items())),
        },
        "outputs": [
            {"path": f.path, "rows": f.rows, "bytes": f.bytes} for f in sorted(files, key=lambda file: file.path)
        ],
        "warnings": [],
    }
    report["warnings"] = warnings(report, context.flags)
    return report


def warnings(report: ReportJson, flags: dict[str, Any]) -> list[str]:
    """What somebody should look at, a sentence each."""
    found = []
    damaged = report["damaged"]
    if damaged["files"]:
        found.append(
            f"{counted(damaged['files'], 'damaged file')}: {counted(damaged['rows_lost'], 'row')} known to be lost; "
            "everything else in them was kept; rejects/ says what is wrong with each file and how to fix it"
        )
    found += not_read.warnings(report["listing"])
    found += file_gaps.warnings(report["coverage"])
    found += what_leaves.warnings(report, flags)
    if flags.get("since") is not None or flags.get("until") is not None:
        found.append(
            "who is who was decided on the hours between --since and --until only, and on files without date=: a "
            "device with one user in these hours may have others at other times; give the whole history before the "
            "final import"
        )
    conflicts = report["type_conflicts"]
    if conflicts["files"]:
        named = [
            f"{example['file']} (path {example['path_type']}, schema {example['schema_type']}, "
            f"read as {example['taken_as']})"
            for example in conflicts["examples"][:FILES_NAMED]
        ]
        more = conflicts["files"] - len(named)
        found.append(
            f"{counted(conflicts['files'], 'file')} whose path and schema name different event types: "
            f"{', '.join(named)}{f' and {more:,} more' if more else ''}"
        )
    if report["unknown_types"]:
        types = counted(len(report["unknown_types"]), "event type")
        what = (
            "withheld by --unknown_fields"
            if flags.get("unknown_fields") == "withhold"
            else "sent with all their fields"
        )
        found.append(f"{types} newer than this program's catalogue, {what}: see «Unknown event types» in the report")
    beside = _sent_beside_native(report["rows_by_type"])
    if flags.get("native_since") is not None and beside:
        shown = ", ".join(beside[:EXAMPLES]) + (", …" if len(beside) > EXAMPLES else "")
        found.append(
            f"{counted(len(beside), 'event type')} sent beside the native connector, since Braze does not document "
            f"that the connector sends them: {shown}; if it does, they arrive twice unless --exclude_events leaves "
            "them out"
        )
    found += _types_left_out(report["limits"]) + identity_warnings(report["identity"], flags)
    return [*found, *policy_warnings(report["identity"])]


def _types_left_out(limits: dict[str, Any]) -> list[str]:
    """A warning of columns that cannot be made the catalogue's."""
    by_type: dict[str, dict[str, int]] = limits.get("types_left_out", {})
    if not by_type:
        return []
    columns = sorted(f"{name} of {event_type}" for event_type, names in by_type.items() for name in names)
    more = len(columns) - FILES_NAMED
    return [
        f"{counted(sum(sum(names.values()) for names in by_type.values()), 'value')} left out, since the type of "
        f"their column cannot be converted to Braze's: {', '.join(columns[:FILES_NAMED])}"
        f"{f' and {more:,} more' if more > 0 else ''}; export such columns with Braze's types"
    ]


def _sent_beside_native(rows_by_type: dict[str, dict[str, int]]) -> list[str]:
    """Types with events that Braze may have begun to send by its connector; those that it has removed do not count."""
    known = catalog.event_types()
    return sorted(
        kind
        for kind, rows in rows_by_type.items()
        if rows["events"] and (kind not in known or not (known[kind].native or known[kind].removed))
    )


def _gain(total: Tally, made_known: dict[str, int]) -> Gain:
    gain: Any = dict(total["gain"])  # becomes a ``Gain``
    days = sorted((int(day), count) for day, count in gain.pop("days_earlier").items())
    half = sum(count for _, count in days) / 2
    gain["median_days_earlier"] = 0.0
    for day, count in days:
        half -= count
        if half <= 0:
            gain["median_days_earlier"] = float(day)
            break
    gain["profiles_made_known"] = made_known["profile"] + made_known["device"]
    whole: Gain = gain
    return whole


def _peak_memory(context: RunContext, total: Tally) -> int:
    """Bytes, summed over the processes that worked, the launcher included where it runs on this machine."""
    peaks = dict(total["memory"])
    launcher = process_key(context.launcher_process)
    if context.launcher_process and launcher not in peaks:
        try:
            with open(f"/proc/{context.launcher_process}/status", encoding="ascii") as status:
                peaks[launcher] = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
        except (OSError, StopIteration):
            pass
    return sum(peaks.values())


def _summed(total: Tally) -> dict[str, int]:
    types = total["rows_by_type"].values()
    return {outcome: sum(rows[outcome] for rows in types) for outcome in OUTCOMES.codes}


def _outcomes(rows: dict[str, int]) -> dict[str, int]:
    return {outcome: rows[outcome] for outcome in OUTCOMES.codes}


def _person_counts(found: dict[str, int]) -> PersonCounts:
    # Where there are more types than are kept by name, events may be of one whose persons are among the others.
    return {
        "known": found.get("known", 0),
        "anonymous": found.get("anonymous", 0),
        "events_known": found.get("events_known", 0),
        "events_anonymous": found.get("events_anonymous", 0),
    }


def _sorted(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
