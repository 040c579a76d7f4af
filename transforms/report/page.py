"""Writes the report of a run as one HTML page that needs no network and no script.

The page is made from the dict that is also written as ``report.json``, by ``templates/report.html.j2`` and a template a
section. A section that the dict lacks is left out; one that is there and empty says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any, get_type_hints

from transforms.report import templates
from transforms.report.markup import Html, duration, number, share, size
from transforms.report.report_json import ReportJson
from transforms.vocabulary.changes import LIMITS
from transforms.vocabulary.files import NOT_READ
from transforms.vocabulary.persons import EXTERNAL_IDS_LEFT_OUT, LINK_STATUSES
from transforms.vocabulary.rows import OUTCOMES, REJECTS, WITHHELD

_KEYS = tuple(get_type_hints(ReportJson))


@dataclasses.dataclass(frozen=True)
class Section:
    """A section of a page: its id, its heading, its name in the links above, its markup."""

    id: str
    title: str
    short: str
    content: Html


_SECTIONS = (
    ("accounting-section", "The accounting", "Accounting", "accounting.html.j2"),
    ("gain", "What you gain over the native connector", "Gain", "gain.html.j2"),
    ("activity", "Events and people", "Events", "activity.html.j2"),
    ("left-out", "What was left out", "Left out", "left_out.html.j2"),
    ("cost", "What it costs", "Cost", "cost.html.j2"),
    ("what-leaves", "What leaves", "What leaves", "what_leaves.html.j2"),
    ("identity", "Who is who", "Identity", "identity.html.j2"),
    ("changes", "What was changed or is new", "Changes", "changes.html.j2"),
    ("run", "The run", "The run", "run.html.j2"),
)


def render(report: ReportJson | Mapping[str, Any]) -> str:
    """Returns the page. Any text of ``report`` may be hostile; the result always encodes as UTF-8."""
    whole = {**dict.fromkeys(_KEYS), **report}
    sections = not_blank(
        Section(key, title, short, section(template, whole)) for key, title, short, template in _SECTIONS
    )
    return templates.filled("report.html.j2", report=whole, sections=sections, tiles=_tiles(whole))


def not_blank(sections: Iterable[Section]) -> list[Section]:
    """The sections that have something to show, without the blank lines around it."""
    return [
        dataclasses.replace(section, content=Html(content))
        for section in sections
        if (content := section.content.strip())
    ]


def section(template: str, report: Mapping[str, Any]) -> Html:
    """The markup of a section, blank where the report has nothing for it."""
    whole, *parts = OUTCOMES
    rows = report["rows"]
    return templates.filled(
        template,
        report=report,
        whole=whole,
        parts=parts,
        accounted=sum(rows[outcome.code] for outcome in parts) if rows else 0,
        vocabulary=SimpleNamespace(
            rejects=REJECTS,
            withheld=WITHHELD,
            not_read=NOT_READ,
            limits=LIMITS,
            links=LINK_STATUSES,
            left_out_ids=EXTERNAL_IDS_LEFT_OUT,
        ),
    )


def _tiles(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The key figures: label, figure, explanation."""
    rows, files, gain, timing = (report[name] for name in ("rows", "files", "gain", "timing"))
    found = []
    if rows:
        of_files = f"in {number(files['read'])} files, {size(files['bytes'])}" if files else ""
        found.append(("Rows read", number(rows["read"]), of_files))
        found.append(
            ("Events for Mixpanel", number(rows["events"]), f"{share(rows['events'], rows['read'])} of the rows")
        )
    if gain:
        told = f"{share(gain['anonymous_rows'], rows['events'] if rows else 0)} of the events"
        found.append(("Beyond the native connector", number(gain["anonymous_rows"]), told))
    if timing:
        told = f"{number(round(timing['rows_per_second']))} rows a second"
        found.append(("Time taken", duration(timing["wall_seconds"]), told))
    return found
