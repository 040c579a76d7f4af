"""Steps in this process, directed by a job server: local files may be used, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.commands.several_units import Source, published, run
from tests.servers.small_cluster import ended, job_server, submit, wait_for
from tests.servers.tools import require
from transforms.output.publication import MANIFEST

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def test_prism_with_the_steps_in_this_process_publishes_the_same(undisturbed: Source, tmp_path: Path) -> None:
    source, expected = undisturbed
    prism = require("prism")
    job = submit(tmp_path, source, tmp_path / "out", "--runner=PrismRunner", f"--prism_location={prism}")
    status, out, error = ended(job)
    assert (status, error) == (0, "")
    assert published(tmp_path / "out") == expected
    assert out.splitlines()[0].startswith("job        job-001")
    assert not list((tmp_path / "submitter").iterdir())
    assert not processes_of(job.pid)


def test_a_job_goes_on_where_nobody_reads_what_is_said_of_it(undisturbed: Source, tmp_path: Path) -> None:
    place = ("--runner=PrismRunner", f"--prism_location={require('prism')}")
    job = submit(tmp_path, undisturbed[0], tmp_path / "out", *place)
    assert job.stdout is not None
    job.stdout.close()  # as of head, which has read enough
    assert job.stderr is not None
    assert (job.stderr.read(), job.wait(240)) == ("", 0)
    assert published(tmp_path / "out") == undisturbed[1]


def test_many_shards_give_the_same_as_on_the_direct_runner(undisturbed: Source, tmp_path: Path) -> None:
    shards = "from transforms import settings\nsettings._BYTES_A_SHARD = settings._BYTES_AN_ID_SHARD = 40_000\n"
    found = []
    for name, flags in {
        "direct": (),
        "prism": ("--runner=PrismRunner", f"--prism_location={require('prism')}"),
    }.items():
        job = submit(tmp_path, undisturbed[0], tmp_path / name, *flags, patch=shards)
        assert ended(job)[0] == 0
        found.append(published(tmp_path / name))
    assert not [path for path in found[0] if path.startswith("profiles/part-00000")]  # they were cut in shards
    assert found[0] == found[1]


def test_steps_that_fail_here_are_told_of_once(undisturbed: Source, tmp_path: Path) -> None:
    place = ("--runner=PrismRunner", f"--prism_location={require('prism')}", "--max_reject_share=0")
    status, _, error = ended(submit(tmp_path, undisturbed[0], tmp_path / "out", *place))
    assert status == 4
    assert error.startswith("currents-to-mixpanel: 9.62% of 104 rows are rejected or lost")
    assert error.count("--max_reject_share") == 1
    assert "Traceback" not in error
    assert "(the job is" not in error  # there is nowhere else to look


def processes_of(group: int) -> str:
    """The processes of a group that is to be gone, for a message."""
    told = subprocess.run(["ps", "-o", "pid=,args=", "-g", str(group)], capture_output=True, text=True, check=False)
    return told.stdout


_QUIET = """
import logging
logging.disable(logging.CRITICAL)
"""
_UNHURRIED = f"""{_QUIET}
import transforms.format_events
_at_once = transforms.format_events.publish_file
def slowly(*arguments):
    written = _at_once(*arguments)
    time.sleep(1.5)
    return written
transforms.format_events.publish_file = slowly
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_with_its_own_job_server_leaves_nothing_behind(
    number: int, undisturbed: Source, tmp_path: Path
) -> None:
    source, expected = undisturbed
    place = ("--runner=PrismRunner", f"--prism_location={require('prism')}")
    job = submit(tmp_path, source, tmp_path / "out", *place, patch=_UNHURRIED)
    wait_for(lambda: list((tmp_path / "out").glob("events/*.gz")), 120, "the first shard")
    os.kill(job.pid, number)
    status, _, error = ended(job, 60)
    assert status == 130, error
    assert error.count("\n") == 1
    assert "interrupted: the job is cancelled, nothing is published" in error
    assert not (tmp_path / "out" / MANIFEST).exists()
    assert not processes_of(job.pid)
    assert not list((tmp_path / "submitter").iterdir())

    status, _, error = ended(submit(tmp_path, source, tmp_path / "out", *place))
    assert (status, error) == (0, "")
    assert published(tmp_path / "out") == expected


@pytest.mark.usefixtures("small_units")
def test_a_job_server_that_dies_is_not_waited_for_and_its_job_not_given_up(undisturbed: Source, tmp_path: Path) -> None:
    source, expected = undisturbed
    output = tmp_path / "out"
    with job_server(tmp_path) as server:
        flags = ("--runner=PortableRunner", "--environment_type=LOOPBACK", f"--job_endpoint={server.endpoint}")
        impatient = "import pipelines.launch.remote\npipelines.launch.remote._SILENCE_SECONDS = 2.0\n"
        job = submit(tmp_path, source, output, *flags, patch=_UNHURRIED + impatient)
        wait_for(lambda: list(output.glob("events/*.gz")), 120, "the first shard")
    status, _, error = ended(job, 60)
    assert status == 1
    assert "the job server no longer answers (UNAVAILABLE), and the job may still publish" in error
    assert f"look at {server.endpoint}" in error
    assert error.count("\n") == 1
    assert "failed" not in json.loads((output / "_claim.json").read_bytes())  # the job may go on: it has the folder

    assert run(source, output) == 0
    assert published(output) == expected


def test_a_job_that_only_says_that_it_is_done_is_not_believed(undisturbed: Source, tmp_path: Path) -> None:
    lost = _QUIET + "import pipelines.launch.remote\npipelines.launch.remote.run_elsewhere = lambda *_: True\n"
    job = submit(tmp_path, undisturbed[0], tmp_path / "out", "--runner=PrismRunner", patch=lost)
    status, out, error = ended(job)
    assert (status, out) == (1, "")
    assert "has no _manifest.json of this run although the job ended" in error


def test_an_endpoint_that_is_no_job_server_is_said_in_time(undisturbed: Source, tmp_path: Path) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(8)  # connections are taken, and nothing is ever said
        place = f"--job_endpoint=127.0.0.1:{deaf.getsockname()[1]}"
        began = time.monotonic()
        flags = ("--runner=PortableRunner", "--environment_type=LOOPBACK", place, "--job_server_timeout=3")
        status, _, error = ended(submit(tmp_path, undisturbed[0], tmp_path / "out", *flags))
    assert status == 1
    assert time.monotonic() - began < 30
    assert "is not a job server" in error
    assert error.count("\n") == 1
    assert json.loads((tmp_path / "out" / "_claim.json").read_bytes())["failed"]  # the folder is free for another
