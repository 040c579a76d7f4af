"""The rate at which all connections together send, so that a project's limit is met and not run into.

Who wants to send asks for a turn and is told how long to wait. A 429 shuts the gate for everybody. It opens for one
request alone, and once that is taken a little below what Mixpanel took lately. Then it grows: fast while it is far
below the rate that was refused, slowly near it.
"""

from __future__ import annotations

import collections
import random
import threading
from collections.abc import Callable

BYTES_A_SECOND = 2e9 / 60
_WINDOW = 60.0
_STEADY = 5.0  # seconds of sending from which on a rate is measured, and not a burst
_BELOW = 0.9
_FAST, _SLOW = 0.15, 0.01  # growth a second
_NEAR = 0.85
_FIRST_WAIT, _LONGEST_WAIT = 2.0, 60.0
_ALONE = 1.0  # seconds that the first request after a 429 goes alone, unless it is taken before


def backoff(attempt: int, rng: random.Random) -> float:
    """Seconds to wait after the ``attempt``-th failure (1-based): 2 s, doubled to 60 s, and 1 to 5 s of jitter."""
    return min(_FIRST_WAIT * 2 ** min(attempt - 1, 10), _LONGEST_WAIT) + rng.uniform(1.0, 5.0)


class Gate:
    """Shared by all connections; the clock is monotonic seconds."""

    def __init__(self, most: float, clock: Callable[[], float], rng: random.Random | None = None) -> None:
        self._most = most
        self._clock = clock
        self._rng = rng or random.Random()
        self._lock = threading.Lock()
        self._rate = most
        self._grown = clock()
        self._last = clock()  # when the last turn was due
        self._owed = (0, 0)  # its events and bytes, whose time is to pass
        self._shut_until = 0.0
        self._opened = clock()
        self._refusals = 0  # in a row
        self._alone_until = 0.0
        self._ceiling = float("inf")  # the rate that was refused last
        self._taken: collections.deque[tuple[float, int]] = collections.deque()
        self._began: float | None = None

    @property
    def rate(self) -> float:
        """Events a second that the gate lets through now."""
        return self._rate

    def turn(self, events: int, size: int) -> float:
        """Seconds until these may be sent: 0 takes the turn, more means ask again then."""
        with self._lock:
            now = self._clock()
            if now < self._shut_until:
                return self._shut_until - now
            self._grow(now)
            due = self._last + max(self._owed[0] / self._rate, self._owed[1] / BYTES_A_SECOND)
            if now < due:
                return min(due - now, 1.0)  # the rate may grow meanwhile
            if self._refusals:  # one tries whether the limit is over, and not all connections
                if now < self._alone_until:
                    return self._alone_until - now
                self._alone_until = now + _ALONE
            if self._began is None:
                self._began = now
            self._last, self._owed = max(due, now - 0.05), (events, size)
            return 0.0

    def took(self, events: int) -> None:
        """Mixpanel has acknowledged so many."""
        with self._lock:
            self._taken.append((self._clock(), events))
            self._refusals = 0

    def refused(self, retry_after: float | None) -> float:
        """A 429: shut the gate; returns the seconds until it opens."""
        with self._lock:
            now = self._clock()
            if now < self._shut_until:  # sent before the gate was shut
                return self._shut_until - now
            self._grow(now)
            self._refusals += 1
            wait = retry_after if retry_after is not None else backoff(self._refusals, self._rng)
            self._shut_until = now + wait
            if self._refusals == 1:
                self._lower(now)
            self._opened = self._grown = self._last = self._shut_until
            self._owed = (0, 0)
            return wait

    def _lower(self, now: float) -> None:
        """Set the rate for when the gate opens: below what was taken since it opened last, or in the last minute."""
        while self._taken and self._taken[0][0] < now - _WINDOW:
            self._taken.popleft()
        since = max(self._opened, now - _WINDOW)
        steady = now - since >= _STEADY
        if steady:
            self._ceiling = self._rate
        else:
            since = max(self._began if self._began is not None else now, now - _WINDOW)
        taken = sum(events for at, events in self._taken if at >= since)
        measured = taken / max((now if steady else self._shut_until) - since, 1.0)
        if not steady and taken and now - since >= _STEADY:
            self._ceiling = min(self._rate, 1.25 * measured)
        if not taken:  # there is no measure
            measured = self._rate / 2
        self._rate = min(max(_BELOW * measured, self._most / 200, 1.0), self._rate)

    def _grow(self, now: float) -> None:
        seconds = now - self._grown
        if seconds <= 0:
            return
        self._grown = now
        if self._rate > 1.1 * self._ceiling:
            self._ceiling = float("inf")  # the limit is another by now
        growth = _SLOW if self._rate >= _NEAR * self._ceiling else _FAST
        self._rate = min(self._rate * (1 + growth) ** min(seconds, 10.0), self._most)
