"""``report.html`` of a delivery, in the look of the job's: what became of all records, when, and what to do next."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from typing import Any

from transforms.delivery.deletions.page import deletions
from transforms.delivery.delivered_run import KINDS
from transforms.report.charts import bars, legend
from transforms.report.markup import (
    Html,
    block,
    code,
    count,
    duration,
    escaped,
    figures,
    folded,
    isolated,
    note,
    number,
    ranked,
    section,
    share,
    size,
    table,
)
from transforms.report.style import STYLE

_LONGEST_WORDS, _LONGEST_RECORD = 2_000, 300
_MOST_PERIODS = 60
_NAMES = {"events": "Events", "profiles": "Profile updates"}
_SERIES = (("acknowledged", "known"), ("refused", "anonymous"), ("not_sent", "plain"))
_SHOWN = {"acknowledged": "acknowledged", "refused": "refused", "not_sent": "not sent"}


def page(report: dict[str, Any], examples: Sequence[dict[str, Any]], next_step: str) -> str:
    """The report as a page; texts from outside are made inert. ``examples`` are lines of ``refused/``."""
    good = "good" if report["status"] == "delivered" else "bad"
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    project, region = escaped(report["project_id"]), escaped(report["region"])
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>Delivery to project {project}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        '<header>\n<p class="eyebrow">Currents to Mixpanel: delivery</p>\n'
        f"<h1>Project {project}, region {region}</h1>\n"
        f'<p class="state"><span class="pill {good}">{escaped(report["status"])}</span>'
        f"<span>{code(report['run'])}</span></p>\n{figures(_tiles(report))}</header>\n<main>\n"
        + section("next", "What to do next", _next(report, next_step))
        + section("became", "What became of all records", _became(report))
        + section("refused", "Refused records", _refused(report, examples))
        + section("deletions", "Deletions", deletions(report.get("deletions")))
        + section("minutes", "By minute", _by_minute(report["per_minute"]))
        + section("requests", "Requests", _requests(report))
        + "</main>\n<footer><p>The same figures are in report.json. All times are UTC.</p></footer>\n</body>\n</html>\n"
    )


def _tiles(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    events, profiles = report["events"], report["profiles"]
    refused, not_sent = (sum(report[kind][name] for kind in KINDS) for name in ("refused", "not_sent"))
    return [
        ("Events acknowledged", number(events["acknowledged"]), f"of {number(events['in_run'])} in the run"),
        ("Profile updates acknowledged", number(profiles["acknowledged"]), f"of {number(profiles['in_run'])}"),
        ("Refused", number(refused), f"in refused/ with Mixpanel's words; {number(not_sent)} not sent"),
        ("Time taken", duration(report["seconds"]), f"{number(round(report['events_per_second']))} events a second"),
    ]


def _next(report: dict[str, Any], next_step: str) -> str:
    wrong = f'<p class="wrong">{_whole(report["message"])}</p>\n' if report.get("message") else ""
    command = folded("The command", f"<p>{code(report['command'], _LONGEST_WORDS)}</p>")
    return f"{wrong}<p>{_whole(next_step)}</p>{command}"


def _whole(text: str) -> Html:
    return isolated(text, _LONGEST_WORDS)


def _became(report: dict[str, Any]) -> str:
    drawn, shown = "", []
    for kind in KINDS:
        found = report[kind]
        parts = [(style, _SHOWN[name], found[name]) for name, style in _SERIES]
        told = f"{number(found['acknowledged'])} of {number(found['in_run'])} acknowledged"
        if found["in_run"]:
            title = f"What became of the {_NAMES[kind].lower()}"
            drawn += bars(f"{kind}-chart", title, [(_NAMES[kind], parts, told)], found["in_run"])
        counts = [found[name] for name in ("in_run", *_SHOWN)]
        shown.append([_NAMES[kind], *counts, Html(share(found["acknowledged"], found["in_run"]))])
    heads = ["Kind", "#In the run", "#Acknowledged", "#Refused", "#Not sent", "#Acknowledged share"]
    key = legend([(style, _SHOWN[name].capitalize()) for name, style in _SERIES])
    figures_ = table("What became of all records", heads, shown, "became-table")
    return _part(key + drawn if drawn else "") + block("In figures", figures_)


def _part(content: str) -> str:
    return f'<div class="block">{content}</div>' if content else ""


def _refused(report: dict[str, Any], examples: Sequence[dict[str, Any]]) -> str:
    if not report["messages"]:
        return '<p class="none">None.</p>'
    told = table("Mixpanel's words", ["Mixpanel's words", "#Records"], [
        [_words(message), records] for message, records in ranked(report["messages"])])  # fmt: skip
    shown = table("Examples of refused records", ["File and line", "Mixpanel's words", "The record begins"], [
        [code(f"{one['file']} line {one['line']}"), _words(one["message"]), code(one["record"], _LONGEST_RECORD)]
        for one in examples
    ])  # fmt: skip
    return _part(told) + block("Examples", note("All of them are in refused/, whole.") + shown)


def _words(text: str) -> Html:
    return isolated(text, 500)


def _by_minute(series: Sequence[dict[str, Any]]) -> str:
    if not series:
        return '<p class="none">Nothing was answered.</p>'
    first, last = series[0]["minute"], series[-1]["minute"]
    width = math.ceil((last - first + 60) / 60 / _MOST_PERIODS)
    periods: dict[int, list[int]] = {}
    for one in series:
        at = periods.setdefault((one["minute"] - first) // 60 // width, [0, 0])
        at[0] += count(one["acknowledged"])
        at[1] += count(one["refused"])
    rows = []
    for index in range(max(periods) + 1):
        acknowledged, refused = periods.get(index, [0, 0])
        begin = datetime.datetime.fromtimestamp(first + 60 * width * index, datetime.timezone.utc)
        rows.append(
            [begin.strftime("%Y-%m-%d %H:%M"), acknowledged, refused, round((acknowledged + refused) / 60 / width)]
        )
    told = f"Each line is {width} minutes." if width > 1 else ""
    return (note(told) if told else "") + table(
        "Records by minute", ["From (UTC)", "#Acknowledged", "#Refused", "#Records a second"], rows, "minutes-table"
    )


def _requests(report: dict[str, Any]) -> str:
    answers = table("Requests by answer", ["Answer", "#Requests", "#Sent again", "#Split"], [
        [label, requests, report["retries"].get(label, 0), report["splits"].get(label, 0)]
        for label, requests in report["requests"].items()])  # fmt: skip
    sent = figures([("Sent", size(report["bytes_sent"]), "events compressed, profile updates not")])
    return _part(answers) + block("On the wire", sent)
