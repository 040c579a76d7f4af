"""Writes the report of a run as one HTML page that needs no network and no script.

The page is made from the dict that is also written as ``report.json``. A section that the dict lacks is left out; one
that is there and empty says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transforms.report import charts, details, what_it_costs, what_leaves
from transforms.report import identity as report_identity
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
    moment,
    note,
    nothing,
    number,
    own_words,
    ranked,
    section,
    share,
    size,
    table,
)
from transforms.report.style import STYLE
from transforms.vocabulary.rows import OUTCOMES

TOP_TYPES = 20

_READ, *_PARTS = OUTCOMES
_BY_USER = (("known", "Known users"), ("anonymous", "Anonymous users"))
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
# A page without an icon makes a browser ask its server for one.
_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect width='16' height='16' "
    "rx='4' fill='%233659d9'/%3E%3Cpath d='M4 12V8M8 12V4M12 12V6' stroke='white' stroke-width='2'/%3E%3C/svg%3E"
)


def render(report: Mapping[str, Any]) -> str:
    """Returns the page. Any text of ``report`` may be hostile; the result always encodes as UTF-8."""
    sections = [
        ("accounting-section", "Accounting", _accounting(report)),
        ("gain", "Gain", _gain(report)),
        ("activity", "Events", _activity(report)),
        ("left-out", "Left out", details.left_out(report)),
        ("cost", "Cost", what_it_costs.shown(report)),
        ("what-leaves", "What leaves", what_leaves.shown(report)),
        ("identity", "Identity", report_identity.identity(report)),
        ("changes", "Changes", details.changes(report)),
        ("run", "The run", details.run(report)),
    ]
    links = "".join(f'<li><a href="#{key}">{name}</a></li>' for key, name, content in sections if content)
    title = escaped(report.get("title") or "Currents to Mixpanel")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f'<title>{title}</title>\n<link rel="icon" href="{_ICON}">\n<style>{STYLE}</style>\n</head>\n<body>\n'
        f"<header>\n{_header(report, title)}{_key_figures(report)}</header>\n<main>\n"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n'
        f"{_warnings(report)}{''.join(content for _, _, content in sections)}</main>\n"
        "<footer><p>The same figures are in report.json. All times are UTC.</p></footer>\n</body>\n</html>\n"
    )


def _header(report: Mapping[str, Any], title: Html) -> str:
    status = report.get("status")
    pill = ""
    if status is not None:
        pill = f'<span class="pill {"good" if status == "published" else "bad"}">{escaped(status, 40)}</span>'
    clock = f"<span>Clock of the run: {moment(report['now'])}</span>" if report.get("now") is not None else ""
    command = report.get("command")
    shown = folded("Command", f"<pre>{escaped(command, 4000)}</pre>") if command else ""
    return (
        f'<p class="eyebrow">Braze Currents to Mixpanel</p>\n<h1><bdi>{title}</bdi></h1>\n'
        f'<p class="state">{pill}{clock}</p>\n{shown}\n'
    )


def _key_figures(report: Mapping[str, Any]) -> Html:
    rows, gain, timing = (report.get(name) or {} for name in ("rows", "gain", "timing"))
    read, files = count(rows.get("read")), report.get("files") or {}
    shown = []
    if rows:
        of_files = f"in {number(files.get('read'))} files, {size(files.get('bytes'))}" if files else ""
        shown.append(("Rows read", number(read), of_files))
        events = rows.get("events")
        shown.append(("Events for Mixpanel", number(events), f"{share(events, read)} of the rows"))
    if gain:
        told = f"{share(gain.get('anonymous_rows'), rows.get('events'))} of the events"
        shown.append(("Beyond the native connector", number(gain.get("anonymous_rows")), told))
    if timing.get("wall_seconds") is not None:
        rate = timing.get("rows_per_second")
        told = f"{number(round(rate))} rows a second" if isinstance(rate, (int, float)) else ""
        shown.append(("Time taken", duration(timing["wall_seconds"]), told))
    return figures(shown)


def _warnings(report: Mapping[str, Any]) -> str:
    warnings = report.get("warnings")
    if not warnings:
        return ""
    items = "".join(f"<li>{isolated(warning, 600)}</li>" for warning in warnings)
    return (
        '<section class="warnings" aria-labelledby="warnings-title"><h2 id="warnings-title">What to look at</h2>'
        f"<ul>{items}</ul></section>\n"
    )


def _accounting(report: Mapping[str, Any]) -> Html:
    rows = report.get("rows")
    if not rows:
        return Html("")
    read = count(rows.get("read"))
    total = sum(count(rows.get(outcome.code)) for outcome in _PARTS)
    lines = []
    for index, outcome in enumerate(_PARTS):
        amount = count(rows.get(outcome.code))
        bar = f'<rect class="track" width="100%" height="8" rx="2"/>{_bar(amount, read)}'
        lines.append(
            f'<tr data-outcome="{outcome.code}" data-value="{amount}"><td class="sign">{"+" if index else ""}</td>'
            f'<th scope="row">{outcome.label}<span class="meaning">{own_words(outcome.meaning)}</span></th>'
            f'<td class="n">{number(amount)}</td><td class="share"><div>'
            f'<svg height="8" width="100%" aria-hidden="true">{bar}</svg>'
            f"<span>{share(amount, read)}</span></div></td></tr>\n"
        )
    wrong = ""
    if total != read:
        wrong = (
            f'<p class="wrong">This does not add up: {number(total)} rows are accounted for, {number(read)} were read '
            f"({number(abs(total - read))} {'missing' if total < read else 'too many'}).</p>"
        )
    whole = (
        f"{wrong}<div class=scroll role=region aria-label='Accounting of rows' tabindex=0>"
        '<table id="accounting"><caption>What became of each row; the outcomes add up to the rows read</caption>\n'
        '<thead><tr><td class="sign"></td><th scope="col">Outcome</th><th scope="col" class="n">Rows</th>'
        f'<th scope="col" class="share">Share</th></tr></thead>\n<tbody>\n{"".join(lines)}</tbody>\n'
        f'<tfoot><tr data-outcome="read" data-value="{read}"><td class="sign">{"=" if total == read else "≠"}</td>'
        f'<th scope="row">{_READ.label}<span class="meaning">{own_words(_READ.meaning)}</span></th>'
        f'<td class="n">{number(read)}</td><td class="share"></td></tr></tfoot></table></div>'
    )
    return section("accounting-section", "The accounting", whole + _accounting_by_type(report))


def _bar(amount: int, whole: int) -> str:
    if amount <= 0 or whole <= 0:
        return ""
    return f'<rect class="known" width="{min(max(100 * amount / whole, 0.4), 100):.2f}%" height="8" rx="2"/>'


def _accounting_by_type(report: Mapping[str, Any]) -> Html:
    by_type = report.get("rows_by_type")
    if by_type is None:
        return Html("")
    names = OUTCOMES.codes
    heads = ["Event type", "#Read", *(f"#{outcome.label}" for outcome in _PARTS)]
    rows = [[code(kind), *(count((counts or {}).get(name)) for name in names)] for kind, counts in by_type.items()]
    rows.sort(key=_by_second, reverse=True)
    shown = table("Rows by event type", heads, rows, "accounting-by-type")
    return folded(f"By event type ({len(rows):,})", shown)


def _by_second(row: list[Any]) -> int:
    return count(row[1])


def _gain(report: Mapping[str, Any]) -> Html:
    gain = report.get("gain")
    if not gain:
        return Html("")
    beyond, joined = count(gain.get("anonymous_rows")), count(gain.get("rows_joined_to_known"))
    native = count(gain.get("native_rows"))
    events = count((report.get("rows") or {}).get("events")) or native + beyond
    same = max(events - beyond, 0)
    still = max(beyond - joined, 0)
    run = [
        ("known", "that the native connector sends too", same),
        ("joined", "joined to a known user", joined),
        ("anonymous", "of users still anonymous", still),
    ]
    chart = charts.bars(
        "gain-chart",
        "Events sent by the native connector and by this run",
        [
            ("Braze's native connector", [("known", "rows with an external user id", native)], number(native)),
            ("This run", run, number(events)),
        ],
    )
    legend = charts.legend(
        [
            ("known", "As the native connector"),
            ("joined", "Anonymous rows joined to a known user"),
            ("anonymous", "Anonymous rows, user not known yet"),
        ]
    )
    earlier = gain.get("median_days_earlier")
    told = f"by {number(earlier)} {'day' if earlier == 1 else 'days'} at the median" if earlier is not None else ""
    entries = [
        ("anonymous_rows", "Anonymous rows kept", "events that the native connector drops"),
        ("rows_joined_to_known", "Joined to a known user", f"{share(joined, beyond)} of the anonymous rows"),
        ("profiles_made_known", "Profiles made known", "by a link, not by their own external user id"),
        ("persons_with_earlier_history", "People whose history begins earlier", told),
    ]
    tiles = figures([(label, number(gain[key]), text) for key, label, text in entries if gain.get(key) is not None])
    return section(
        "gain",
        "What you gain over the native connector",
        note("The native connector sends only rows that carry an external user id.")
        + tiles
        + block("Events sent", legend + chart),
    )


def _activity(report: Mapping[str, Any]) -> Html:
    parts = []
    by_day = report.get("events_by_day")
    if by_day is not None:
        period, columns = charts.periods(by_day)
        content: str = nothing("No events.")
        if columns:
            rows = [[str(start), known, anonymous, known + anonymous] for start, known, anonymous in columns]
            heads = [period.capitalize(), "#Known users", "#Anonymous users", "#Events"]
            shown = folded("As a table", table(f"Events by {period}", heads, rows))
            content = charts.legend(_BY_USER) + charts.columns_by_time("days", period, columns) + shown
        parts.append(block(f"Events by {period}", content))
    persons = report.get("persons") or {}
    if report.get("rows_by_type") is not None:
        parts.append(block("Events by type", _types_chart(report["rows_by_type"], persons.get("by_type") or {})))
    if persons.get("by_month") is not None:
        parts.append(block("Persons by month", _persons(persons)))
    return section("activity", "Events and people", "".join(parts))


def _types_chart(by_type: Mapping[str, Any], persons: Mapping[str, Any]) -> str:
    sent = ranked({kind: (counts or {}).get("events") for kind, counts in by_type.items()})
    sent = [entry for entry in sent if entry[1]]
    if not sent:
        return nothing("No events.")
    rows = []
    for kind, events in sent[:TOP_TYPES]:
        anonymous = min(count((persons.get(kind) or {}).get("events_anonymous")), events)
        parts = [("known", "known", events - anonymous), ("anonymous", "anonymous", anonymous)]
        if not persons:
            parts = [("known", "events", events)]
        rows.append((kind, parts, number(events)))
    more = len(sent) - TOP_TYPES
    rest = note(f"and {more:,} more types, in the accounting by event type") if more > 0 else ""
    half = (len(rows) + 1) // 2
    largest = sent[0][1]
    drawn = charts.bars("types", "Events by type", rows[:half], largest)
    if rows[half:]:
        second = charts.bars("more-types", "Events by type, continued", rows[half:], largest)
        drawn = Html(f'<div class="pair bar-pair">{drawn}{second}</div>')
    return (charts.legend(_BY_USER) if persons else "") + drawn + rest


def _persons(persons: Mapping[str, Any]) -> str:
    names = ("known", "anonymous", "events_known", "events_anonymous")
    heads = ["#Known persons", "#Anonymous persons", "#Known events", "#Anonymous events"]
    months = [
        [month, *(count((counts or {}).get(name)) for name in names)]
        for month, counts in sorted(persons["by_month"].items())
    ]
    by_type = persons.get("by_type") or {}
    kinds = [[code(kind), *(count((counts or {}).get(name)) for name in names)] for kind, counts in by_type.items()]
    kinds.sort(key=_by_second, reverse=True)
    told = (
        "Distinct persons with at least one event in the month: Mixpanel bills by them, but for its free event names."
    )
    more = table("Persons by type", ["Event type", *heads], kinds) if kinds else ""
    return (
        note(told)
        + table("Persons by month", ["Month", *heads], months)
        + folded(f"By event type ({len(kinds):,})", more)
    )
