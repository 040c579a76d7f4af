"""Deliveries of runs on object stores, and the lease by which one delivery at a time is at work."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from tests.commands.deliveries import command, environment, wait_for, write_run
from tests.commands.whole_run import ROOT
from tests.pipelines.delivery.test_delivery import refuses_poison
from tests.servers.emulators import Emulator, upload
from tests.servers.mixpanel_stand_in import Faults, StandIn, stand_in
from transforms.delivery import lease
from transforms.delivery.lease import acquire
from transforms.delivery.ledger import Refusal, Settled, read_state
from transforms.errors import DeliveryAtWork
from transforms.stores.store import join, store_for


def begin(url: str, server: StandIn, emulator: Emulator, *extra: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(Path("unused"), server, "--yes", f"--input={url}", *extra), cwd=ROOT, text=True,
        env=environment(server, **emulator.environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_a_killed_delivery_of_a_run_on_a_store_goes_on(store_emulator: Emulator, tmp_path: Path) -> None:
    url = store_emulator.url("run")
    with store_emulator.applied():
        upload(write_run(tmp_path / "run"), url)
    with stand_in(None, Faults(delay=0.2)) as server:
        server.project.refuses = refuses_poison
        process = begin(url, server, store_emulator, "--batch_events", "20", "--concurrency", "2")
        wait_for(server, 20)
        process.kill()
        process.communicate()
        server.faults.delay = 0
        again = begin(url, server, store_emulator, "--batch_events", "20")
        out, err = again.communicate(timeout=120)
        assert again.returncode == 3, (out, err)
        assert len(server.project.events) == 999
        assert len(server.bodies) == 50
        assert sum(server.bodies.values()) < 50 + 30, "what was acknowledged before the last second is not sent again"
    with store_emulator.applied():
        store = store_for(url)
        folder = join(url, "_delivery", "424242")
        report = orjson.loads(store.get(join(folder, "report.json")) or b"")
        assert report["events"] == {"in_run": 1000, "acknowledged": 999, "refused": 1, "not_sent": 0}
        assert store.get(join(folder, "refused", "part-00000.ndjson.gz"))


def held_elsewhere(monkeypatch: pytest.MonkeyPatch, folder: str) -> lease.Lease:
    """A lease of a process on another machine."""
    with monkeypatch.context() as patch:
        patch.setattr(lease, "_process", lambda: ["elsewhere", "boot", "4026531836", 1, 1.0])
        return acquire(folder)


def test_a_lease_that_stands_still_for_a_minute_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    folder = str(tmp_path / "ledger")
    first = held_elsewhere(monkeypatch, folder)
    first._stop.set()
    second = acquire(folder, slept.append)
    assert sum(slept) == lease.STILL_SECONDS
    assert second.generation == first.generation + 1
    second.release()


def test_a_lease_that_beats_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(tmp_path / "ledger")
    first = held_elsewhere(monkeypatch, folder)
    with pytest.raises(DeliveryAtWork, match="another delivery of this run"):
        acquire(folder, lambda seconds: first._put(released=False))
    first.release()
    never: list[Any] = []
    acquire(folder, never.append).release()
    assert not never, "a lease that was given back need not be waited for"


def test_a_lease_of_a_living_process_of_this_machine_is_held_at_once(tmp_path: Path) -> None:
    folder, never = str(tmp_path / "ledger"), []  # type: ignore[var-annotated]
    first = acquire(folder)
    with pytest.raises(DeliveryAtWork):
        acquire(folder, never.append)
    assert not never
    first.release()
    assert os.path.exists(join(folder, "lease-000001.json"))


def test_a_clock_that_is_set_makes_no_living_delivery_a_dead_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, never = str(tmp_path / "ledger"), []  # type: ignore[var-annotated]
    first = acquire(folder)
    past, future = time.time() - 1e6, time.time() + 1e6
    for now in (past, future):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        # What psutil adds to the ticks since the machine began moves with its clock.
        monkeypatch.setattr(psutil.Process, "create_time", lambda self, now=now: now)
        assert first.is_fresh()
        with pytest.raises(DeliveryAtWork):
            acquire(folder, never.append)
    assert not never
    first.release()


def test_a_machine_that_slept_sends_nothing_before_its_next_beat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = acquire(str(tmp_path / "ledger"))
    assert first.is_fresh()
    slept = lease._clock() + 46
    monkeypatch.setattr(lease, "_clock", lambda: slept)
    assert not first.is_fresh()
    monkeypatch.undo()
    first.release()


def test_who_waits_for_a_lease_counts_what_it_waited_and_not_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(tmp_path / "ledger")
    first = held_elsewhere(monkeypatch, folder)
    jumped = iter(range(0, 10**9, 10**6))
    monkeypatch.setattr(lease, "_clock", lambda: float(next(jumped)))
    beats: list[float] = []

    def sleep(seconds: float) -> None:
        beats.append(seconds)
        if len(beats) == 30:
            first._put(released=False)

    with pytest.raises(DeliveryAtWork):
        acquire(folder, sleep)
    assert len(beats) == 30
    monkeypatch.undo()
    first.release()


def test_a_batch_that_was_settled_twice_counts_once_and_a_torn_line_not_at_all(tmp_path: Path) -> None:
    store, folder = store_for(str(tmp_path)), str(tmp_path)
    line = Settled("events", "events/part-00000.ndjson.gz", 3, 10, (Refusal(31, "bad", b"{}"),)).to_line()
    store.put_if_absent(join(folder, "ledger", "000001-00000000.ndjson"), line + line[:20])
    store.put_if_absent(join(folder, "ledger", "000002-00000000.ndjson"), line)
    state = read_state(folder)
    assert state.rows == {("events", "events/part-00000.ndjson.gz"): 10}
    assert state.done == {("events", "events/part-00000.ndjson.gz"): 0b1000}
    assert state.refused["events"] == 1
