"""Workers on a host of their own, which sees nothing of the submitter's disk and network but what it is given."""

from __future__ import annotations

import os
from pathlib import Path

from tests.clusters.test_cluster import Cluster, comparable
from tests.commands.several_units import Source
from tests.commands.whole_run import ROOT
from tests.servers.emulators import Emulator, upload
from tests.servers.isolated_workers import network_of, pool_on_own_host, sees
from tests.servers.small_cluster import ended, job_server, project
from tests.servers.tools import TOOLS


def test_workers_that_see_nothing_of_this_disk_publish_the_same_bytes(
    tmp_path: Path, gcs: Emulator, undisturbed: Source
) -> None:
    source, output = gcs.url("export"), gcs.url("output")
    with gcs.applied():
        upload(undisturbed[0], source)
    for name in ("server", "workers"):
        (tmp_path / name).mkdir()
    with (
        job_server(tmp_path / "server") as server,
        pool_on_own_host(tmp_path / "workers", gcs.environment, [server.port, gcs.port]) as workers,
    ):
        assert network_of(workers) != os.readlink("/proc/self/ns/net")
        for place in (ROOT / "setup.py", ROOT / "transforms", undisturbed[0], tmp_path, Path("/root/.bashrc")):
            assert not sees(workers, place), place
        assert sees(workers, TOOLS / "worker" / "bin" / "python")  # the interpreter's packages, in their own place

        cluster = Cluster(server, workers, gcs, tmp_path, source, output)
        status, out, error = ended(cluster.command(setup=project(tmp_path / "project")))
        log = workers.log.read_text(errors="replace")[-3000:]
        assert (status, error) == (0, ""), log
        assert out.splitlines()[-1].endswith("report.html")
        assert cluster.published() == comparable(undisturbed[1])
