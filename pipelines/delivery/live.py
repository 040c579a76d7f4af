"""The live line of a delivery: in a terminal one that is drawn anew, elsewhere a plain one every ten seconds."""

from __future__ import annotations

import sys
import threading
import time

from transforms.delivery.sender import Sender
from transforms.run.report_markup import duration

_PLAIN_SECONDS, _LIVE_SECONDS = 10.0, 0.5


class LiveLine:
    """Records acknowledged of all, a second, refused, time left, the gate's rate."""

    def __init__(self, sender: Sender, wanted: dict[str, int], before: dict[str, dict[str, int]]) -> None:
        self._sender = sender
        self._all = sum(wanted.values())
        self._before = sum(before[kind]["acknowledged"] for kind in wanted)
        self._refused_before = sum(before[kind]["refused"] for kind in wanted)
        self._started = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="live", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=2)

    def line(self) -> str:
        figures = self._sender.figures
        now = sum(figures.acknowledged.values())
        refused = self._refused_before + sum(figures.refused.values())
        rate = now / max(time.monotonic() - self._started, 0.001)
        left = self._all - self._before - now - refused
        text = f"{self._before + now:,} of {self._all:,} acknowledged, {rate:,.0f}/s, {refused:,} refused"
        if rate and left > 0:
            text += f", about {duration(left / rate)} left"
        return f"{text}, gate at {self._sender.gate.rate:,.0f}/s"

    def _draw(self) -> None:
        while not self._stop.wait(_LIVE_SECONDS if self._terminal else _PLAIN_SECONDS):
            if self._terminal:
                print(f"\r\x1b[K{self.line()}", end="", file=sys.stderr, flush=True)
            else:
                print(self.line(), file=sys.stderr, flush=True)
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
