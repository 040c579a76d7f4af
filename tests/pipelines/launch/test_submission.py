"""Before a job is submitted and after it failed: who must answer, where to look, what is said; whose memory counts."""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import Any

import grpc
import pytest

from pipelines import currents_to_mixpanel as command
from pipelines.command_line.failures import job_cause
from pipelines.command_line.runner_options import DATAFLOW, FLINK, PORTABLE, PRISM
from pipelines.command_line.runners import Submission, check_answers
from pipelines.launch import remote
from tests.pipelines.command_line.test_runners import SETUP, STORES
from transforms.errors import EndpointUnreachable
from transforms.messages import elements
from transforms.report import figures

# Whether anything is there


def test_an_endpoint_where_nobody_listens_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]  # bound, and not listening
        began = time.monotonic()
        status = command.main([*STORES, f"--runner={PORTABLE}", f"--job_endpoint=127.0.0.1:{port}", SETUP])
    assert status == 1
    assert time.monotonic() - began < 30
    message = capsys.readouterr().err
    assert f"--job_endpoint 127.0.0.1:{port} cannot be reached (Connection refused): is it running?" in message
    assert message.count("\n") == 1


@pytest.mark.slow
def test_an_endpoint_that_does_not_answer_is_said_in_time() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        address = deaf.getsockname()
        waiting = [socket.socket() for _ in range(4)]  # its queue is full then
        for caller in waiting:
            caller.setblocking(False)
            caller.connect_ex(address)
        with pytest.raises(EndpointUnreachable, match="no answer"):
            check_answers(Submission(PORTABLE, {"job_endpoint": f"127.0.0.1:{address[1]}"}), seconds=1)
        for caller in waiting:
            caller.close()


_ARTIFACTS = [("artifact_endpoint", "b", 2)]


@pytest.mark.parametrize(
    ("runner", "given", "expected"),
    [
        (PORTABLE, {"job_endpoint": "a:1"}, [("job_endpoint", "a", 1)]),
        (PORTABLE, {"job_endpoint": "a:1", "artifact_endpoint": "b:2"}, [("job_endpoint", "a", 1), *_ARTIFACTS]),
        (FLINK, {"flink_master": "flink:8081"}, [("flink_master", "flink", 8081)]),
        (FLINK, {"flink_master": "https://flink/path"}, [("flink_master", "flink", 443)]),
        (FLINK, {"flink_master": "[local]"}, []),
        (DATAFLOW, {"dataflow_endpoint": "http://localhost:99"}, [("dataflow_endpoint", "localhost", 99)]),
        (DATAFLOW, {}, []),
    ],
)  # fmt: skip
def test_the_addresses_that_must_answer_are_those_of_the_runner(
    runner: str, given: dict[str, Any], expected: list[Any]
) -> None:
    assert Submission(runner, given).addresses == expected


@pytest.mark.parametrize(
    ("runner", "given", "expected"),
    [
        (PRISM, {}, None),
        (PORTABLE, {"job_endpoint": "a:1"}, "a:1"),
        (FLINK, {"flink_master": "flink:8081"}, "http://flink:8081"),
        (FLINK, {"flink_master": "https://flink"}, "https://flink"),
        (FLINK, {"flink_master": "flink:8081", "job_endpoint": "a:1"}, "http://flink:8081"),
    ],
)
def test_a_submission_names_the_page_where_its_job_can_be_watched(
    runner: str, given: dict[str, Any], expected: str | None
) -> None:
    assert Submission(runner, given).console == expected


def test_the_cause_of_a_failed_job_is_found_in_what_its_runner_says() -> None:
    told = "Traceback …\na.b.TooManyRejects: 2% of 10 rows:\n  a: 3\n\nRuntimeError: a.b.TooManyRejects: "
    told += "[currents-to-mixpanel: TooManyRejects] 2% of 10 rows:\n  a: 3 [while running 'Publish/PublishRun']\n\n"
    assert job_cause(told) == "2% of 10 rows:\n  a: 3"
    assert job_cause("java.lang.OutOfMemoryError: heap\n\n") == "java.lang.OutOfMemoryError: heap"
    assert job_cause("") == ""


class _Refused(grpc.RpcError):
    def details(self) -> str:
        return "java.lang.IllegalArgumentException: no such option\n"

    def __str__(self) -> str:
        return "<_InactiveRpcError of RPC that terminated with:\n\tstatus = StatusCode.UNKNOWN\n>"


class _Job:
    """What a runner gives back for a job, in a state."""

    def __init__(self, state: str, refuses: Exception | None = None) -> None:
        self.state, self._refuses = state, refuses

    def cancel(self) -> None:
        if self._refuses is not None:
            raise self._refuses


@pytest.mark.parametrize(
    ("job", "runner", "said"),
    [
        (_Job("CANCELLED"), PORTABLE, "interrupted: the job is cancelled, nothing is published"),
        (_Job("DONE"), PORTABLE, "interrupted when the job had already finished: look for _manifest.json"),
        (_Job("CANCELLING"), DATAFLOW, "interrupted: Dataflow was asked to cancel the job"),
        (_Job("RUNNING", _Refused()), PORTABLE, "could not be cancelled (java.lang.IllegalArgumentException: no such"),
        (_Job("RUNNING", OSError()), PORTABLE, "could not be cancelled (no answer)"),
    ],
)
def test_what_an_interrupted_command_says_of_its_job(job: _Job, runner: str, said: str) -> None:
    message = remote._cancel(job, Submission(runner, {"job_endpoint": "a:1"}))
    assert said in message
    assert "look at " in message
    assert "\n" not in message


def test_a_job_server_that_does_not_answer_holds_up_no_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf(_Job):
        def cancel(self) -> None:
            asked.set()
            time.sleep(600)

    asked = threading.Event()
    assert remote._CANCEL_SECONDS < 8
    monkeypatch.setattr(remote, "_CANCEL_SECONDS", -0.7)  # and a second
    message = remote._cancel(Deaf("RUNNING"), Submission(PORTABLE, {"job_endpoint": "a:1"}))
    assert asked.is_set()
    assert message == "interrupted, but the job could not be cancelled (no answer): look at a:1"


# Figures of many machines


def test_processes_of_other_machines_count_as_others(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = elements.process_key(7)
    elements._machine.cache_clear()
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    theirs = elements.process_key(7)
    elements._machine.cache_clear()
    assert mine != theirs
    context = figures.RunContext.__new__(figures.RunContext)
    object.__setattr__(context, "launcher_process", 0)
    assert figures._peak_memory(context, {"memory": {mine: 3, theirs: 4}}) == 7
    object.__setattr__(context, "launcher_process", os.getpid())
    assert figures._peak_memory(context, {"memory": {mine: 3}}) > 3  # the launcher's, who worked on no element
