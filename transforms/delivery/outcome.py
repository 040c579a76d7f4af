"""What a delivery leaves: ``report.json``, ``report.html`` and the records that are refused as things stand."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import orjson

from transforms.delivery.delivered_run import KINDS, DeliveredRun
from transforms.delivery.ledger import State, refused_now
from transforms.delivery.sender import Figures
from transforms.mixpanel.gzip_lines import GzipLines
from transforms.run.report_markup import code, duration, figures, moment, number, ranked, section, size, table
from transforms.run.report_style import STYLE
from transforms.stores.store import join, store_for

_LINES_A_PART, _BYTES_A_PART = 10_000, 16 << 20
_PART = re.compile(r"refused/part-\d{5}\.ndjson\.gz")
_MOST_MESSAGES, _EXAMPLES = 100, 100
_SHOWN = 300  # bytes of a record on the page


def totals(run: DeliveredRun, state: State) -> dict[str, dict[str, int]]:
    """By kind ``in_run`` = ``acknowledged`` + ``refused`` + ``not_sent``."""
    found = {}
    for kind in KINDS:
        answered = sum(rows for (one, _), rows in state.rows.items() if one == kind)
        refused, in_run = state.refused[kind], run.rows(kind)
        found[kind] = {
            "in_run": in_run, "acknowledged": answered - refused, "refused": refused, "not_sent": in_run - answered,
        }  # fmt: skip
    return found


def write_refused(folder: str, state: State) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Write ``refused/`` anew, as the ledger stands; returns records by Mixpanel's words, and the first of them."""
    store = store_for(folder)
    messages: dict[str, int] = {}
    examples: list[dict[str, Any]] = []
    kept = set()
    found = _refused_lines(folder, state, messages, examples)
    for number_of_part in itertools.count():
        lines, size = GzipLines(), 0
        for line in found:
            lines.add(line, 1)
            size += len(line)
            if lines.rows == _LINES_A_PART or size >= _BYTES_A_PART:
                break
        if not lines.rows:
            break
        path = join(folder, "refused", f"part-{number_of_part:05d}.ndjson.gz")
        store.put(path, lines.finish())
        kept.add(path)
    prefix = len(join(folder, ""))
    old = [entry.path for entry in store.list(join(folder, "refused")) if _PART.fullmatch(entry.path[prefix:])]
    store.delete([path for path in old if path not in kept])
    return messages, examples


def _refused_lines(
    folder: str, state: State, messages: dict[str, int], examples: list[dict[str, Any]]
) -> Iterator[bytes]:
    for _, kind, file, one in refused_now(folder, state):
        shown = one.message if one.message in messages or len(messages) < _MOST_MESSAGES else "(others)"
        messages[shown] = messages.get(shown, 0) + 1
        record = {"kind": kind, "file": file, "line": one.line, "message": one.message,
                  "record": orjson.loads(one.record)}  # fmt: skip
        if len(examples) < _EXAMPLES:
            examples.append({**record, "record": one.record[:_SHOWN].decode("utf-8", "replace")})
        yield orjson.dumps(record) + b"\n"


def sent(figures_: Figures, seconds: float) -> dict[str, Any]:
    """The part of the report that is of this delivery alone, and not of earlier ones into the same ledger."""
    acknowledged = sum(figures_.acknowledged.values())
    return {
        "requests": dict(sorted(figures_.requests.items())),
        "retries": dict(sorted(figures_.retries.items())),
        "splits": dict(sorted(figures_.splits.items())),
        "bytes_sent": figures_.bytes,
        "seconds": round(seconds, 3),
        "events_per_second": round(figures_.acknowledged["events"] / max(seconds, 0.001), 1),
        "acknowledged_now": acknowledged,
        "per_minute": [
            {"minute": minute * 60, "acknowledged": counts[0], "refused": counts[1]}
            for minute, counts in sorted(figures_.minutes.items())
        ],
    }


def page(report: dict[str, Any], examples: list[dict[str, Any]], next_step: str) -> str:
    """The report as a page; texts from outside are made inert."""
    events, profiles = report["events"], report["profiles"]
    tiles = [
        ("Events acknowledged", number(events["acknowledged"]), f"of {number(events['in_run'])} in the run"),
        ("Profile updates acknowledged", number(profiles["acknowledged"]), f"of {number(profiles['in_run'])}"),
        ("Refused", number(events["refused"] + profiles["refused"]), "in refused/ with Mixpanel's words"),
        ("Time taken", duration(report["seconds"]), f"{number(round(report['events_per_second']))} events a second"),
    ]
    names = ("in_run", "acknowledged", "refused", "not_sent")
    heads = ["Kind", "#In the run", "#Acknowledged", "#Refused", "#Not sent"]
    became = table("What became of all records", heads, [[kind, *(report[kind][name] for name in names)]
                                                         for kind in KINDS], "became")  # fmt: skip
    series = [[moment(one["minute"]), one["acknowledged"], one["refused"]] for one in report["per_minute"]]
    minutes = table("A minute", ["Minute", "#Acknowledged", "#Refused"], series)
    words = table("Mixpanel's words", ["Message", "#Records"], ranked(report["messages"]))
    shown = table("Refused records", ["File", "#Line", "Message"],
                  [[one["file"], one["line"], one["message"]] for one in examples])  # fmt: skip
    answers = table("Requests by answer", ["Answer", "#Requests", "#Sent again", "#Split"], [
        [label, count, report["retries"].get(label, 0), report["splits"].get(label, 0)]
        for label, count in report["requests"].items()])  # fmt: skip
    good = "good" if report["status"] == "delivered" else "bad"
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>Delivery to project {report['project_id']}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<header>\n<p class="eyebrow">Currents to Mixpanel: delivery</p>\n<h1>Project {report["project_id"]}, '
        f'{report["region"]}</h1>\n<p class="state"><span class="pill {good}">{report["status"]}</span>'
        f"<span>{code(report['run'])}</span></p>\n{figures(tiles)}</header>\n<main>\n"
        + section("next", "What to do next", table("Next", ["Next"], [[next_step]]))
        + section("became-section", "What became of all records", became)
        + section("refused", "Refused", words + shown)
        + section("minutes", "A minute", minutes)
        + section("requests", "Requests", answers + figures([("Sent", size(report["bytes_sent"]), "on the wire")]))
        + "</main>\n<footer><p>The same figures are in report.json. All times are UTC.</p></footer>\n</body>\n</html>\n"
    )
