"""One export on one machine and on a cluster in small: what a job server, workers apart and a store cost.

    python -m benchmarks.bench_cluster --rows 3000000

The cluster is that of the tests: Prism, a pool of workers that gets the program by ``--setup_file``, a GCS emulator.
All share this machine's cores, so the figures say what the way costs, not what a cluster gains.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks import exports
from tests.servers import emulators
from tests.servers.emulators import Emulator, upload
from tests.servers.small_cluster import job_server, pool, project
from tests.servers.tools import require

WORK = Path(__file__).parent / "work"
MODULE = "pipelines.currents_to_mixpanel"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=3_000_000)
    export = exports.make(WORK, parser.parse_args().rows)
    print(f"{export.rows:,} rows in {export.files:,} files, load before the run {os.getloadavg()[0]:.1f}\n")
    print("| runner | files | workers | s | rows a second |\n|---|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory(prefix="bench-cluster-") as name:
        folder = Path(name)
        for workers in (1, 2):
            _row(
                "DirectRunner", "disk", workers, export.rows, _local(export.folder, folder / f"disk-{workers}", workers)
            )
        port = emulators.free_port()
        server = [require("fake-gcs-server"), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
        with emulators.served([*server, "-backend", "memory", "-log-level", "error"], port, folder / "gcs.log"):
            _on_store(Emulator("gs", "127.0.0.1", port, emulators._gcs_environment), export, folder)


def _on_store(gcs: Emulator, export: exports.Export, folder: Path) -> None:
    source, setup = gcs.url("currents"), project(folder / "project")
    with gcs.applied():
        upload(export.folder, source)
    _row("DirectRunner", "gs", 1, export.rows, _local(source, gcs.url("direct"), 1, gcs.environment))
    for workers in (1, 2):
        place = folder / f"cluster-{workers}"
        place.mkdir()
        with job_server(place) as server, pool(place, gcs.environment) as found:
            words = [
                "--runner=PortableRunner", f"--job_endpoint={server.endpoint}", "--environment_type=EXTERNAL",
                f"--environment_config={found.address}", f"--setup_file={setup}",
                f"--sdk_worker_parallelism={workers}",
            ]  # fmt: skip
            seconds = _seconds(source, gcs.url("cluster"), words, gcs.environment)
        _row("PortableRunner", "gs", workers, export.rows, seconds)


def _local(source: str, output: Path | str, workers: int, environment: Mapping[str, str] | None = None) -> float:
    return _seconds(source, output, [f"--workers={workers}"], environment or {})


def _seconds(source: str, output: Path | str, words: list[str], environment: Mapping[str, str]) -> float:
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", MODULE, f"--input={source}", f"--output={output}", "--max_reject_share=1", *words],
        env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(words)} ended with status {done.returncode}: {done.stderr[-2000:]}")
    return time.perf_counter() - begin


def _row(runner: str, files: str, workers: int, rows: int, seconds: float) -> None:
    print(f"| {runner} | {files} | {workers} | {seconds:.1f} | {rows / seconds:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
