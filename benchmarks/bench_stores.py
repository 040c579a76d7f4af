"""How fast object stores are read: many small objects behind latency, few large ones, long listings, and which client.

    python -m benchmarks.bench_stores --stores gs s3 azfs

Against the tests' emulators on this machine (``tools/install_test_tools.sh`` installs them): servers and clients share
the cores, so rows compare and absolutes do not. What is not installed is left out with a line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.figures import machine
from benchmarks.latency import delay
from benchmarks.long_listing import listed
from benchmarks.store_clients import CLIENTS, Client, emulator
from tests.servers.emulators import Emulator
from transforms.stores.prefetch import read_all
from transforms.stores.store import Entry, join, store_for

ROOT = Path(__file__).resolve().parents[1]
SMALL, SMALL_BYTES, LATENCY = 5_000, 5_000, 0.03
LARGE = (60_000_000, 60_000_000, 60_000_000, 20_000_000)
LISTED = 100_000
TIMES_FASTER, SHARE_OF_CLIENT, LISTING_BYTES = 15.0, 0.7, 200_000_000
CONCURRENCY = 32


class Row(NamedTuple):
    """A line of the table: what was done, with what, and what it took."""

    store: str
    what: str
    client: str
    wall_s: float
    cpu_s: float
    figure: str


def main() -> int:
    flags = _flags()
    found = machine(ROOT)
    print(found["text"], flush=True)
    rows: list[Row] = []
    verdicts: list[str] = []
    for scheme in flags.stores:
        with contextlib.ExitStack() as stack:
            try:
                server = stack.enter_context(emulator(scheme))
            except LookupError as error:
                print(f"- {scheme}: left out, {error}", flush=True)
                continue
            with server.applied():
                url = server.url("bench")
            for part in (_small, _large, _listing):
                if part.__name__[1:] in flags.parts:
                    part(server, url, flags, rows, verdicts)
    print("\n| store | what | client | wall s | CPU s of the client | figure |\n|---|---|---|---:|---:|---|")
    for row in rows:
        print(f"| {row.store} | {row.what} | {row.client} | {row.wall_s:.2f} | {row.cpu_s:.2f} | {row.figure} |")
    print("\n" + "\n".join(verdicts))
    if flags.json:
        Path(flags.json).write_text(
            json.dumps({"machine": found, "rows": [row._asdict() for row in rows], "targets": verdicts}, indent=1)
        )
    return 0


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stores", nargs="+", default=["gs", "s3", "azfs"], choices=["gs", "s3", "azfs"])
    parser.add_argument("--parts", nargs="+", default=["small", "large", "listing"])
    parser.add_argument("--small", type=int, default=SMALL, help="objects of 5 KB")
    parser.add_argument("--serially", type=int, default=500, help="of those, read one after the other")
    parser.add_argument("--listed", type=int, default=LISTED, help="objects to list")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", help="a file for all figures")
    return parser.parse_args()


def _small(server: Emulator, url: str, flags: argparse.Namespace, rows: list[Row], verdicts: list[str]) -> None:
    """Many small objects behind latency: one after the other, and many at once."""
    folder = join(url, "small")
    with server.applied():
        entries = _fill(folder, flags.small, os.urandom(SMALL_BYTES))
    with delay(server.host, server.port, LATENCY) as port, server.applied(server.with_endpoint(server.host, port)):
        store = store_for(folder)
        list(read_all(entries, CONCURRENCY))  # connections are made, and answers remembered
        few = entries[: flags.serially]
        slow = _measured(lambda: [store.read(entry) for entry in few])
        fast = _measured(lambda: sum(map(len, read_all(entries, CONCURRENCY))))
    one, all_at_once = slow[0] / len(few), fast[0] / len(entries)
    what = f"5 KB objects, {LATENCY * 1000:.0f} ms away"
    rows.append(Row(server.scheme, what, f"{len(few):,} one by one", *slow, f"{one * 1000:.1f} ms each"))
    rows.append(Row(server.scheme, what, f"{len(entries):,} by read_all", *fast, f"{all_at_once * 1000:.2f} ms each"))
    times = one / all_at_once
    text = f"{server.scheme}: small objects read {times:.1f} times as fast as one after the other"
    verdicts.append(_verdict(times >= TIMES_FASTER, text, f"{TIMES_FASTER:g}"))


def _large(server: Emulator, url: str, flags: argparse.Namespace, rows: list[Row], verdicts: list[str]) -> None:
    """Few large objects through the job's store, and through each client as its manual has it."""
    folder = join(url, "large")
    with server.applied():
        store = store_for(folder)
        for number, size in enumerate(LARGE):
            store.put(join(folder, f"{number}.avro"), os.urandom(size))
        entries = list(store.list(folder))
        best: dict[str, tuple[float, float]] = {}
        ours = Client("read_all of this project", lambda: lambda entry: b"", own=True)
        for _ in range(flags.repeat):
            for client in (ours, *CLIENTS[server.scheme]):
                try:
                    took = _measured(_reading(client, entries))
                except ImportError as error:
                    print(f"- {server.scheme}: {client.name} left out, {error}", flush=True)
                    continue
                best[client.name] = min(took, best.get(client.name, took))
        few = _fill(join(url, "few"), 300, os.urandom(1_000))
        for name, took in best.items():
            client = next(each for each in (ours, *CLIENTS[server.scheme]) if each.name == name)
            each = _measured(_reading(client, few, concurrency=1))[0] / len(few)
            speed = sum(LARGE) / took[0] / 1e6
            figure = f"{speed:.0f} MB/s, {took[1] / (sum(LARGE) / 1e9):.2f} CPU s/GB; 1 KB objects {each * 1000:.1f} ms"
            rows.append(Row(server.scheme, f"{sum(LARGE) / 1e6:.0f} MB in {len(LARGE)} objects", name, *took, figure))
    plain = next((each.name for each in CLIENTS[server.scheme] if each.plain and each.name in best), None)
    if plain is not None:
        share = best[plain][0] / best[ours.name][0]
        text = f"{server.scheme}: large objects at {share:.0%} of what {plain} gets"
        verdicts.append(_verdict(share >= SHARE_OF_CLIENT, text, f"{SHARE_OF_CLIENT:.0%}"))


def _listing(server: Emulator, url: str, flags: argparse.Namespace, rows: list[Row], verdicts: list[str]) -> None:
    """A long listing in a fresh process: its seconds, and how much its memory grows."""
    count, folder = flags.listed, join(url, "listed")
    with listed(count) as port, server.applied(server.with_endpoint("127.0.0.1", port)):
        done = subprocess.run(
            [sys.executable, "-c", _LIST, folder], cwd=ROOT, capture_output=True, text=True, check=True
        )
    found = json.loads(done.stdout)
    assert found["count"] == count, found
    grown = found["grown"]
    figure = f"{grown / 1e6:.0f} MB more at the peak, {count / found['wall_s']:,.0f} names/s"
    rows.append(Row(server.scheme, f"{count:,} objects listed", "Store.list", found["wall_s"], found["cpu_s"], figure))
    text = f"{server.scheme}: listing {count:,} objects takes {grown / 1e6:.0f} MB"
    verdicts.append(_verdict(grown < LISTING_BYTES, text, f"below {LISTING_BYTES / 1e6:.0f} MB"))


_LIST = """
import json, sys, time
from transforms.stores.store import store_for
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024
store = store_for(sys.argv[1])
next(store.list(sys.argv[1]))
before, wall, cpu = peak(), time.perf_counter(), time.process_time()
count = sum(1 for _ in store.list(sys.argv[1]))
print(json.dumps({"count": count, "grown": peak() - before, "wall_s": time.perf_counter() - wall,
                  "cpu_s": time.process_time() - cpu}))
"""


def _reading(client: Client, entries: list[Entry], concurrency: int = CONCURRENCY) -> Callable[[], Any]:
    """What reads all of the entries with a client, one after the other unless it is the job's own way."""
    if client.own:
        return lambda: sum(map(len, read_all(entries, concurrency)))
    read = client.open()
    return lambda: sum(len(read(entry)) for entry in entries)


def _fill(folder: str, count: int, data: bytes) -> list[Entry]:
    store = store_for(folder)
    names = [join(folder, f"date=2026-01-{1 + number % 28:02}/{number:07}.avro") for number in range(count)]
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda name: store.put(name, data), names):
            pass
    return list(store.list(folder))


def _measured(act: Callable[[], Any]) -> tuple[float, float]:
    """(Wall seconds, CPU seconds of this process)."""
    wall, cpu = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - wall, time.process_time() - cpu


def _verdict(reached: bool, text: str, target: str) -> str:
    return f"- {'reached' if reached else 'NOT reached'}: {text} (target: {target})"


if __name__ == "__main__":
    sys.exit(main())
