"""The benchmark on an export of 2,000 rows: every contender runs, and writes a line a row."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import exports, loop
from benchmarks.measure import CommandFailed, measure
from tests.servers.tools import require_module

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
ROWS = 2_000


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def export(work: Path) -> exports.Export:
    return exports.make(work, ROWS)


def _events(path: Path) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    assert all(set(event) == {"event", "properties"} for event in events)
    return events


def test_loop_writes_a_line_a_row(export: exports.Export, tmp_path: Path) -> None:
    loop.main(export.folder, str(tmp_path / "lines.gz"))
    assert len(_events(tmp_path / "lines.gz")) == export.rows


def test_polars_script_writes_the_loops_events(export: exports.Export, tmp_path: Path) -> None:
    require_module("polars")
    from benchmarks import polars_script

    loop.main(export.folder, str(tmp_path / "loop.gz"))
    polars_script.main(export.folder, str(tmp_path / "polars.gz"))
    of_loop, of_polars = _events(tmp_path / "loop.gz"), _events(tmp_path / "polars.gz")
    assert len(of_polars) == export.rows
    for one, other in zip(of_loop, of_polars, strict=True):
        assert one["event"] == other["event"]
        for name in ("time", "distinct_id"):
            assert one["properties"][name] == other["properties"][name]


def test_run_compares_the_job_with_the_loop(export: exports.Export, work: Path) -> None:
    contenders = ["job-1", "job-2", "loop"]
    flags = ["--rows", str(ROWS), "--many_files", "0", "--six_types", f"{ROWS}:200", "--large", f"{ROWS}:100"]
    flags += ["--work", str(work), "--only", *contenders]
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.run", *flags], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads((work / "results.json").read_text())["results"]
    assert [(each["export"]["name"], each["contender"]) for each in found] == [
        *((name, contender) for name in (str(ROWS), f"six-types-{ROWS}-200") for contender in contenders),
        (f"six-types-{ROWS}-100", "job-1"),
    ]
    results = {result["contender"]: result for result in found[:3]}
    assert set(results) == set(contenders)
    assert results["loop"]["lines"] == export.rows
    assert results["job-1"]["lines"] == results["job-2"]["lines"] == results["job-1"]["report"]["rows"]["events"]
    for result in results.values():
        usage = result["usage"]
        assert usage["cpu_s"] > 0
        assert usage["wall_s"] > 0
        assert usage["peak"] > 1_000_000
        assert usage["largest_process"] > 1_000_000
    assert f"| {export.rows:,} | {export.files:,} | job-1 |" in ended.stdout


def test_a_childs_seconds_and_memory_count(tmp_path: Path) -> None:
    child = (
        "import time; x = bytearray(200_000_000); e = time.process_time() + 0.7\nwhile time.process_time() < e: pass"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    usage = measure([sys.executable, "-c", parent], tmp_path / "log", tmp_path)
    assert usage.cpu_s > 0.7
    assert usage.largest_process > 200_000_000
    assert usage.processes == 2
    assert usage.peak > 200_000_000


def test_a_failing_command_is_shown_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"status 3:\nno such export"):
        measure([sys.executable, "-c", "print('no such export'); exit(3)"], tmp_path / "log", tmp_path)


def test_a_delivery_is_measured_over_tls() -> None:
    require_module("cryptography")
    words = [sys.executable, "-m", "benchmarks.bench_delivery", "--events", "2000", "--repeat", "1", "--forms", "texts"]
    ended = subprocess.run([*words, "--only", "deliver"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    row = ended.stdout.splitlines()[-1].split("|")
    assert row[1].strip() == "`deliver`"
    requests, refused, lost = (int(cell) for cell in row[-4:-1])
    assert (requests, refused, lost) == (10, 0, 0)  # ten files
