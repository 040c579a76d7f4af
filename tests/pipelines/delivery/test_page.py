"""The page of a delivery in headless Chromium: what became of all records, the refused, when, and what to do next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.delivery.work import next_step
from tests.transforms.report.test_report_browser import LOW_CONTRAST, OVERFLOWING, browser, requested, show
from transforms.delivery.delivery_page import page

__all__ = ["browser"]  # the fixture

HOSTILE = "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1>\u202e" + "W" * 400


def report(**changes: Any) -> dict[str, Any]:
    found = {
        "status": "partial", "message": "", "project_id": "424242", "region": "eu", "run": "gs://imports/2026-04",
        "command": "deliver --input gs://imports/2026-04 --project_id 424242 --region eu --yes",
        "events": {"in_run": 1_234_567, "acknowledged": 1_230_000, "refused": 67, "not_sent": 4500},
        "profiles": {"in_run": 0, "acknowledged": 0, "refused": 0, "not_sent": 0},
        "requests": {"200": 620, "400": 3, "429": 44}, "retries": {"429": 44}, "splits": {"400": 1},
        "bytes_sent": 312_000_000, "seconds": 301.5, "events_per_second": 4089.1,
        "per_minute": [
            {"minute": 1_790_000_040 + 60 * n, "acknowledged": 6000, "refused": n % 2} for n in range(6) if n != 3
        ],
        "messages": {"properties.time: too old": 60, "properties.$insert_id: too long": 7},
    }  # fmt: skip
    return {**found, **changes}


def example(line: int, message: str = "properties.time: too old", record: str = '{"event":"Email Open"}') -> Any:
    return {"kind": "events", "file": "events/part-00003.ndjson.gz", "line": line, "message": message, "record": record}


PAGES = {
    "partial": (report(), [example(1200), example(7, "properties.$insert_id: too long")]),
    "delivered": (report(status="delivered", messages={}, per_minute=[]), []),
    "stopped": (report(status="stopped", message="401 Invalid credentials " + "x" * 1500), []),
    "hostile": (
        report(run=HOSTILE, command=HOSTILE, message=HOSTILE, messages={HOSTILE: 1}, requests={HOSTILE: 1}),
        [example(1, HOSTILE, HOSTILE[:300])],
    ),
    "long": (report(per_minute=[{"minute": 60 * n, "acknowledged": 1, "refused": 0} for n in range(3000)]), []),
}


@pytest.fixture(params=PAGES)
def shown(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    found, examples = PAGES[request.param]
    path = tmp_path / f"{request.param}.html"
    path.write_text(page(found, examples, next_step(found["status"])), encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_the_page_fits_can_be_read_and_asks_for_nothing(browser: Any, shown: Path, width: int, scheme: str) -> None:
    show(browser, shown, width, scheme)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    scrolled, inner = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert scrolled <= inner <= width
    assert browser.execute_script(OVERFLOWING) == []
    assert browser.execute_script(LOW_CONTRAST) == []
    assert requested(browser) == {shown.as_uri()}
    assert browser.execute_script("return [document.scripts.length, document.images.length, window.pwned]") == [
        0, 0, None,
    ]  # fmt: skip


def text(browser: Any, section: str) -> str:
    found: str = browser.execute_script(
        "document.querySelectorAll('details').forEach(d => d.open = true);"
        "return document.getElementById(arguments[0]).innerText", section,
    )  # fmt: skip
    return found


def test_the_page_says_what_became_of_all_and_what_to_do_next(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    found, examples = PAGES["partial"]
    path.write_text(page(found, examples, next_step("partial")), encoding="utf-8")
    show(browser, path)
    cells = browser.execute_script(
        "return [...document.querySelectorAll('#became-table tbody tr')].map(r => [...r.cells].map(c => c.innerText))"
    )
    assert cells == [
        ["Events", "1,234,567", "1,230,000", "67", "4,500", "99.6 %"],
        ["Profile updates", "0", "0", "0", "0", "–"],
    ]
    bars = browser.execute_script(
        "return [...document.querySelectorAll('#became svg.bars .bar')].map(b => b.getBoundingClientRect().width)"
    )
    assert sum(bars) == pytest.approx(browser.execute_script(
        "return document.querySelector('#became .track').getBoundingClientRect().width"), rel=0.01)  # fmt: skip
    told = text(browser, "next")
    assert next_step("partial") in told, "whole, and not shortened"
    assert found["command"] in told
    refused = text(browser, "refused")
    for words in ("properties.time: too old", "60", "events/part-00003.ndjson.gz line 1200", '{"event":"Email Open"}'):
        assert words in refused
    minutes = browser.execute_script(
        "return [...document.querySelectorAll('#minutes-table tbody tr')].map(r => [...r.cells].map(c => c.innerText))"
    )
    assert [row[1:] for row in minutes] == [
        ["6,000", "0", "100"], ["6,000", "1", "100"], ["6,000", "0", "100"], ["0", "0", "0"], ["6,000", "0", "100"],
        ["6,000", "1", "100"],
    ], "a minute without an answer is shown too"  # fmt: skip
    assert "429\t44\t44\t0" in text(browser, "requests")


def test_a_stop_is_shown_with_its_whole_message(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    found, _ = PAGES["stopped"]
    path.write_text(page(found, [], next_step("stopped")), encoding="utf-8")
    show(browser, path)
    assert found["message"] in text(browser, "next")


def test_a_long_delivery_has_sixty_lines_at_most(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(page(*PAGES["long"], next_step("partial")), encoding="utf-8")
    show(browser, path)
    rows = browser.execute_script(
        "return [...document.querySelectorAll('#minutes-table tbody tr')].map(r => r.cells[1].innerText)"
    )
    assert (len(rows), sum(map(int, rows))) == (60, 3000)
    assert "Each line is 50 minutes." in text(browser, "minutes")
