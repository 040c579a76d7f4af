"""The live line of a delivery."""

from __future__ import annotations

import time

from pipelines.launch.progress_line import LiveLine
from transforms.delivery.sender import Sender
from transforms.report.markup import duration


class DeliveryLine(LiveLine):
    """Records acknowledged of all, a second, refused, time left, the gate's rate."""

    def __init__(self, sender: Sender, wanted: dict[str, int], before: dict[str, dict[str, int]]) -> None:
        super().__init__()
        self._sender = sender
        self._all = sum(wanted.values())
        self._before = sum(before[kind]["acknowledged"] for kind in wanted)
        self._refused_before = sum(before[kind]["refused"] for kind in wanted)

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
