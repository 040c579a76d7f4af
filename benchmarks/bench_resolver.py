"""CPU seconds and peak memory of the resolver: link rows fed in blocks, made unique, resolved, certified.

    python -m benchmarks.bench_resolver --rows 40000000 --links 2700000

The links are those of people with one to four profiles and devices, one in twenty devices shared, some of them for
everybody; each is seen about fifteen times, in blocks of --block rows as the units of a run would bring them.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from transforms.identity.certificate import certify
from transforms.identity.forest import DEVICE_POLICIES, resolve
from transforms.identity.links import LINKS, NODES, OWN, PROFILE, LinkTable, unique_links

_YEAR = 365 * 86_400
_HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=40_000_000)
    parser.add_argument("--links", type=int, default=2_700_000)
    parser.add_argument("--block", type=int, default=60_000)
    parser.add_argument("--device_links", choices=DEVICE_POLICIES, default="sole")
    parser.add_argument("--path", type=int, default=0, help="instead: one path of so many orphan links")
    flags = parser.parse_args()
    figures: dict[str, float | int | str] = {}
    if flags.path:
        links = _path(flags.path)
    else:
        rank, a, b = _graph(flags.links)
        links = _gather(rank, a, b, flags.rows, flags.block, figures)
    figures["links"] = links.num_rows
    begin = time.process_time()
    resolution = resolve(links, NODES.empty_table(), device_links=flags.device_links)
    figures["resolve_cpu_s"] = round(time.process_time() - begin, 2)
    begin = time.process_time()
    certify(resolution.links, resolution.ids)
    figures["certify_cpu_s"] = round(time.process_time() - begin, 2)
    figures["ids"] = resolution.ids.num_rows
    figures["peak_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)
    print(json.dumps({**figures, **resolution.figures["links"], **resolution.figures["clusters_by_size"]}, indent=1))


def _gather(
    rank: np.ndarray, a: np.ndarray, b: np.ndarray, rows: int, block: int, figures: dict[str, float | int | str]
) -> pa.Table:
    table = LinkTable()
    unique_s = add_s = 0.0
    for rows_of_block in _blocks(rank, a, b, rows, block):
        begin = time.process_time()
        unique = unique_links(rows_of_block)
        middle = time.process_time()
        table.add(unique)
        unique_s += middle - begin
        add_s += time.process_time() - middle
    begin = time.process_time()
    links = table.result()
    add_s += time.process_time() - begin
    figures |= {"rows": rows, "unique_links_cpu_s": round(unique_s, 2), "link_table_cpu_s": round(add_s, 2)}
    return links


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
        number = begin // block
        columns = [
            pa.array(rank[at]),
            _hex(_mix(a[at]), 24),
            _b_names(rank[at], b[at]),
            pa.array(1_700_000_000 + rng.integers(0, _YEAR, size)),
            _hex(rng.integers(0, 2**63, size), 36),
            pa.array([f"event_type=users.x/date=2024-01-01-00/part-{number:05d}.avro"] * size),
        ]
        yield pa.Table.from_arrays(columns, schema=LINKS)


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


def _path(length: int) -> pa.Table:
    """One path of orphan links in random order of time, a known user at each end."""
    rng = np.random.default_rng(3)
    names = _hex(_mix(np.arange(length + 1)), 24)
    a = pa.concat_arrays([names[:1], names[-1:], names[:-1]])
    b = pa.concat_arrays([pa.array(["first", "last"]), names[1:]])
    times = np.concatenate(([0, 0], rng.permutation(length)))
    rank = np.concatenate(([OWN, OWN], np.full(length, PROFILE))).astype(np.int8)
    empty = pa.array([""] * (length + 2))
    return pa.Table.from_arrays([pa.array(rank), a, b, pa.array(times), empty, empty], schema=LINKS)


if __name__ == "__main__":
    main()
