"""Reads under way at once: how many, how much, in which order, and what an error among them does."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import pytest

from transforms.errors import DataChanged
from transforms.stores import prefetch
from transforms.stores.prefetch import read_all
from transforms.stores.store import Entry


class SlowStore:
    """A remote store whose answers take a while, and not the same while."""

    remote = True

    def __init__(self) -> None:
        self.under_way = self.most = self.bytes_ahead = self.most_ahead = 0
        self._lock = threading.Lock()

    def read(self, entry: Entry) -> bytes:
        with self._lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        time.sleep(random.Random(entry.path).uniform(0.02, 0.04))
        with self._lock:
            self.under_way -= 1
            self.bytes_ahead += entry.size
            self.most_ahead = max(self.most_ahead, self.bytes_ahead)
        if entry.version == "gone":
            raise DataChanged(f"{entry.path} is gone")
        return entry.path.encode()

    def took(self, entry: Entry) -> None:
        with self._lock:
            self.bytes_ahead -= entry.size


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> SlowStore:
    slow = SlowStore()

    def store_for(path: str) -> SlowStore:
        return slow

    monkeypatch.setattr(prefetch, "store_for", store_for)
    return slow


def entries(count: int, size: int = 1) -> list[Entry]:
    return [Entry(f"made://{number}", size, "1") for number in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("concurrency", [1, 2, 32])
def test_contents_come_in_the_order_asked_for(store: SlowStore, concurrency: int) -> None:
    wanted = entries(100)
    assert list(read_all(wanted, concurrency)) == [entry.path.encode() for entry in wanted]
    assert store.most == concurrency


def test_no_more_bytes_wait_than_may(store: SlowStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefetch, "BYTES_AHEAD", 1000)
    wanted = entries(60, 300)
    for entry, _ in zip(wanted, read_all(wanted, 32), strict=True):
        store.took(entry)
        time.sleep(0.002)
    assert store.most == 3
    assert store.most_ahead <= 1000


def test_a_file_above_the_bound_is_read_alone(store: SlowStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefetch, "BYTES_AHEAD", 1000)
    assert len(list(read_all(entries(5, 5000), 32))) == 5
    assert store.most == 1


def test_an_error_comes_in_its_turn_and_ends_the_rest(store: SlowStore) -> None:
    wanted = entries(100)
    wanted[10] = wanted[10]._replace(version="gone")
    found = read_all(wanted, 8)
    assert [next(found) for _ in range(10)] == [entry.path.encode() for entry in wanted[:10]]
    with pytest.raises(DataChanged, match="made://10 is gone"):
        next(found)
    deadline = time.monotonic() + 5
    while store.under_way and time.monotonic() < deadline:
        time.sleep(0.01)
    assert store.under_way == 0


def test_who_stops_early_waits_for_nothing(store: SlowStore) -> None:
    found = read_all(entries(1000), 4)
    next(found)
    started = time.monotonic()
    assert isinstance(found, Iterator)
    found.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 1
