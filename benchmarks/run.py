"""Measures the job, the shortest loop by hand and a polars script on the same exports, in one run.

    python -m benchmarks.run                           # all: samples of 300,000 to 3,000,000 rows, six types
    python -m benchmarks.run --rows 300000 --repeat 3 --only job-1 loop
    python -m benchmarks.run --rows 300000 --profile   # where the job's seconds and memory go

Each contender is a process of its own, measured from its start to its end, its children included. Prints a table in
Markdown and writes results.json into the work folder.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import pyarrow.parquet
from isal import igzip

from benchmarks.exports import ROOT, Export, make, make_six_types
from benchmarks.figures import HALF_ROWS, SIX_TYPES, TARGET_ROWS, Result, machine, table, targets
from benchmarks.measure import Usage, measure

WORK = ROOT / "benchmarks/work"
CONTENDERS = ("job-1", "job-2", "loop", "polars")
_MODULES = {"loop": "benchmarks.loop", "polars": "benchmarks.polars_script"}
_JOB = "pipelines.currents_to_mixpanel"


def main(argv: Sequence[str] | None = None) -> int:
    flags = _parser().parse_args(argv)
    work = flags.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if flags.profile:
        for rows in flags.rows:
            _profile(make(work, rows), work)
        return 0
    rows = sorted({*flags.rows, *([HALF_ROWS] if TARGET_ROWS in flags.rows else [])})
    plans = [(make(work, count), _contenders(flags.only, count, flags.rows)) for count in rows]
    if flags.many_files:
        plans.insert(1, (make(work, flags.many_files, many_files=True), list(flags.only)))
    plans += [(make_six_types(work, *asked), list(flags.only)) for asked in flags.six_types]
    plans += [(make_six_types(work, *asked), ["job-1"]) for asked in flags.large]
    host = machine(ROOT)
    results = [result for export, names in plans for result in _compare(export, names, flags.repeat, work)]
    text = "\n".join([host["text"], "", *table(results), "", *targets(results)])
    print(text)
    found = {"machine": host, "results": [dataclasses.asdict(result) for result in results]}
    (work / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    return 0


def _contenders(only: Sequence[str], rows: int, asked: Sequence[int]) -> list[str]:
    """All that are asked for; of rows that only the memory's growth is told by, the job."""
    return [name for name in only if rows in asked or name.startswith("job")]


def _compare(export: Export, contenders: Sequence[str], repeat: int, work: Path) -> list[Result]:
    """Contenders take turns, so that what else the machine does meets all of them."""
    runs: dict[str, list[tuple[Usage, Result]]] = {name: [] for name in contenders}
    for turn in range(repeat):
        for name in contenders:
            print(f"{export.name}, {name}, {turn + 1} of {repeat}", file=sys.stderr, flush=True)
            runs[name].append(_run(export, name, work))
    results = []
    for found in runs.values():
        usages = [usage for usage, _ in found]
        middle = Usage(*(median(values) for values in zip(*map(dataclasses.astuple, usages), strict=True)))
        results.append(dataclasses.replace(found[0][1], usage=middle, runs=usages))
    return results


def _run(export: Export, name: str, work: Path) -> tuple[Usage, Result]:
    folder = work / "output"
    shutil.rmtree(folder, ignore_errors=True)
    output = folder if name.startswith("job") else folder / "lines.ndjson.gz"
    output.parent.mkdir(parents=True, exist_ok=True)
    usage = measure(_command(export, name, output), work / f"{name}.log", ROOT)
    files = sorted((folder / "events").glob("*.gz")) if output == folder else [output]
    lines = sum(_lines(path) for path in files)
    report = json.loads((folder / "report.json").read_bytes()) if output == folder else {}
    expected = report["rows"]["events"] if report else export.rows
    if lines != expected or (report and report["rows"]["read"] != export.rows):
        raise SystemExit(f"{name} wrote {lines} lines of {export.name}, and [{expected}] were to be written")
    identities = sorted((folder / "identities").glob("*.parquet"))
    result = Result(
        export=export,
        contender=name,
        usage=usage,
        runs=[usage],
        lines=lines,
        output_bytes=sum(path.stat().st_size for path in files),
        id_table_bytes=sum(pyarrow.parquet.read_table(path).nbytes for path in identities),
        report={key: report[key] for key in ("rows", "timing") if report},
    )
    shutil.rmtree(folder)
    return usage, result


def _command(export: Export, name: str, output: Path) -> list[str]:
    if name in _MODULES:
        return [sys.executable, "-m", _MODULES[name], export.folder, str(output)]
    workers = name.rpartition("-")[2]
    return [sys.executable, "-m", _JOB, "--input", export.folder, "--output", str(output), "--workers", workers]


def _lines(path: Path) -> int:
    with igzip.open(path, "rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def _profile(export: Export, work: Path) -> None:
    folder = work / "output"
    shutil.rmtree(folder, ignore_errors=True)
    flags = ["--input", export.folder, "--output", str(folder), "--workers", "1"]
    print(f"\n## {export.rows:,} rows in {export.files:,} files, one process\n", flush=True)
    subprocess.run([sys.executable, "-m", "benchmarks.profile_job", str(export.rows), *flags], cwd=ROOT, check=True)
    shutil.rmtree(folder)


def _rows_and_users(text: str) -> tuple[int, int]:
    rows, users = map(int, text.split(":"))
    return rows, users


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[300_000, TARGET_ROWS], metavar="N")
    parser.add_argument(
        "--many_files",
        type=int,
        default=300_000,
        metavar="N",
        help="rows of the export in small files, 0: leave it out (default %(default)s)",
    )
    parser.add_argument(
        "--six_types",
        type=_rows_and_users,
        nargs="*",
        default=[SIX_TYPES],
        metavar="N:USERS",
        help="exports of six event types and very many people (default %(default)s)",
    )
    parser.add_argument(
        "--large",
        type=_rows_and_users,
        nargs="*",
        default=[],
        metavar="N:USERS",
        help="more of those, which the job alone reads, in one process: for what memory follows",
    )
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="medians of N runs (default %(default)s)")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="CONTENDER")
    parser.add_argument("--work", type=Path, default=WORK, metavar="DIR", help="exports, logs, results.json")
    parser.add_argument("--profile", action="store_true", help="instead: where the job's seconds and memory go")
    return parser


if __name__ == "__main__":
    sys.exit(main())
