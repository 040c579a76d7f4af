"""The report as text: what it says, what it leaves out, and that hostile names stay inert. No browser needed."""

from __future__ import annotations

import datetime
import html.parser
import itertools
import re
from typing import Any

import pytest

from tests.exports.report_example import HOSTILE, OUTCOMES, example, hostile
from transforms.report import charts as report_charts
from transforms.report import markup
from transforms.report.page import render

VOID = {"meta", "link", "wbr", "br"}


class Page(html.parser.HTMLParser):
    """The elements and texts of a page; fails on a page whose tags do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def accounting(page: Page) -> dict[str, int]:
    return {row["data-outcome"] or "": int(row["data-value"] or 0) for row in page.all("tr") if "data-outcome" in row}


def test_the_accounting_adds_up() -> None:
    report = example()
    page = Page(render(report))
    found = accounting(page)
    assert found == report["rows"]
    assert found["read"] == sum(found[name] for name in OUTCOMES)
    assert f"{report['rows']['read']:,}" in page.text
    assert "does not add up" not in page.text


@pytest.mark.parametrize(("change", "told"), [(-5, "5 missing"), (5, "5 too many")])
def test_an_accounting_that_does_not_add_up_says_so(change: int, told: str) -> None:
    report = example()
    report["rows"]["events"] += change
    page = Page(render(report))
    assert "does not add up" in page.text
    assert told in page.text


def test_every_section_has_its_figures() -> None:
    text = Page(render(example())).text
    for told in (
        "published", "2025-11-22 02:53:20 UTC", "588,930", "20,219", "by 3.4 days", "Events by day", "Persons by month",
        "Clusters by size", "Refused links: 2", "Contested devices: 2,604", "kiosk-berlin-04", "Quarantined devices: 3",
        "decompress it", "time_invalid", "Readreceipt Read Receipt", "canvas_entry_batch", "0.99987", "612 MB",
        "22.8 s", "backfill-2025-11", "2.77.0", "and 4 more types",
    ):  # fmt: skip
        assert told in text, told


@pytest.mark.parametrize("key", sorted(example()))
def test_a_missing_or_null_section_is_left_out(key: str) -> None:
    without = example()
    del without[key]
    page = Page(render(without))
    assert render({**example(), key: None}) == render(without)
    assert ("accounting" in {table.get("id") for table in page.all("table")}) == (key != "rows")


def test_nothing_at_all_is_still_a_page() -> None:
    page = Page(render({}))
    assert "Currents to Mixpanel" in page.text
    assert page.all("table") == []


def _emptied(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _emptied(inner) for name, inner in value.items()}
    return type(value)() if isinstance(value, (int, float, list)) else value


def test_a_section_of_the_page_with_nothing_in_it_says_so() -> None:
    report = _emptied(example())
    report |= {"rejects": {}, "withheld": {}, "unknown_types": {}, "unknown_columns": {}, "events_by_day": {}}
    text = Page(render(report)).text
    for told in ("RejectsNone.", "every file could be read", "everything fitted", "Refused linksNone.", "No events."):
        assert told in re.sub(r"\s*\n\s*", "", text), told


def test_headings_are_in_order_and_tables_have_scopes() -> None:
    page = Page(render(example()))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(head.get("scope") in ("col", "row") for head in page.all("th"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    charts = [svg for svg in page.all("svg") if svg.get("role") == "img"]
    assert len(charts) >= 6
    for chart in charts:
        assert set((chart["aria-labelledby"] or "").split()) <= set(ids)


def test_the_page_asks_for_nothing() -> None:
    for report in (example(), hostile()):
        page = Page(render(report))
        policy = next(meta["content"] for meta in page.all("meta") if "http-equiv" in meta)
        assert policy is not None
        assert policy.startswith("default-src 'none'")
        for tag, attributes in page.elements:
            for name, value in attributes.items():
                assert name not in ("src", "srcset", "action", "background", "xlink:href"), (tag, name)
                assert name != "href" or (value or "").startswith(("#", "data:image/svg+xml,")), value
        assert "url(" not in render(report).split("</style>")[0]


def test_hostile_text_stays_text() -> None:
    written = render(hostile())
    page = Page(written.encode("utf-8").decode("utf-8"))
    tags = {tag for tag, _ in page.elements}
    assert tags.isdisjoint({"script", "img", "a href", "iframe", "object", "base", "form", "b"})
    assert len(page.all("link")) == 1
    assert len([meta for meta in page.all("meta") if meta.get("http-equiv")]) == 1
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert "<script>window.pwned=1" in page.text  # shown, not run
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069\ud800-\udfff\uffff]", written)
    assert "N" * 200 not in written
    assert "(10,000 characters)" in page.text
    assert len(written) < 1_500_000


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("naïve 日本 👩\u200d🚀", "naïve 日本 👩\u200d🚀"),
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("a\nb\x00", "a⟨U+000A⟩b⟨U+0000⟩"),
        ("", "(empty)"),
        (" \n", "(blank)"),
        ("\ud800", "⟨U+D800⟩"),
        ("x" * 121, "x" * 80 + " … " + "x" * 40 + " (121 characters)"),
    ],
)
def test_long_or_hostile_text_is_shortened_so_that_it_shows_what_it_was(text: str, shown: str) -> None:
    assert markup.shortened(text) == shown


@pytest.mark.parametrize("text", HOSTILE)
def test_markup_of_hostile_text_loses_no_sign(text: str) -> None:
    page = Page(markup.code(text) + f'<i title="{markup.escaped(text)}"></i>')
    assert page.text == markup.shortened(text)
    assert page.all("i")[0]["title"] == markup.shortened(text)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (1234567, "1,234,567"), (0.99987, "0.99987"), (1234.56, "1,234.6"), (None, "–"), (float("nan"), "–")],
)
def test_numbers_are_shown_with_separators_and_without_noise(value: object, shown: str) -> None:
    assert markup.number(value) == shown


def test_share_is_never_rounded_to_nothing_or_all() -> None:
    assert [markup.share(part, 100_000) for part in (0, 1, 25_000, 99_999, 100_000)] == [
        "0 %", "< 0.1 %", "25 %", "> 99.9 %", "100 %",
    ]  # fmt: skip
    assert markup.share(1, 0) == "–"


def test_durations_and_sizes_are_shown_in_units_a_person_reads() -> None:
    assert [markup.duration(s) for s in (0.42, 22.8, 59.97, 192, 7500)] == [
        "0.42 s", "22.8 s", "1 min 00 s", "3 min 12 s", "2 h 05 min",
    ]  # fmt: skip
    assert [markup.size(n) for n in (812, 2_310_004, 1_482_330_112, 5 * 10**15)] == [
        "812 bytes", "2.31 MB", "1.48 GB", "5,000.0 TB",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("days", "period"), [(1, "day"), (110, "day"), (111, "week"), (800, "month"), (4000, "quarter"), (20000, "year")]
)
def test_a_long_span_is_drawn_in_longer_periods(days: int, period: str) -> None:
    first = datetime.date(1971, 1, 1)
    by_day = {(first + datetime.timedelta(days=n)).isoformat(): {"known": 2, "anonymous": 1} for n in range(days)}
    found, columns = report_charts.periods(by_day)
    assert found == period
    assert len(columns) <= report_charts.MOST_COLUMNS + 2
    assert sum(known for _, known, _ in columns) == 2 * days
    assert sum(anonymous for _, _, anonymous in columns) == days
    Page(report_charts.columns_by_time("days", found, columns))


def test_days_without_events_are_gaps() -> None:
    by_day = {"2026-03-01": {"known": 5, "anonymous": 0}, "2026-03-04": {"known": 0, "anonymous": 7}, "no date": {}}
    assert report_charts.periods(by_day) == (
        "day",
        [
            (datetime.date(2026, 3, 1), 5, 0),
            (datetime.date(2026, 3, 2), 0, 0),
            (datetime.date(2026, 3, 3), 0, 0),
            (datetime.date(2026, 3, 4), 0, 7),
        ],
    )
