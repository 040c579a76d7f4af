"""What a delivery would send: requests, bytes, time at the limits, events and persons by month, attributes."""

from __future__ import annotations

import collections
import dataclasses
import datetime
from typing import Any

import numpy as np
import orjson

from transforms.currents.catalog import FREE_EVENTS
from transforms.delivery.batches import cut, pieces
from transforms.delivery.delivered_run import DeliveredRun
from transforms.delivery.gate import BYTES_A_SECOND
from transforms.delivery.ledger import State

_MERGE_AT = 1 << 18


class Distinct:
    """How many different ids there were, by their hashes: eight bytes an id."""

    def __init__(self) -> None:
        self._known = np.empty(0, np.int64)
        self._new: set[int] = set()

    def add(self, name: str) -> None:
        self._new.add(hash(name))
        if len(self._new) >= _MERGE_AT:
            self._merge()

    def __len__(self) -> int:
        self._merge()
        return len(self._known)

    def _merge(self) -> None:
        self._known = np.union1d(self._known, np.fromiter(self._new, np.int64, len(self._new)))
        self._new = set()


@dataclasses.dataclass
class Month:
    events: int = 0
    events_not_free: int = 0
    persons: Distinct = dataclasses.field(default_factory=Distinct)
    persons_not_free: Distinct = dataclasses.field(default_factory=Distinct)


def forecast(
    run: DeliveredRun, kinds: tuple[str, ...], limits: dict[str, tuple[int, int]], state: State, rate: float
) -> dict[str, Any]:
    """The figures of a delivery of these kinds; ``limits`` are (events, bytes) of a batch."""
    told: dict[str, Any] = {}
    seconds = 0.0
    for kind in ("events", "profiles"):
        known = sum(rows for (one, _), rows in state.rows.items() if one == kind)
        found = {"in_run": run.rows(kind), "acknowledged": known - state.refused[kind], "refused": state.refused[kind]}
        left = {"to_send": 0, "requests": 0, "bytes": 0}
        for file in run.files[kind] if kind in kinds else ():
            done = state.done.get((kind, file.path), 0)
            for batch in cut(pieces(run.read(file), file.path), file.path, *limits[kind]):
                if not done >> batch.ordinal & 1:
                    left["to_send"] += batch.rows
                    left["requests"] += 1
                    left["bytes"] += len(batch.lines)
        told[kind] = {**found, **left}
        seconds += max(left["to_send"] / rate, left["bytes"] / BYTES_A_SECOND)
    return {**told, "requests": sum(told[kind]["requests"] for kind in told),
            "bytes": sum(told[kind]["bytes"] for kind in told), "seconds_at_the_limits": round(seconds, 1)}  # fmt: skip


def by_month(run: DeliveredRun) -> dict[str, dict[str, int]]:
    """Events and distinct persons of each UTC month, in all and without the names that are free of MTU charges."""
    months: dict[str, Month] = collections.defaultdict(Month)
    names: dict[int, str] = {}  # day -> month
    for file in run.files["events"]:
        for batch in cut(pieces(run.read(file), file.path), file.path, 2_000, 2_000_000):
            for line in batch.lines.splitlines():
                event = orjson.loads(line)
                properties = event["properties"]
                day = properties["time"] // 86_400
                if day not in names:
                    moment = datetime.datetime.fromtimestamp(day * 86_400, datetime.timezone.utc)
                    names[day] = moment.strftime("%Y-%m")
                month = months[names[day]]
                month.events += 1
                person = properties["distinct_id"]
                is_free = event["event"] in FREE_EVENTS
                month.events_not_free += not is_free
                if person:
                    month.persons.add(person)
                    if not is_free:
                        month.persons_not_free.add(person)
    return {
        name: {
            "events": month.events,
            "persons": len(month.persons),
            "events_not_free": month.events_not_free,
            "persons_not_free": len(month.persons_not_free),
        }
        for name, month in sorted(months.items())
    }


def attributes(run: DeliveredRun) -> dict[str, int]:
    """By attribute the persons whose profile would get it, or lose it."""
    found: collections.Counter[str] = collections.Counter()
    for file in run.files["profiles"]:
        for batch in cut(pieces(run.read(file), file.path), file.path, 2_000, 2_000_000):
            for line in batch.lines.splitlines():
                update = orjson.loads(line)
                for operation in ("$set", "$set_once", "$unset"):
                    found.update(list(update.get(operation, ())))
    return dict(sorted(found.items()))
