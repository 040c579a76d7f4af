"""The hours that an export covers: an outage is told of, and a rhythm is not taken for one."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.commands.whole_run import read_output, run_in_process
from tests.exports.small_exports import NOW, OPEN, avro, rows, write
from tests.transforms.report.test_page import Page
from transforms.currents import coverage
from transforms.currents.coverage import GAPS_KEPT, Coverage, HoursCovered
from transforms.currents.paths import SourceFile
from transforms.report.file_gaps import warnings

MONDAY = datetime.datetime(2025, 6, 2, tzinfo=datetime.timezone.utc)
CLICK = "users.messages.email.Click"
Pace = Callable[[int, int], bool]
"""(Day from Monday 2 June 2025 on, hour of the day) to whether there is a file."""

_RANDOM = np.random.default_rng(7).random((400, 24))


def always(day: int, hour: int) -> bool:
    return True


def by_day(day: int, hour: int) -> bool:
    return 6 <= hour < 20


def in_the_office(day: int, hour: int) -> bool:
    return day % 7 < 5 and 8 <= hour < 18


def once_a_day(day: int, hour: int) -> bool:
    return hour == 9


def once_a_week(day: int, hour: int) -> bool:
    return day % 7 == 1 and hour >= 9


def one_in_four(day: int, hour: int) -> bool:
    return bool(_RANDOM[day, hour] < 0.25)


def rarely(day: int, hour: int) -> bool:
    return bool(_RANDOM[day, hour] < 0.02)


def closed_on_sundays(day: int, hour: int) -> bool:
    return day % 7 != 6 or hour >= 20


def in_campaigns(day: int, hour: int) -> bool:
    return day % 2 == 0 and 8 <= hour < 16 and day not in (14, 16)


def once_only(day: int, hour: int) -> bool:
    return day < 2


def hours_of(pace: Pace, days: int, without: range = range(0)) -> Iterator[str]:
    """``date=`` of each hour with a file; ``without`` are hours from the beginning on."""
    for hour in range(24 * days):
        if hour not in without and pace(hour // 24, hour % 24):
            yield (MONDAY + datetime.timedelta(hours=hour)).strftime("%Y-%m-%d-%H")


def figures(**by_type: Iterator[str]) -> HoursCovered:
    """The coverage of a file for each date, by the name of a type (``Open``, ``Click``, …)."""
    covered = Coverage()
    for kind, dates in by_type.items():
        event_type = f"users.messages.email.{kind}"
        for date in dates:
            name = f"event_type={event_type}/date={date}/9/a.avro"
            covered.add(SourceFile(f"/in/{name}", name, 1, "v", event_type))
    return covered.figures()


def iso(hour: int) -> str:
    return (MONDAY + datetime.timedelta(hours=hour)).strftime("%Y-%m-%dT%H:00Z")


@pytest.mark.parametrize("pace", [always, by_day, in_the_office, once_a_day, one_in_four])
@pytest.mark.parametrize("days", [35, 180])
def test_a_week_without_files_is_told_of_whatever_the_rhythm(pace: Pace, days: int) -> None:
    found = figures(Open=hours_of(pace, days, range(24 * 14 + 5, 24 * 21 + 5)))
    gaps = [gap for gap in found["gaps"] if gap["event_type"] == OPEN]
    assert len(gaps) == 1
    assert gaps[0]["from"] <= iso(24 * 14 + 5)
    assert gaps[0]["until"] >= iso(24 * 21 + 5)
    assert 168 <= gaps[0]["hours"] < 168 + 72
    assert found["gaps"][0] == {**gaps[0], "event_type": None}  # it is one of the whole export too
    assert found["gaps_found"] == 2


@pytest.mark.parametrize(
    "pace",
    [
        always,
        by_day,
        in_the_office,
        once_a_day,
        once_a_week,
        one_in_four,
        rarely,
        in_campaigns,
        once_only,
    ],
)
@pytest.mark.parametrize("days", [1, 2, 3, 8, 30, 365])
def test_a_rhythm_is_not_taken_for_a_gap(pace: Pace, days: int) -> None:
    found = figures(Open=hours_of(pace, days), Click=hours_of(once_a_day, days))
    assert found["gaps"] == []
    assert found["gaps_found"] == 0
    assert warnings(found) == []


def test_what_comes_back_is_a_rhythm_and_once_only_is_not() -> None:
    assert figures(Open=hours_of(closed_on_sundays, 35))["gaps"] == []
    assert figures(Open=hours_of(closed_on_sundays, 13))["gaps_found"] == 2


def test_a_type_that_ends_before_the_export_does_has_a_gap_up_to_its_last_hour() -> None:
    found = figures(Open=hours_of(always, 10), Click=hours_of(always, 30))
    (gap,) = found["gaps"]
    assert gap == {"event_type": OPEN, "from": iso(240), "until": iso(720), "hours": 480}
    assert (found["first_hour"], found["last_hour"]) == (iso(0), iso(719))
    assert found["by_type"][OPEN] == {"first_hour": iso(0), "last_hour": iso(239), "hours_with_files": 240}


def test_a_type_that_begins_later_has_no_gap() -> None:
    late = (date for date in hours_of(always, 30) if date >= "2025-06-20")
    assert figures(Open=late, Click=hours_of(always, 30))["gaps"] == []


def test_half_a_day_counts_where_files_come_every_hour() -> None:
    found = figures(Open=hours_of(always, 14, range(24 * 8 + 3, 24 * 8 + 15)))
    assert [(gap["from"], gap["hours"]) for gap in found["gaps"]] == [(iso(24 * 8 + 3), 12)] * 2


def test_a_folder_of_a_day_stands_for_all_of_it() -> None:
    days = [(MONDAY + datetime.timedelta(days=day)).strftime("%Y-%m-%d") for day in range(30)]
    found = figures(Open=iter(days))
    assert (found["first_hour"], found["last_hour"]) == (iso(0), iso(719))
    assert found["gaps"] == []
    outage = figures(Open=iter(days[:10] + days[17:]))["gaps"]
    assert [(gap["from"], gap["hours"]) for gap in outage] == [(iso(240), 168)] * 2


def test_files_without_a_date_and_dates_that_are_slips_are_counted_apart() -> None:
    covered = Coverage()
    for name in ("a.avro", "date=yesterday/b.avro", "date=0001-01-01/c.avro", "date=9999-12-31-23/d.avro"):
        covered.add(SourceFile(f"/in/{name}", name, 1, "v", None))
    found = covered.figures()
    assert (found["files_without_hour"], found["first_hour"], found["by_type"]) == (4, None, {})
    covered.add(SourceFile("/in/date=2025-06-02/e.avro", "e.avro", 1, "v", "users_messages_email_open"))
    assert covered.figures()["by_type"] == {OPEN: {"first_hour": iso(0), "last_hour": iso(23), "hours_with_files": 24}}


def test_figures_are_few_however_many_types_and_days(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "_TYPES_KEPT", 30)
    hole = range(24 * 10, 24 * 12)
    found = figures(**{f"Kind{number:03}": hours_of(always, 20, hole) for number in range(60)})
    assert len(found["by_type"]) == 31
    assert found["by_type"]["(others)"]["hours_with_files"] == 18 * 24
    assert (found["gaps_found"], len(found["gaps"])) == (32, GAPS_KEPT)
    (warning,) = warnings(found)
    assert warning.startswith(
        f"32 gaps without files, unlikely at the usual pace of this export: all types together, {iso(240)} to "
        f"{iso(288)} (48 hours); (others), "
    )
    assert "; and 29 more: Braze does not replay" in warning
    monkeypatch.setattr(coverage, "_DAYS_KEPT", 5)
    few = figures(Open=hours_of(always, 20))
    assert few["by_type"][OPEN]["hours_with_files"] == 5 * 24
    assert few["last_hour"] == iso(20 * 24 - 1)


def test_a_run_over_an_export_that_stopped_for_a_week_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = avro(rows("a", 1))
    dates = hours_of(by_day, 21, range(24 * 9, 24 * 16))
    write(tmp_path / "in", {f"event_type={OPEN}/date={date}/9/a.avro": content for date in dates})
    assert run_in_process(tmp_path / "in", tmp_path / "out", f"--now={NOW}") == 0
    report = read_output(tmp_path / "out").report
    assert (report["coverage"]["first_hour"], report["coverage"]["last_hour"]) == (iso(6), iso(20 * 24 + 19))
    gap = {"event_type": None, "from": iso(8 * 24 + 20), "until": iso(16 * 24 + 6), "hours": 7 * 24 + 10}
    assert report["coverage"]["gaps"] == [gap, {**gap, "event_type": OPEN}]
    (warning,) = [text for text in report["warnings"] if "usual pace" in text]
    assert f"{gap['from']} to {gap['until']} (178 hours)" in warning
    assert f"warning    {warning}" in capsys.readouterr().out
    text = Page((tmp_path / "out" / "report.html").read_text()).text
    assert "Hours covered" in text
    assert str(gap["until"]) in text
