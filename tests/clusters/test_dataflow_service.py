"""Submitted to a stand-in of the Dataflow service: what the command says and its exit status for each end of a job."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from apache_beam.runners.dataflow import dataflow_runner

from pipelines import currents_to_mixpanel as command
from tests.commands.dataflow_flags import PROJECT, REGION, environment, flags
from tests.commands.several_units import FLAGS, write_source
from tests.commands.whole_run import MODULE, ROOT
from tests.servers.dataflow_stand_in import JOB, StandIn, stand_in
from tests.servers.emulators import Emulator, upload
from tests.servers.small_cluster import project, wait_for
from transforms.stores.store import join, store_for

CONSOLE = f"https://console.cloud.google.com/dataflow/jobs/{REGION}/{JOB}?project={PROJECT}"


@dataclasses.dataclass(frozen=True)
class Cloud:
    """An emulator with an export in it, and this program's package for the workers."""

    gcs: Emulator
    environment: dict[str, str]
    source: str
    setup_file: Path

    def command(self, output: str, service: StandIn, *more: str) -> list[str]:
        """The command line of a submission."""
        given = [f"--input={self.source}", f"--output={output}", *FLAGS, f"--dataflow_endpoint={service.endpoint}"]
        return [*given, *flags(self.gcs.url(), self.setup_file), *more]

    def holds(self, output: str, name: str) -> bool:
        """Whether a file is in the output, as a reader sees it."""
        return store_for(join(output, name)).get(join(output, name)) is not None


@pytest.fixture(scope="module")
def prepared(gcs: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Cloud:
    folder = tmp_path_factory.mktemp("dataflow")
    source = gcs.url("currents")
    with gcs.applied():
        upload(write_source(folder / "in"), source)
    return Cloud(gcs, environment(gcs, folder), source, project(folder / "project"))


@pytest.fixture
def cloud(prepared: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """This process in the environment of a submission, and Beam, which asks for news every five seconds, hurried."""
    hurried = types.SimpleNamespace(**{**vars(time), "sleep": lambda seconds: time.sleep(min(seconds, 0.05))})
    monkeypatch.setattr(dataflow_runner, "time", hurried)
    with prepared.gcs.applied(prepared.environment):
        yield prepared


@pytest.fixture
def output(prepared: Cloud) -> str:
    """A folder of a run's own."""
    return prepared.gcs.url("run")


def test_a_job_that_is_done_and_published_ends_with_its_figures(
    cloud: Cloud, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        done = subprocess.run(
            [sys.executable, "-m", MODULE, f"--input={cloud.source}", f"--output={output}", *FLAGS],
            cwd=ROOT, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    with stand_in(["PENDING", "RUNNING", "RUNNING", "DONE"], on_end=work) as service:
        assert command.main(cloud.command(output, service)) == 0
    told = capsys.readouterr()
    assert JOB in told.out
    assert CONSOLE in told.out
    assert "rows" in told.out
    assert told.err == ""
    assert service.requested == []


@pytest.mark.parametrize("left", [None, "report.json"])
def test_a_job_that_is_done_and_published_nothing_is_a_failure(
    cloud: Cloud, output: str, capsys: pytest.CaptureFixture[str], left: str | None
) -> None:
    def work() -> None:
        if left is not None:
            store_for(output).put(join(output, left), b"{}")

    with stand_in(["RUNNING", "DONE"], on_end=work) as service:
        assert command.main(cloud.command(output, service)) == 1
    told = capsys.readouterr()
    assert "_manifest.json" in told.err
    assert told.err.count("\n") == 1


def test_a_job_that_failed_says_why(cloud: Cloud, output: str, capsys: pytest.CaptureFixture[str]) -> None:
    error = (
        'Traceback (most recent call last):\n  File "publish_run.py", line 1, in process\n'
        "transforms.errors.AccountingError: [currents-to-mixpanel: AccountingError] "
        "units: [8] were cut and [7] came back [while running 'Publish']"
    )
    with stand_in(["RUNNING", "FAILED"], error) as service:
        assert command.main(cloud.command(output, service)) == 1
    told = capsys.readouterr()
    assert CONSOLE in told.out
    assert "units: [8] were cut and [7] came back" in told.err
    assert told.err.count("\n") == 1
    assert not cloud.holds(output, "_manifest.json")


def test_a_job_that_passed_a_limit_is_told_from_one_that_failed(
    cloud: Cloud, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    error = (
        'Dataflow pipeline failed. State: FAILED, Error:\nTraceback (most recent call last):\n  File "x.py", line 1\n'
        "RuntimeError: transforms.errors.TooManyRejects: [currents-to-mixpanel: TooManyRejects] "
        "2% of 9 rows are rejected [while running 'Publish']"
    )
    with stand_in(["RUNNING", "FAILED"], error) as service:
        assert command.main([*cloud.command(output, service), "--json"]) == 4
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["status"], told["exit_status"], told["events"]) == ("limit", 4, 0)
    assert told["message"].startswith("2% of 9 rows are rejected")
    assert not cloud.holds(output, "_manifest.json")


def test_a_job_that_is_not_waited_for_is_submitted(
    cloud: Cloud, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with stand_in(["RUNNING"]) as service:
        assert command.main([*cloud.command(output, service), "--no_wait", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["status"], told["output"], told["read"]) == ("submitted", output, 0)


def test_a_job_that_somebody_cancelled_is_a_failure(
    cloud: Cloud, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with stand_in(["RUNNING", "CANCELLING", "CANCELLED"]) as service:
        assert command.main(cloud.command(output, service)) == 1
    told = capsys.readouterr()
    assert "the job was cancelled: nothing is published" in told.err
    assert service.requested == []


def test_a_job_that_is_not_waited_for_is_left_to_the_service_and_nothing_is_published_yet(
    cloud: Cloud, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with stand_in(["RUNNING"]) as service:
        assert command.main(cloud.command(output, service, "--no_wait")) == 0
        assert service.questions == 0
    told = capsys.readouterr().out
    assert JOB in told
    assert CONSOLE in told
    assert "nothing is published yet" in told
    assert cloud.holds(output, "_claim.json")


def test_the_service_is_asked_for_what_the_flags_say(cloud: Cloud, output: str) -> None:
    more = (
        "--no_wait", "--machine_type=n2-highmem-4", "--max_num_workers=20", "--no_use_public_ips", "--labels=team=data",
        "--subnetwork=regions/europe-west3/subnetworks/workers", "--service_account_email=worker@a-project.test",
        "--disk_size_gb=50", "--dataflow_service_options=enable_prime",
    )  # fmt: skip
    with stand_in(["RUNNING"]) as service:
        assert command.main(cloud.command(output, service, *more)) == 0
    job = service.job
    assert job is not None
    assert (job["name"], job["projectId"], job["location"]) == ("currents", PROJECT, REGION)
    assert job["type"] in ("JOB_TYPE_BATCH", 1)
    assert job["labels"] == {"team": "data"}
    environment = job["environment"]
    assert environment["serviceAccountEmail"] == "worker@a-project.test"
    assert environment["serviceOptions"] == ["enable_prime"]
    (pool,) = environment["workerPools"]
    assert pool["machineType"] == "n2-highmem-4"
    assert pool["diskSizeGb"] == 50
    assert pool["autoscalingSettings"]["maxNumWorkers"] == 20
    assert pool["ipConfiguration"] in ("WORKER_IP_PRIVATE", 2)
    assert pool["subnetwork"] == "regions/europe-west3/subnetworks/workers"
    assert [package["name"] for package in pool["packages"]] == ["workflow.tar.gz"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_command_cancels_the_job(prepared: Cloud, output: str, number: signal.Signals) -> None:
    with stand_in(["RUNNING"]) as service:
        process = subprocess.Popen(
            [sys.executable, "-m", MODULE, *prepared.command(output, service)], cwd=ROOT, text=True,
            env={**os.environ, **prepared.environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            wait_for(lambda: service.questions >= 1, 60, "the first question after the job")
            process.send_signal(number)
            out, error = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, error
    assert service.requested == ["JOB_STATE_CANCELLED"]
    assert JOB in out
    assert "Dataflow was asked to cancel the job" in error
    assert error.count("\n") == 1
