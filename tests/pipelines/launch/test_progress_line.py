"""What a person sees while a run is at work: one line, from what the working processes tell."""

from __future__ import annotations

import io
import os
import sys
import time
from pathlib import Path

import pytest

from pipelines.launch import progress_line
from pipelines.launch.progress_line import Live
from transforms.settings import Plan
from transforms.telemetry import progress

PLAN = Plan.for_input(units=10, files=1000, input_bytes=1 << 20)


class Clock:
    """Stands in for ``time.monotonic``."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


@pytest.fixture
def totals(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, int]]:
    figures = dict.fromkeys(progress.STAGES, (0, 0))
    monkeypatch.setattr(progress, "totals", lambda folder: figures)
    return figures


def test_the_line_says_stage_files_rows_share_speed_and_time_left(
    clock: Clock, totals: dict[str, tuple[int, int]]
) -> None:
    shown = Live("folder", PLAN)
    assert shown.line() == "reading ids: 0 of 1,000 files, 0 rows, 0%"

    clock.now += 10
    totals["read_ids"] = (400, 20_000)
    assert shown.line() == "reading ids: 400 of 1,000 files, 20,000 rows, 10%, 2,000 rows/s, about 1 min left"

    clock.now += 15
    totals["read_ids"] = (1000, 50_000)
    assert shown.line() == "finding persons: 1,000 of 1,000 files, 50,000 rows, 25%"

    totals["resolve"] = (1, 300)
    assert shown.line() == "writing events: 0 of 1,000 files, 0 rows, 25%"

    clock.now += 25
    totals["write_events"] = (400, 25_000)
    # Half of the rows are written, in 50 seconds: what is left is 37.5 % of the work.
    assert shown.line() == "writing events: 400 of 1,000 files, 25,000 rows, 62%, 1,000 rows/s, about 30 s left"

    totals["write_events"] = (1000, 50_000)
    assert shown.line() == "publishing: 1,000 of 1,000 files, 50,000 rows, 100%"


def test_rows_of_before_a_stage_was_seen_make_it_no_faster(clock: Clock, totals: dict[str, tuple[int, int]]) -> None:
    shown = Live("folder", PLAN)
    totals.update(read_ids=(1000, 50_000), resolve=(1, 300), write_events=(100, 5_000))
    clock.now += 10
    assert "rows/s" not in shown.line()
    totals.update(write_events=(200, 10_000))
    clock.now += 10
    assert ", 500 rows/s, " in shown.line()


def test_an_export_without_rows_has_a_line_too(totals: dict[str, tuple[int, int]]) -> None:
    totals["read_ids"] = (1000, 0)
    assert Live("folder", PLAN).line() == "finding persons: 1,000 of 1,000 files, 0 rows, 25%"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (3660, "1 h 1 min")]
)
def test_the_progress_line_shows_durations_in_two_units(seconds: float, text: str) -> None:
    assert progress_line._duration(seconds) == text


def test_plain_lines_where_the_output_is_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert progress_line._PLAIN_SECONDS == 10
    monkeypatch.setattr(progress_line, "_PLAIN_SECONDS", 0.02)
    shown = Live(str(tmp_path), PLAN)
    shown.start()
    time.sleep(0.3)
    shown.stop()
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == ""
    assert len(lines) >= 3
    assert set(lines) == {"reading ids: 0 of 1,000 files, 0 rows, 0%"}
    assert "\x1b" not in captured.err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_one_line_that_is_gone_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    assert progress_line._columns() == 80
    monkeypatch.setattr(progress_line, "_columns", lambda: 40)
    monkeypatch.setattr(progress_line, "_LIVE_SECONDS", 0.02)
    shown = Live(str(tmp_path), PLAN)
    shown.start()
    time.sleep(0.4)
    shown.stop()
    drawn = screen.getvalue()
    lines = drawn.split("\r\x1b[K")
    assert set(lines) == {"", "reading ids: 0 of 1,000 files, 0 rows,…"}  # 39 columns: the last stays free
    assert len(lines) > 4
    assert drawn.endswith("\r\x1b[K")  # the line is wiped away


def test_a_reader_never_sees_counts_go_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(progress.FOLDER_VARIABLE, str(tmp_path))
    progress.advance("read_ids", 1, 1)
    seen: list[tuple[int, int]] = []
    write = os.write

    def looked_at(descriptor: int, data: bytes) -> int:
        seen.append(progress.totals(str(tmp_path))["read_ids"])
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", looked_at)
    for _ in range(3):
        progress.advance("read_ids", 1, 1)
    assert seen == [(1, 1), (2, 2), (3, 3)]


def test_processes_tell_how_far_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(progress.FOLDER_VARIABLE, str(tmp_path))
    progress.advance("read_ids", 3, 100)
    progress.advance("read_ids", 2, 50)
    progress.advance("publish", 1, 0)
    (tmp_path / "4711").write_bytes((tmp_path / str(os.getpid())).read_bytes())  # another process, as far as this one
    (tmp_path / "4712").write_bytes(b"torn")
    assert progress.totals(str(tmp_path)) == {
        "read_ids": (10, 300), "resolve": (0, 0), "write_events": (0, 0), "publish": (2, 0),
    }  # fmt: skip

    # The next run in the same process begins at nothing; where nobody listens, nothing is told.
    (tmp_path / "next").mkdir()
    monkeypatch.setenv(progress.FOLDER_VARIABLE, str(tmp_path / "next"))
    progress.advance("read_ids", 1, 1)
    assert progress.totals(str(tmp_path / "next"))["read_ids"] == (1, 1)
    monkeypatch.delenv(progress.FOLDER_VARIABLE)
    progress.advance("read_ids", 1, 1)
    assert progress.totals(str(tmp_path / "next"))["read_ids"] == (1, 1)
