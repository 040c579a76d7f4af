"""A cluster in small: Prism apart from the workers, workers without this program, data in an object store.

The same bytes as in one process, whatever happens to the job on its way.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.commands.several_units import Source, published
from tests.servers.emulators import Emulator, download, upload
from tests.servers.small_cluster import (
    UNHURRIED,
    JobServer,
    Pool,
    ended,
    job_server,
    pool,
    project,
    submit,
    wait_for,
    wheel_of,
)
from transforms.output.publication import MANIFEST
from transforms.stores.store import join, store_for


@dataclasses.dataclass
class Cluster:
    """A job server, its workers, and a bucket with the export of ``undisturbed`` in it."""

    server: JobServer
    pool: Pool
    emulator: Emulator
    folder: Path
    source: str
    output: str

    def command(self, *more: str, setup: Path | None = None, output: str | None = None) -> subprocess.Popen[str]:
        """Submit the job as a process of its own."""
        flags = [
            "--runner=PortableRunner",
            f"--job_endpoint={self.server.endpoint}",
            "--environment_type=EXTERNAL",
            f"--environment_config={self.pool.address}",
            *([f"--setup_file={setup}"] if setup else []),
            *more,
        ]
        return submit(self.folder, self.source, output or self.output, *flags, environment=self.emulator.environment)

    def has(self, path: str) -> bool:
        with self.emulator.applied():
            return store_for(self.output).get(join(self.output, path)) is not None

    def parts(self) -> int:
        """How many shards of events stand in the output."""
        with self.emulator.applied():
            return len(list(store_for(self.output).list(join(self.output, "events"))))

    def published(self) -> dict[str, Any]:
        """All that the promise of equal bytes is about."""
        folder = self.folder / f"downloaded-{time.monotonic_ns()}"
        with self.emulator.applied():
            download(self.output, folder)
        return comparable(published(folder))


def comparable(files: dict[str, Any]) -> dict[str, Any]:
    """A claim is of the versions of the input too, which each store counts in its own way."""
    return {name: content for name, content in files.items() if name != "claim"}


@pytest.fixture
def cluster(request: pytest.FixtureRequest, tmp_path: Path, undisturbed: Source) -> Iterator[Cluster]:
    store: Emulator = request.getfixturevalue(getattr(request, "param", "gcs"))
    source, output = store.url("export"), store.url("output")
    with store.applied():
        upload(undisturbed[0], source)
    for name in ("server", "workers"):
        (tmp_path / name).mkdir()
    with job_server(tmp_path / "server") as server, pool(tmp_path / "workers", store.environment) as workers:
        yield Cluster(server, workers, store, tmp_path, source, output)


def test_workers_elsewhere_publish_the_bytes_of_one_process(cluster: Cluster, undisturbed: Source) -> None:
    _, expected = undisturbed
    # The pool lacks this program: whoever says otherwise hears of it, from the job.
    status, _, error = ended(cluster.command("--prepared_workers"))
    assert status == 1
    assert "No module named 'transforms'" in error
    assert not cluster.has(MANIFEST)

    status, out, error = ended(cluster.command(setup=project(cluster.folder / "project")))
    assert (status, error) == (0, "")
    assert cluster.published() == comparable(expected)
    lines = out.splitlines()
    assert lines[0].startswith("job        job-002")
    assert lines[1] == f"look at it {cluster.server.endpoint}"
    assert lines[2].startswith("read       104 rows in 31 files")
    assert lines[-1].endswith("report.html")
    report = json.loads(downloaded(cluster, "report.json"))
    assert report["flags"]["runner"] == "PortableRunner"
    assert report["flags"]["job_endpoint"] == cluster.server.endpoint
    assert report["timing"]["peak_memory_bytes"] > 50e6  # the workers', whose processes were not the submitter's
    assert report["rows"]["read"] == 104

    # Finished is finished, as anywhere.
    status, _, error = ended(cluster.command("--prepared_workers"))
    assert status == 2
    assert "holds a finished run" in error


@pytest.mark.parametrize("cluster", ["s3", "azure"], indirect=True)
def test_workers_find_the_credentials_of_other_stores_themselves(cluster: Cluster, undisturbed: Source) -> None:
    status, _, error = ended(cluster.command(setup=project(cluster.folder / "project")))
    assert (status, error) == (0, "")
    assert cluster.published() == comparable(undisturbed[1])
    said = cluster.server.log.read_text() + cluster.pool.log.read_text() + downloaded(cluster, "report.json").decode()
    for name, value in cluster.emulator.environment.items():
        if re.search("SECRET|CONNECTION_STRING", name) and value != "test":
            assert value not in said, f"{name} was logged"


def downloaded(cluster: Cluster, path: str) -> bytes:
    with cluster.emulator.applied():
        content = store_for(cluster.output).get(join(cluster.output, path))
    assert content is not None
    return content


def test_a_worker_killed_in_the_middle_fails_the_job_and_the_same_command_finishes_it(
    cluster: Cluster, undisturbed: Source
) -> None:
    # Longer than the job server may take to answer: that is not about the job.
    job = cluster.command("--job_server_timeout=6", setup=project(cluster.folder / "slow", UNHURRIED))
    wait_for(cluster.parts, 180, "the first shard")
    for worker in cluster.pool.workers():
        worker.kill()
    status, out, error = ended(job)
    assert status == 1, error
    assert error.startswith("currents-to-mixpanel: ")
    assert "the job is FAILED" in error
    assert f"look at {cluster.server.endpoint}" in error
    assert error.count("\n") == 1
    assert "read " not in out
    assert cluster.parts()
    assert not cluster.has(MANIFEST)

    status, _, error = ended(cluster.command(setup=project(cluster.folder / "project")))
    assert (status, error) == (0, "")
    assert cluster.published() == comparable(undisturbed[1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_submitter_cancels_its_job(number: int, cluster: Cluster, undisturbed: Source) -> None:
    job = cluster.command(setup=project(cluster.folder / "slow", UNHURRIED))
    wait_for(cluster.parts, 180, "the first shard")
    os.kill(job.pid, number)
    began = time.monotonic()
    status, _, error = ended(job, 60)
    assert status == 130
    assert time.monotonic() - began < 40
    assert "interrupted: the job is cancelled, nothing is published" in error
    assert f"look at {cluster.server.endpoint}" in error
    assert error.count("\n") == 1
    assert set(cluster.server.states()) <= {"CANCELLED"}
    assert not cluster.has(MANIFEST)

    status, _, error = ended(cluster.command(setup=project(cluster.folder / "project")))
    assert (status, error) == (0, "")
    assert cluster.published() == comparable(undisturbed[1])


def test_a_submitter_that_does_not_wait_may_go_away(cluster: Cluster, undisturbed: Source) -> None:
    package = wheel_of(project(cluster.folder / "slow", UNHURRIED))
    status, out, error = ended(cluster.command("--no_wait", f"--extra_package={package}"))
    assert (status, error) == (0, "")
    assert out.splitlines()[0].startswith("job        job-001")
    assert "nothing is published yet" in out
    assert not cluster.has(MANIFEST)
    wait_for(lambda: cluster.has(MANIFEST), 240, "the manifest")
    assert cluster.published() == comparable(undisturbed[1])


def test_a_job_that_refuses_to_publish_says_why(cluster: Cluster) -> None:
    setup = project(cluster.folder / "project")
    status, out, error = ended(cluster.command("--max_reject_share=0", setup=setup))
    assert status == 4, out
    assert "9.62% of 104 rows are rejected or lost, more than --max_reject_share 0 allows" in error
    assert re.search(r"\n  time_invalid: \d+, e\.g\. \S+\.avro row \d+: ", error)
    assert error.endswith(f"(the job is FAILED; look at {cluster.server.endpoint})\n")
    assert not cluster.has(MANIFEST)
    assert cluster.server.states() == ["FAILED"]
