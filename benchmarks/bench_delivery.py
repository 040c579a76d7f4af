"""What a delivery costs: 300,000 events (300 MB) over TLS, each contender on one core, the server on another.

    python -m benchmarks.bench_delivery                       # the command, and the shortest asyncio loop
    python -m benchmarks.bench_delivery --importers           # and the importers that users have, where npm and pip are
    python -m benchmarks.bench_delivery --importers --limit 5000      # against a server that takes so many a second

The contenders take turns, and the table has medians of their runs.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import hashlib
import json
import os
import re
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.delivery_contenders import ROOT, Contender, contenders, environment, install
from tests.commands.deliveries import event, publish
from tests.servers.mixpanel_stand_in import make_certificate

FILES = 10
TEXT = "A text that is much the same in every event, as names of campaigns are: spring sale, second wave"
_TIMED = (
    "import resource, subprocess, sys, time; t = time.time(); c = subprocess.call(sys.argv[1:]); "
    "u = resource.getrusage(resource.RUSAGE_CHILDREN); "
    "print('usage', u.ru_utime + u.ru_stime, time.time() - t, u.ru_maxrss, file=sys.stderr); sys.exit(c)"
)


class Cost(NamedTuple):
    """CPU and wall seconds, and peak resident bytes, of one run; the server's counts of it."""

    cpu: float
    wall: float
    peak: int
    counts: dict[str, int]


def make_run(folder: Path, events: int, form: str) -> Path:
    """A run of so many events of 1 KB: of ``ids`` half of the bytes hardly compress, of ``texts`` nearly all do."""
    share = events // FILES
    made = _with_ids if form == "ids" else _with_texts
    return publish(
        folder,
        {
            f"events/part-{part:05d}.ndjson.gz": [
                event(number, **made(number)) for number in range(part * share, (part + 1) * share)
            ]
            for part in range(FILES)
        },
    )


def _with_ids(number: int) -> dict[str, str]:
    digest = hashlib.sha512(str(number).encode()).hexdigest()
    ids = {f"some_id_{at}": digest[at * 32 : at * 32 + 36] for at in range(4)}
    return {**ids, "campaign_id": digest[:24], **{f"property_{at}": f"{TEXT} {at}" for at in range(5)}}


def _with_texts(number: int) -> dict[str, str]:
    return {f"property_{at}": f"{TEXT} {at}" for at in range(7)}


@contextlib.contextmanager
def server(certificate: Path, key: Path, limit: float, core: int) -> Iterator[int]:
    """The port of a server of another process, on that core."""
    words = [sys.executable, "-m", "benchmarks.delivery_server", str(certificate), str(key), str(limit)]
    process = subprocess.Popen(
        ["taskset", "-c", str(core), *words], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()


def measure(contender: Contender, port: int, certificate: Path, core: int) -> Cost:
    """One run of a contender, its imports included."""
    with tempfile.TemporaryDirectory() as folder:  # where importers leave what they failed to send
        done = subprocess.run(
            ["taskset", "-c", str(core), sys.executable, "-c", _TIMED, *contender.argv],
            cwd=folder, env=environment(contender, certificate), capture_output=True, text=True, check=False,
        )  # fmt: skip
    found = re.search(r"usage ([\d.]+) ([\d.]+) (\d+)", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"{contender.argv[:4]} ended with {done.returncode}: {done.stderr[-2000:]}")
    context = ssl.create_default_context(cafile=str(certificate))
    with urllib.request.urlopen(f"https://127.0.0.1:{port}/counts", context=context) as answer:
        counts = json.load(answer)
    return Cost(float(found[1]), float(found[2]), int(found[3]) * 1024, counts)


def table(costs: dict[str, list[Cost]], events: int) -> list[str]:
    """A line a contender: medians, and the median of its CPU seconds over the loop's of the same turn."""
    lines = [
        "| | CPU s | of the loop's | wall s | a second | a CPU second | peak | requests | refused | lost |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, found in costs.items():
        cpu = statistics.median(one.cpu for one in found)
        wall = statistics.median(one.wall for one in found)
        turns = [one.cpu / loop.cpu for one, loop in zip(found, costs.get("loop", []), strict=False)]
        ratio = f"{statistics.median(turns):.2f}" if turns else ""
        requests, refused = (statistics.median(one.counts[key] for one in found) for key in ("requests", "refused"))
        lost = max(events - one.counts["events"] for one in found)
        lines.append(
            f"| `{name}` | {cpu:.2f} | {ratio} | {wall:.1f} | {events / wall:,.0f} | {events / cpu:,.0f} "
            f"| {max(one.peak for one in found) / 1e6:.0f} MB | {requests:.0f} | {refused:.0f} | {lost:,} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--forms", nargs="+", choices=("ids", "texts"), default=["ids", "texts"])
    parser.add_argument("--importers", action="store_true", help="measure those that users have, too")
    parser.add_argument("--only", nargs="+", help="names of contenders")
    parser.add_argument("--limit", type=float, default=float("inf"), help="events a second that the server takes")
    flags = parser.parse_args()
    if flags.only is None or not all(name.startswith("deliver") for name in flags.only):
        install()
    cores = sorted(os.sched_getaffinity(0))
    work = Path(tempfile.mkdtemp())
    certificate, key = make_certificate(work)
    try:
        for form in flags.forms:
            run = make_run(work / form, flags.events, form)
            size = sum(len(gzip.decompress(path.read_bytes())) for path in (run / "events").iterdir())
            load = psutil.getloadavg()[0]
            print(f"\n{form}: {flags.events:,} events, {size / 1e6:.0f} MB, load before {load:.1f}\n", flush=True)
            costs: dict[str, list[Cost]] = {}
            with server(certificate, key, flags.limit, cores[-1]) as port:
                wanted = {
                    name: contender
                    for name, contender in contenders(run, port, certificate, flags.limit < float("inf")).items()
                    if (name in flags.only if flags.only else flags.importers or not name.startswith("mixpanel"))
                }
                for _ in range(flags.repeat):
                    for name, contender in wanted.items():
                        shutil.rmtree(run / "_delivery", ignore_errors=True)
                        costs.setdefault(name, []).append(measure(contender, port, certificate, cores[0]))
            print("\n".join(table(costs, flags.events)), flush=True)
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
