"""The report in headless Chromium: its sum, no request, no script, no overflow, readable in light and dark."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.exports.report_example import OUTCOMES, example, hostile
from tests.servers.tools import require, require_module
from transforms.report.page import render

# Elements that reach beyond the page, but for those in a box that scrolls by itself or cuts them off.
OVERFLOWING = """
const cut = e => e.parentElement.closest('.scroll') || e.closest('.clip') || ['CAPTION', 'g'].includes(e.tagName);
return [...document.querySelectorAll('body *')].filter(e => !cut(e) && e.getClientRects().length &&
  (e.getBoundingClientRect().right > innerWidth + 1 || e.getBoundingClientRect().left < -1)
).map(e => e.outerHTML.slice(0, 120));
"""
# Contrast of each element that holds text with the nearest background that is not transparent (WCAG 2).
LOW_CONTRAST = """
const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(v => v / 255).map(
  v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
  if (c !== 'rgba(0, 0, 0, 0)' && !(e instanceof SVGElement)) return c; } };
return [...document.querySelectorAll('body *')].filter(e => e.getClientRects().length &&
  [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())).map(e => { const style = getComputedStyle(e);
  const [a, b] = [light(e instanceof SVGElement ? style.fill : style.color), light(behind(e))].sort((x, y) => y - x);
  return [(a + 0.05) / (b + 0.05), e.outerHTML.slice(0, 120)]; }).filter(found => found[0] < 4.5);
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = require_module("selenium.webdriver")
    service = require_module("selenium.webdriver.chrome.service")
    options = webdriver.ChromeOptions()
    options.binary_location = require("chromium")
    for argument in (
        "--headless=new",
        "--no-sandbox",  # Chromium refuses to run as root with it
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=service.Service(executable_path=require("chromedriver")))
    yield driver
    driver.quit()


def show(browser: Any, page: Path, width: int = 1400, scheme: str = "light") -> None:
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get_log("performance"), browser.get_log("browser")  # reading empties them
    browser.get(page.as_uri())


def requested(browser: Any) -> set[str]:
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = {m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"}
    return {url for url in urls if not url.startswith("data:")}


@pytest.fixture(scope="module", params=["example", "hostile"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / f"{request.param}.html"
    path.write_text(render(example() if request.param == "example" else hostile()), encoding="utf-8")
    return path


def test_the_accounting_adds_up(browser: Any, page: Path) -> None:
    show(browser, page)
    rows = browser.execute_script(
        "return [...document.querySelectorAll('#accounting tr[data-outcome]')].map("
        "r => [r.dataset.outcome, Number(r.dataset.value), r.querySelector('td.n').innerText])"
    )
    values = {outcome: value for outcome, value, _ in rows}
    assert values["read"] == sum(values[name] for name in OUTCOMES) > 0
    assert all(shown == f"{value:,}" for _, value, shown in rows)


def test_nothing_is_requested_and_nothing_runs(browser: Any, page: Path) -> None:
    show(browser, page)
    assert requested(browser) == {page.as_uri()}
    assert browser.get_log("browser") == []
    found = browser.execute_script(
        "return {resources: performance.getEntriesByType('resource').map(e => e.name), pwned: window.pwned === 1,"
        "policy: document.querySelector('meta[http-equiv=\"Content-Security-Policy\"]').content,"
        "scripts: document.scripts.length, images: document.images.length, frames: frames.length,"
        "handlers: [...document.querySelectorAll('*')].filter(e => [...e.attributes].some("
        "a => a.name.startsWith('on') || /^\\s*javascript:/i.test(a.value))).length}"
    )
    assert found.pop("policy").startswith("default-src 'none'")
    assert found == {"resources": [], "pwned": False, "scripts": 0, "images": 0, "frames": 0, "handlers": 0}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_the_page_fits_and_can_be_read(browser: Any, page: Path, width: int, scheme: str) -> None:
    show(browser, page, width, scheme)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    scrolled, shown = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert scrolled <= shown <= width
    assert browser.execute_script(OVERFLOWING) == []
    assert browser.execute_script(LOW_CONTRAST) == []
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(14, 17, 23)") == (scheme == "dark")
