"""What a person sees while a command is at work: one live line in a terminal, plain ones elsewhere."""

from __future__ import annotations

import abc
import os
import sys
import threading
import time

from transforms.settings import Plan
from transforms.telemetry import progress

_NAMES = {
    "read_ids": "reading ids",
    "resolve": "finding persons",
    "write_events": "writing events",
    "publish": "publishing",
}
_PLAIN_SECONDS = 10.0
_LIVE_SECONDS = 0.25
_WIPE = "\r\x1b[K"


class LiveLine(abc.ABC):
    """Draws a line from a thread of its own: in a terminal anew each time, and gone at the end; elsewhere plain."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._started = time.monotonic()
        self._thread = threading.Thread(target=self._draw, name="progress", daemon=True)

    @abc.abstractmethod
    def line(self) -> str:
        """What there is to say now."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=2)

    def _draw(self) -> None:
        if not sys.stderr.isatty():
            while not self._stop.wait(_PLAIN_SECONDS):
                print(self.line(), file=sys.stderr, flush=True)
            return
        while not self._stop.wait(_LIVE_SECONDS):
            print(f"{_WIPE}{self._cut()}", end="", file=sys.stderr, flush=True)
        print(_WIPE, end="", file=sys.stderr, flush=True)

    def _cut(self) -> str:
        """The line as the terminal has room for it: what is wrapped would not be wiped away."""
        line, columns = self.line(), _columns()
        return line if len(line) < columns else f"{line[: max(columns - 2, 0)]}…"


class Live(LiveLine):
    """The line of a run: the progress that worker processes tell."""

    def __init__(self, folder: str, plan: Plan) -> None:
        super().__init__()
        self._folder = folder
        self._plan = plan
        self._stage_started = self._started
        self._rows_before = 0
        self._stage = "read_ids"

    def line(self) -> str:
        """Stage, files and rows done, share, rows a second, time left."""
        done = progress.totals(self._folder)
        files, rows = done["read_ids"]
        stage = "read_ids"
        if files >= self._plan.files:
            stage = "resolve"
            if done["resolve"][0] or done["write_events"][1]:
                stage, (files, rows) = "write_events", done["write_events"]
                if files >= self._plan.files:
                    stage = "publish"
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._stage_started, self._rows_before = stage, now, rows
        share = self._share(stage, done)
        seconds = max(now - self._stage_started, 0.001)
        text = f"{_NAMES[stage]}: {files:,} of {self._plan.files:,} files, {rows:,} rows, {share:.0%}"
        if stage in ("read_ids", "write_events") and rows > self._rows_before:
            text += f", {(rows - self._rows_before) / seconds:,.0f} rows/s"
            elapsed = now - self._started
            if 0.02 < share < 1:
                text += f", about {_duration(elapsed / share - elapsed)} left"
        return text

    def _share(self, stage: str, done: dict[str, tuple[int, int]]) -> float:
        """Reading ids is about a quarter of the work, writing the rest."""
        total = max(self._plan.files, 1)
        rows_read = done["read_ids"][1]
        first = done["read_ids"][0] / total
        written = done["write_events"][1] / rows_read if rows_read and first >= 1 else 0.0
        return min(0.25 * first + 0.75 * min(written, 1.0), 1.0)


def _columns() -> int:
    """Of the terminal; 80 where it does not say."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        return 80


def _duration(seconds: float) -> str:
    """
    >>> _duration(3700)
    '1 h 1 min'
    """
    minutes = int(seconds // 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{int(seconds)} s"
