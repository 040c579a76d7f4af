"""The gate, on a clock of the tests' own: limits of two kinds are met without running into them much."""

from __future__ import annotations

import collections
import heapq
import random
from pathlib import Path

import pytest

from tests.commands.deliveries import deliver as deliver_run
from tests.commands.deliveries import write_run
from tests.servers.mixpanel_stand_in import Faults, stand_in
from transforms.delivery.gate import BYTES_A_SECOND, Gate, backoff


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Window:
    """Takes so many events in any such number of seconds."""

    def __init__(self, events: int, seconds: float) -> None:
        self.events, self.seconds = events, seconds
        self.taken: collections.deque[tuple[float, int]] = collections.deque()

    def takes(self, now: float, events: int) -> bool:
        while self.taken and self.taken[0][0] <= now - self.seconds:
            self.taken.popleft()
        if sum(n for _, n in self.taken) + events > self.events:
            return False
        self.taken.append((now, events))
        return True


class Bucket:
    """Fills at so many events a second, up to those of one second or of two batches."""

    def __init__(self, rate: float) -> None:
        self.rate, self.level, self.at = rate, max(rate, 4000.0), 1000.0

    def takes(self, now: float, events: int) -> bool:
        self.level = min(self.level + (now - self.at) * self.rate, max(self.rate, 4000.0))
        self.at = now
        if self.level < events:
            return False
        self.level -= events
        return True


def deliver(limit: Window | Bucket, batches: int, retry_after: float | None, most: float = 20_000) -> tuple[float, int]:
    """Seconds and refused requests of so many batches of 2,000 events, sent one after the other."""
    clock = Clock()
    gate = Gate(most, clock, random.Random(1))
    refused = done = 0
    while done < batches:
        wait = gate.turn(2000, 2_000_000)
        if wait:
            clock.now += wait
            continue
        clock.now += 0.02
        if limit.takes(clock.now, 2000):
            done += 1
            gate.took(2000)
        else:
            refused += 1
            gate.refused(retry_after)
    return clock.now - 1000, refused


def deliver_at_once(
    limit: Window | Bucket, batches: int, retry_after: float | None, connections: int = 10, latency: float = 0.3
) -> tuple[float, int]:
    """Seconds and refused requests where so many connections send beside each other, and answers take their time."""
    clock = Clock()
    gate = Gate(20_000, clock, random.Random(1))
    refused = done = 0
    ready = [(1000.0, number) for number in range(connections)]  # a heap: when a connection looks again
    answers: list[tuple[float, int]] = []  # a heap: when a request arrives at the limit, by connection
    while done < batches:
        if answers and answers[0] <= ready[0] if ready else True:
            clock.now, connection = heapq.heappop(answers)
            if limit.takes(clock.now, 2000):
                done += 1
                gate.took(2000)
                heapq.heappush(ready, (clock.now, connection))
            else:
                refused += 1
                heapq.heappush(ready, (clock.now + gate.refused(retry_after), connection))
            continue
        clock.now, connection = heapq.heappop(ready)
        wait = gate.turn(2000, 2_000_000)
        if wait:
            heapq.heappush(ready, (clock.now + min(wait, 0.5), connection))
        else:
            heapq.heappush(answers, (clock.now + latency, connection))
    return clock.now - 1000, refused


@pytest.mark.parametrize("retry_after", [None, 1.0])
@pytest.mark.parametrize("rate", [1000, 2500, 5000, 10_000])
def test_ten_connections_at_once_meet_a_limit_as_one_does(rate: int, retry_after: float | None) -> None:
    for limit, seconds in ((Bucket(rate), 120), (Window(rate * 60, 60), 300)):
        batches = rate * seconds // 2000
        taken, refused = deliver_at_once(limit, batches, retry_after)
        assert taken < 2 * seconds
        assert refused < (batches + refused) / 2


@pytest.mark.parametrize("retry_after", [None, 1.0])
@pytest.mark.parametrize("rate", [1000, 2500, 5000, 10_000])
def test_a_limit_that_fills_steadily_is_met_in_less_than_twice_its_time(rate: int, retry_after: float | None) -> None:
    batches = rate * 60 // 2000
    seconds, refused = deliver(Bucket(rate), batches, retry_after)
    assert seconds < 2 * 60
    assert refused < batches / 2


@pytest.mark.parametrize("retry_after", [None, 5.0])
@pytest.mark.parametrize("rate", [1000, 2500, 5000, 10_000])
def test_a_limit_of_a_rolling_minute_is_met_in_less_than_twice_its_time(rate: int, retry_after: float | None) -> None:
    batches = rate * 300 // 2000
    seconds, refused = deliver(Window(rate * 60, 60), batches, retry_after)
    assert seconds < 2 * 300
    assert refused < batches / 2


def test_without_a_refusal_the_rate_is_that_of_the_flag() -> None:
    seconds, refused = deliver(Bucket(1e9), 300, None, most=30_000)
    assert refused == 0
    assert seconds == pytest.approx(20, rel=0.05)


def test_bytes_have_a_limit_of_their_own() -> None:
    clock = Clock()
    gate = Gate(1e9, clock)
    sent = 0
    while clock.now < 1060:
        wait = gate.turn(1, 10_000_000)
        sent += 0 if wait else 10_000_000
        clock.now += wait
    assert sent <= 60 * BYTES_A_SECOND + 2 * 10_000_000


def test_a_429_shuts_the_gate_for_all_until_the_time_that_it_names() -> None:
    clock = Clock()
    gate = Gate(20_000, clock)
    assert gate.turn(2000, 1) == 0
    assert gate.refused(30.0) == 30.0
    clock.now += 29
    assert gate.turn(2000, 1) == pytest.approx(1)
    assert gate.refused(30.0) == pytest.approx(1), "a request that was under way does not shut it for longer"
    clock.now += 1.01
    assert gate.turn(2000, 1) == 0


def test_after_a_429_one_request_goes_alone_until_it_is_taken() -> None:
    clock = Clock()
    gate = Gate(20_000, clock)
    assert gate.turn(2, 1) == 0
    gate.refused(3.0)
    clock.now += 3.01
    assert gate.turn(2, 1) == 0
    clock.now += 0.1
    assert gate.turn(2, 1) == pytest.approx(0.9)
    gate.took(2)
    assert gate.turn(2, 1) == 0


def test_a_request_that_goes_alone_and_gets_no_answer_is_waited_for_a_second() -> None:
    clock = Clock()
    gate = Gate(20_000, clock)
    gate.refused(3.0)
    clock.now += 3.01
    assert gate.turn(2, 1) == 0
    clock.now += 1.01
    assert gate.turn(2, 1) == 0


def test_the_gate_opens_below_what_was_taken_and_grows() -> None:
    clock = Clock()
    gate = Gate(20_000, clock)
    for _ in range(60):
        gate.took(2000)
        clock.now += 1
    gate.refused(1.0)
    assert gate.rate == pytest.approx(1800, rel=0.05)
    clock.now += 11
    gate.turn(1, 1)
    assert gate.rate > 1800


def test_the_back_off_doubles_to_a_minute_with_one_to_five_seconds_of_jitter() -> None:
    rng = random.Random(3)
    for attempt, base in enumerate((2, 4, 8, 16, 32, 60, 60), start=1):
        assert all(base + 1 <= backoff(attempt, rng) <= base + 5 for _ in range(50))


@pytest.mark.slow
def test_a_delivery_under_a_limit_is_refused_less_than_half_of_its_requests(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", events=6000)
    with stand_in(None, Faults(events_per_second=500, retry_after="1")) as server:
        done = deliver_run(run, server, "--batch_events", "100")
        assert (done.status, len(server.project.events)) == (0, 6000)
        limited = server.answers["/import 429"]
        assert limited < server.requests["/import"] / 2
