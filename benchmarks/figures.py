"""The comparison's table, and whether the targets are reached."""

from __future__ import annotations

import dataclasses
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psutil

from benchmarks.exports import Export, six_types_name
from benchmarks.measure import Usage

TARGET_ROWS = 3_000_000
HALF_ROWS = 1_500_000
CPU_RATIO = 3.0
SIX_TYPES, SIX_TYPES_RATIO, SIX_TYPES_PEAK = (3_000_000, 300_000), 2.6, 1.0e9
MANY_PEOPLE, MANY_PEOPLE_PEAK = (12_000_000, 1_200_000), 2.0e9
SAME_PEOPLE = (5_000_000, 100_000), (10_000_000, 100_000)
MANY_FILES = "300000-many-files"
WALL_RATIO = 1.6
PEAK_BYTES = {"job-1": 1.2e9, "job-2": 1.5e9}
PEAK_GROWTH = 0.15


@dataclasses.dataclass
class Result:
    """One contender on one export: the medians of its runs, and what it wrote."""

    export: Export
    contender: str
    usage: Usage
    runs: list[Usage]
    lines: int
    output_bytes: int
    id_table_bytes: int
    report: dict[str, Any]


def machine(root: Path) -> dict[str, Any]:
    """What the figures were measured on; the load says whether others used the machine as well."""
    commit = _output(["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=10"])
    found: dict[str, Any] = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "load": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "commit": commit,
    }
    found["text"] = (
        f"{found['processor']}, {found['cores']} cores, {found['memory_bytes'] / 2**30:.0f} GiB, "
        f"load {found['load'][0]} before the run, Python {found['python']}, commit {commit or 'unknown'}"
    )
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _output(command: Sequence[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def table(results: Sequence[Result]) -> list[str]:
    """Markdown; seconds for each 100,000 rows read, and the loop's seconds divided by the contender's."""
    rows = [
        "| rows | files | contender | CPU s / 100,000 | wall s / 100,000 | CPU s | wall s | loop's CPU / its | "
        "loop's wall / its | peak GB | output MB |",
        "|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for result in results:
        export, usage = result.export, result.usage
        loop = _find(results, export.name, "loop")
        hundreds = export.rows / 100_000
        ratios = (
            (f"{loop.usage.cpu_s / usage.cpu_s:.2f}", f"{loop.usage.wall_s / usage.wall_s:.2f}") if loop else ("", "")
        )
        cells = [
            f"{export.rows:,}",
            f"{export.files:,}",
            result.contender,
            f"{usage.cpu_s / hundreds:.2f}",
            f"{usage.wall_s / hundreds:.2f}",
            f"{usage.cpu_s:.1f}",
            f"{usage.wall_s:.1f}",
            *ratios,
            f"{usage.peak / 1e9:.2f}",
            f"{result.output_bytes / 1e6:.0f}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def targets(results: Sequence[Result]) -> list[str]:
    """A line a target of which this run has the figures, reached or not."""
    one, two, loop = (_find(results, str(TARGET_ROWS), name) for name in ("job-1", "job-2", "loop"))
    lines = []
    if one and loop:
        ratio = loop.usage.cpu_s / one.usage.cpu_s
        lines.append(_line(ratio >= CPU_RATIO, f"{ratio:.2f} times fewer CPU seconds than the loop", f"{CPU_RATIO}"))
    if one and two:
        ratio = one.usage.wall_s / two.usage.wall_s
        lines.append(_line(ratio >= WALL_RATIO, f"two workers {ratio:.2f} times as fast as one", f"{WALL_RATIO}"))
    for job in filter(None, (one, two)):
        text = f"{job.contender}: {job.usage.peak / 1e9:.2f} GB at the peak"
        most = PEAK_BYTES[job.contender]
        lines.append(_line(job.usage.peak < most, text, f"below {most / 1e9} GB"))
        half = _find(results, str(HALF_ROWS), job.contender)
        if half:
            growth = (job.usage.peak - job.id_table_bytes) / (half.usage.peak - half.id_table_bytes) - 1
            text = f"{job.contender}: peak at {TARGET_ROWS:,} rows {growth:+.0%} on {HALF_ROWS:,}, id tables apart"
            lines.append(_line(growth <= PEAK_GROWTH, text, f"at most {PEAK_GROWTH:.0%}"))
    return [*lines, *_many_files(results), *_six_types(results)]


def _many_files(results: Sequence[Result]) -> list[str]:
    one, loop = (_find(results, MANY_FILES, name) for name in ("job-1", "loop"))
    if not (one and loop):
        return []
    ratio = one.usage.cpu_s / loop.usage.cpu_s
    return [_line(ratio <= 1, f"{one.export.files:,} files: {ratio:.2f} of the loop's CPU seconds", "no more")]


def _six_types(results: Sequence[Result]) -> list[str]:
    lines = []
    one, loop = (_find(results, six_types_name(*SIX_TYPES), name) for name in ("job-1", "loop"))
    if one and loop:
        ratio = loop.usage.cpu_s / one.usage.cpu_s
        text = f"six types: {ratio:.2f} times fewer CPU seconds than the loop"
        lines.append(_line(ratio >= SIX_TYPES_RATIO, text, f"{SIX_TYPES_RATIO}"))
    for size, most in ((SIX_TYPES, SIX_TYPES_PEAK), (MANY_PEOPLE, MANY_PEOPLE_PEAK)):
        one = _find(results, six_types_name(*size), "job-1")
        if one:
            text = f"{size[0]:,} rows of {size[1]:,} people: {one.usage.peak / 1e9:.2f} GB at the peak"
            lines.append(_line(one.usage.peak < most, text, f"below {most / 1e9} GB"))
    half, whole = (_find(results, six_types_name(*size), "job-1") for size in SAME_PEOPLE)
    if half and whole:
        growth = whole.usage.peak / half.usage.peak - 1
        text = f"peak at {whole.export.rows:,} rows {growth:+.0%} on {half.export.rows:,} rows of the same people"
        lines.append(_line(growth <= PEAK_GROWTH, text, f"at most {PEAK_GROWTH:.0%}"))
    return lines


def _line(reached: bool, text: str, target: str) -> str:
    return f"- {'reached' if reached else 'NOT reached'}: {text} (target: {target})"


def _find(results: Sequence[Result], export: str, contender: str) -> Result | None:
    return next((r for r in results if r.export.name == export and r.contender == contender), None)
