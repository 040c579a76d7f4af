"""CPU seconds and peak memory of the resolver: link rows of many units, gathered, resolved, certified.

    python -m benchmarks.bench_resolver --rows 40000000

The links are those of people with one to four profiles and devices, one in twenty devices shared, some of them for
everybody; each is seen about fifteen times, in blocks of --block rows as the units of a run would bring them.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from transforms.currents.catalog import USER_ORPHAN
from transforms.evidence.ids import DEVICE, OWN, PROFILE, USER_ID
from transforms.evidence.links import UnitLinks
from transforms.evidence.sources import Source, pack_source
from transforms.identity.forest import DEVICE_POLICIES, resolve
from transforms.identity.gathering import Gathered
from transforms.identity.graph import undirected
from transforms.identity.invariants import certify

_COLUMNS = {OWN: "external_user_id", PROFILE: "orphaned_by_id", DEVICE: "device_id"}
_YEAR = 365 * 86_400
_HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=40_000_000)
    parser.add_argument("--links", type=int, default=3_600_000, help="drawn: a quarter of them twice")
    parser.add_argument("--block", type=int, default=60_000)
    parser.add_argument("--device_links", choices=DEVICE_POLICIES, default="sole")
    parser.add_argument("--path", type=int, default=0, help="instead: one path of so many orphan links")
    flags = parser.parse_args()
    clock = _Clock()
    parts = _path(flags.path) if flags.path else _parts(flags.links, flags.rows, flags.block, clock)
    graph = clock.timed("gather", lambda: Gathered(parts).graph()[0])
    resolution = clock.timed("resolve", lambda: resolve(undirected(graph), device_links=flags.device_links))
    clock.timed("certify", lambda: certify(resolution.links, resolution.ids))
    figures = {
        "links": len(graph.a),
        "ids": graph.size,
        **{f"{name}_cpu_s": round(seconds, 2) for name, seconds in clock.seconds.items()},
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    }
    print(json.dumps({**figures, **resolution.figures["links"], **resolution.figures["clusters_by_size"]}, indent=1))


class _Clock:
    """CPU seconds by name; what is timed within something else is not that one's."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inner = 0.0

    def timed(self, name: str, work: Callable[[], Any]) -> Any:
        before, self._inner = self._inner, 0.0
        begin = time.process_time()
        result = work()
        spent = time.process_time() - begin
        self.seconds[name] = self.seconds.get(name, 0.0) + spent - self._inner
        self._inner = before + spent
        return result


def _parts(links: int, rows: int, block: int, clock: _Clock) -> Iterator[bytes]:
    """What units of ``block`` rows say, as it travels."""
    rank, a, b = clock.timed("make", lambda: _graph(links))
    blocks = _blocks(rank, a, b, rows, block)
    for number in range(-(-rows // block)):
        table = clock.timed("make", lambda: next(blocks))
        yield from clock.timed("units", lambda table=table, number=number: _unit(number, table))


def _unit(number: int, rows: pa.Table) -> list[bytes]:
    found = UnitLinks([f"event_type=users.x/date=2024-01-01-00/part-{number:05d}.avro"])
    rank = np.asarray(rows["rank"].combine_chunks())
    for kind in (OWN, PROFILE, DEVICE):
        chosen = np.flatnonzero(rank == kind)
        of_kind = rows.take(pa.array(chosen)).combine_chunks()
        found.add(
            USER_ORPHAN if kind == PROFILE else "users.behaviors.app.SessionStart",
            user_id=of_kind["a"],
            event_id=of_kind["event_id"],
            time=of_kind["time"],
            evidence=np.ones(len(chosen), bool),
            file_index=np.zeros(len(chosen), np.int32),
            unit_row=chosen,
            **{_COLUMNS[kind]: of_kind["b"]},
        )
    ids = found.result(len(rank))
    names = (*ids.names, pa.array([], pa.string()))
    return pack_source(number, Source(names, ids.links, ids.deleted, ids.anonymous, len(ids.names[USER_ID])))


def _graph(links: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """About ``links`` distinct links as (rank, a, b), ids as numbers."""
    rng = np.random.default_rng(1)
    persons = links // 4
    profile_of = np.repeat(np.arange(persons), rng.integers(1, 3, persons))
    profiles = np.arange(len(profile_of))
    known = rng.random(len(profiles)) < 0.6
    orphan = np.flatnonzero((profile_of[1:] == profile_of[:-1]) & (rng.random(len(profiles) - 1) < 0.5))
    device = np.repeat(profiles, rng.integers(1, 3, len(profiles)))
    machine = profile_of[device] * 2 + rng.integers(0, 2, len(device))
    shared = rng.random(len(device)) < 0.05
    machine[shared] = rng.integers(0, persons, int(shared.sum())) ** 2 // persons
    machine[rng.random(len(device)) < 0.001] = 0
    rank = np.repeat([0, 1, 2], [int(known.sum()), len(orphan), len(device)]).astype(np.int8)
    a = np.concatenate((profiles[known], orphan, device))
    b = np.concatenate((profile_of[known], orphan + 1, machine))
    order = rng.permutation(len(rank))[:links]
    return rank[order], a[order], b[order]


def _blocks(rank: np.ndarray, a: np.ndarray, b: np.ndarray, rows: int, block: int) -> Iterator[pa.Table]:
    rng = np.random.default_rng(2)
    for begin in range(0, rows, block):
        size = min(block, rows - begin)
        # The first rows name every link once, so that the number of distinct links is as asked for.
        at = np.arange(begin, begin + size) % len(rank) if begin < len(rank) else rng.integers(0, len(rank), size)
        columns = [
            pa.array(rank[at]),
            _hex(_mix(a[at]), 24),
            _b_names(rank[at], b[at]),
            pa.array(1_700_000_000 + rng.integers(0, _YEAR, size)),
            _hex(rng.integers(0, 2**63, size), 36),
        ]
        yield pa.Table.from_arrays(columns, names=["rank", "a", "b", "time", "event_id"])


def _b_names(rank: np.ndarray, b: np.ndarray) -> pa.Array:
    """User names, 24 hexadecimal characters of profiles, 36 of devices, in the order of the rows."""
    order = np.argsort(rank, kind="stable")
    users, profiles, _ = (int((rank == kind).sum()) for kind in range(3))
    b = b[order]
    parts = [
        pa.concat_arrays([pa.array(np.char.add("user-", b[:users].astype(str)).tolist(), pa.string())]),
        _hex(_mix(b[users : users + profiles]), 24),
        _hex(_mix(b[users + profiles :] + (1 << 40)), 36),
    ]
    back = np.empty(len(order), dtype=np.int64)
    back[order] = np.arange(len(order))
    return pa.concat_arrays(parts).take(pa.array(back))


def _mix(numbers: np.ndarray) -> np.ndarray:
    return numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)


def _hex(numbers: np.ndarray, length: int) -> pa.Array:
    """Each number as ``length`` hexadecimal characters."""
    shifts = (np.arange(length, dtype=np.uint64) * np.uint64(4)) % np.uint64(64)
    digits = (numbers.astype(np.uint64)[:, None] >> shifts) & np.uint64(15)
    offsets = np.arange(len(numbers) + 1, dtype=np.int32) * length
    text = np.ascontiguousarray(_HEX[digits])
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(text))


def _path(length: int) -> Iterator[bytes]:
    """One path of orphan links in random order of time, a known user at each end."""
    rng = np.random.default_rng(3)
    names = _hex(_mix(np.arange(length + 1)), 24)
    a = pa.concat_arrays([names[:1], names[-1:], names[:-1]])
    b = pa.concat_arrays([pa.array(["first", "last"]), names[1:]])
    times = pa.array(np.concatenate(([0, 0], rng.permutation(length))))
    rank = pa.array(np.concatenate(([OWN, OWN], np.full(length, PROFILE))).astype(np.int8))
    empty = pa.array([""] * (length + 2))
    yield from _unit(0, pa.Table.from_arrays([rank, a, b, times, empty], ["rank", "a", "b", "time", "event_id"]))


if __name__ == "__main__":
    main()
