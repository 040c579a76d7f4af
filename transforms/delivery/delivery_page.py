"""``report.html`` of a delivery, in the look of the job's: what became of all records, when, and what to do next."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from typing import Any

from transforms.delivery.deletions.page import deletions
from transforms.delivery.delivered_run import KINDS
from transforms.report.charts import bars, legend
from transforms.report.markup import Html, duration, number
from transforms.report.page import Section, not_blank
from transforms.report.templates import filled

_LONGEST_WORDS, _LONGEST_RECORD = 2_000, 300
_MOST_PERIODS = 60
_NAMES = {"events": "Events", "profiles": "Profile updates"}
_SERIES = (("acknowledged", "known"), ("refused", "anonymous"), ("not_sent", "plain"))
_SHOWN = {"acknowledged": "acknowledged", "refused": "refused", "not_sent": "not sent"}


def page(report: dict[str, Any], examples: Sequence[dict[str, Any]], next_step: str) -> str:
    """The report as a page; texts from outside are made inert. ``examples`` are lines of ``refused/``."""
    width, periods = _periods(report["per_minute"])
    parts = (
        ("next", "What to do next", _part("next", report=report, next_step=next_step)),
        ("became", "What became of all records", _part("became", report=report, kinds=_NAMES, drawn=_bars(report))),
        ("refused", "Refused records", _part("refused", report=report, examples=examples)),
        ("deletions", "Deletions", deletions(report.get("deletions"))),
        ("minutes", "By minute", _part("minutes", periods=periods, width=width)),
        ("requests", "Requests", _part("requests", report=report, requests=_requests(report))),
    )
    sections = not_blank(Section(key, title, title, content) for key, title, content in parts)
    return _part("delivery", report=report, tiles=_tiles(report), sections=sections)


def _part(name: str, **values: Any) -> Html:
    return filled(
        f"{name}.html.j2",
        __package__,
        longest_words=_LONGEST_WORDS,
        longest_record=_LONGEST_RECORD,
        **values,
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


def _bars(report: dict[str, Any]) -> Html:
    """A bar for each kind of record that the run has, and their key; empty where it has none."""
    drawn = ""
    for kind in KINDS:
        found = report[kind]
        parts = [(style, _SHOWN[name], found[name]) for name, style in _SERIES]
        told = f"{number(found['acknowledged'])} of {number(found['in_run'])} acknowledged"
        if found["in_run"]:
            title = f"What became of the {_NAMES[kind].lower()}"
            drawn += bars(f"{kind}-chart", title, [(_NAMES[kind], parts, told)], found["in_run"])
    key = legend([(style, _SHOWN[name].capitalize()) for name, style in _SERIES])
    return Html(key + drawn if drawn else "")


def _periods(series: Sequence[dict[str, Any]]) -> tuple[int, list[tuple[str, int, int, int]]]:
    """(Minutes of a period; its begin, records acknowledged, refused and answered a second, of each); at most 60."""
    if not series:
        return 1, []
    first, last = series[0]["minute"], series[-1]["minute"]
    width = math.ceil((last - first + 60) / 60 / _MOST_PERIODS)
    periods: dict[int, list[int]] = {}
    for one in series:
        at = periods.setdefault((one["minute"] - first) // 60 // width, [0, 0])
        at[0] += one["acknowledged"]
        at[1] += one["refused"]
    rows = []
    for index in range(max(periods) + 1):
        acknowledged, refused = periods.get(index, [0, 0])
        begin = datetime.datetime.fromtimestamp(first + 60 * width * index, datetime.timezone.utc)
        a_second = round((acknowledged + refused) / 60 / width)
        rows.append((begin.strftime("%Y-%m-%d %H:%M"), acknowledged, refused, a_second))
    return width, rows


def _requests(report: dict[str, Any]) -> list[tuple[str, int, int, int]]:
    """(Answer, requests, sent again, split); only some answers are followed by another request."""
    return [
        (label, requests, report["retries"].get(label, 0), report["splits"].get(label, 0))
        for label, requests in report["requests"].items()
    ]
