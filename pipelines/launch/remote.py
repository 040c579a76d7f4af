"""Running the graph on another runner: submit, say where, wait, and cancel the job when interrupted."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, TextIO, cast

import apache_beam as beam
import grpc
import psutil
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.runners.runner import PipelineResult, PipelineState, create_runner

from pipelines.command_line.failures import job_cause, passes_limit
from pipelines.command_line.options import Options
from pipelines.command_line.runner_options import DATAFLOW, PRISM, TEMPLATE
from pipelines.command_line.runners import RUNNERS, Submission
from pipelines.graph import build
from pipelines.launch import allocator
from pipelines.launch.local import temporary_folder
from pipelines.launch.progress_line import Live
from transforms.errors import JobFailed, JobUnreachable, LimitExceeded
from transforms.output.plan_files import Work
from transforms.report.figures import RunContext

_ANSWER_SECONDS = 20.0  # for one question to the job server
_FETCH_SECONDS = 30.0
_SILENCE_SECONDS = 120.0  # of a job server, before sight of it counts as lost
_CANCEL_SECONDS = 5.0  # an interrupted command ends within ten
_LOGGER = logging.getLogger(__name__)


def run_elsewhere(units: Work, context: RunContext, options: Options) -> bool:
    """Submit the job and wait for its end; False if it was only submitted, as was asked.

    Raises:
        KeyboardInterrupt: it was asked to stop (Ctrl-C or SIGTERM), and the job to cancel itself.
        JobFailed: the job was not taken, or failed, or was cancelled by somebody else.
        JobUnreachable: the job server no longer answers; the job may go on all the same.
    """
    where = options.submission
    with _servers() as servers, _loopback(context, options), _interruptible():
        result = _submit(units, context, options, servers)
        if where.given.get(TEMPLATE):
            _tell("template", str(where.given[TEMPLATE]))
            return False
        try:
            _tell("job", _job_id(result))
            if (console := _console(where, result)) is not None:
                _tell("look at it", console)
            if not where.waits:
                return False
            with _interruptible():  # again: a job server that was started has put its own handler there
                _wait(result, where)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_cancel(result, where)) from None
        return True


def _submit(units: Work, context: RunContext, options: Options, servers: list[Any]) -> PipelineResult:
    where = options.submission
    said: list[str] = []
    try:
        runner = create_runner(RUNNERS[where.runner])
        if where.own_job_server:
            start = runner.default_job_server

            def started(beam_options: PipelineOptions) -> Any:
                servers.append(start(beam_options))
                return servers[-1]

            runner.default_job_server = started
        pipeline = beam.Pipeline(runner=runner, options=PipelineOptions(where.argv()))
        build(pipeline, units, context, options.truth)
        with _unheard(said, options.verbose), _patience() if where.own_job_server else contextlib.nullcontext():
            return pipeline.run()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted while the job was submitted: nothing is published; {_look(where)} whether it was taken"
        ) from None
    except grpc.FutureTimeoutError as error:
        raise JobFailed(f"{where.runner}: what answers at {where.console} is not a job server") from error
    except Exception as error:
        why = "; ".join(filter(None, [_words(error), *(job_cause(text) for text in said)]))
        if where.runner == PRISM and "prism_location" not in where.given:
            why += "; --prism_location names a Prism that is installed here"
        raise JobFailed(f"{where.runner} did not accept the job: {why}") from error


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    """Beam fetches a job server that it has not got from the network, and would wait for an answer for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_FETCH_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextlib.contextmanager
def _unheard(said: list[str], verbose: bool) -> Iterator[None]:
    """Keeps what programs write that Beam starts (one builds a package) out of the terminal, for failures' sake."""
    if verbose:
        yield
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as told:
        terminal = os.dup(2)
        os.dup2(told.fileno(), 2)
        try:
            yield
        except Exception:
            told.seek(0)
            said.append(told.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def _wait(result: PipelineResult, where: Submission) -> None:
    if where.runner == DATAFLOW:
        try:
            state = result.wait_until_finish()
        except Exception as error:
            state, errors = getattr(getattr(error, "result", None), "state", None), [str(error)]
            if state is None or not PipelineState.is_terminal(state):
                raise JobUnreachable(f"the job can no longer be watched ({_words(error)}): {_look(where)}") from error
        else:
            errors = []
    else:
        state, errors = _follow(result, where)
    if state == PipelineState.CANCELLED:
        raise JobFailed(f"the job was cancelled: nothing is published; {_look(where)}")
    if state != PipelineState.DONE:
        told = _most_telling(errors) if errors else ""
        why = job_cause(told) if errors else "it gave no reason"
        if not where.loopback:
            why += f"{chr(10) if chr(10) in why else ' '}(the job is {state}; {_look(where)})"
        raise (LimitExceeded if passes_limit(told) else JobFailed)(why)


def _follow(result: Any, where: Submission) -> tuple[str, list[str]]:
    """(Last state, messages of errors) of a job, by asking for its state again and again.

    Beam's own wait listens to one stream for hours, which ``--job_server_timeout`` cuts off on some job servers.
    """
    server, job = result._job_service, result._job_id
    errors: list[str] = []
    listener = threading.Thread(target=_listen, args=(server, job, errors), name="job-messages", daemon=True)
    listener.start()
    answered = time.monotonic()
    pause = 0.1
    while True:
        try:
            answer = server.GetState(beam_job_api_pb2.GetJobStateRequest(job_id=job), timeout=_ANSWER_SECONDS)
            answered = time.monotonic()
            state = result.runner_api_state_to_pipeline_state(answer.state)
            if PipelineState.is_terminal(state):
                break
        except grpc.RpcError as error:
            if time.monotonic() - answered > _SILENCE_SECONDS:
                raise JobUnreachable(
                    f"the job server no longer answers ({error.code().name}), and the job may still publish: "
                    f"{_look(where)}"
                ) from error
        time.sleep(pause)
        pause = min(pause * 1.2, 2.0)
    listener.join(timeout=5)
    return state, errors


def _listen(server: Any, job: str, errors: list[str]) -> None:
    with contextlib.suppress(grpc.RpcError):
        for message in server.GetMessageStream(beam_job_api_pb2.JobMessagesRequest(job_id=job)):
            if not message.HasField("message_response"):
                continue
            text, importance = message.message_response.message_text, message.message_response.importance
            _LOGGER.info("%s", text)
            if importance == beam_job_api_pb2.JobMessage.JOB_MESSAGE_ERROR:
                errors.append(text)


def _most_telling(errors: Sequence[str]) -> str:
    """The last message with a traceback of a step, or else the last one."""
    return next((text for text in reversed(errors) if "Traceback" in text), errors[-1])


def _cancel(result: Any, where: Submission) -> str:
    """Cancel the job; returns what to say of it. A second Ctrl-C does not wait for the answer."""
    said: list[str] = []
    asking = threading.Thread(target=_ask_to_cancel, args=(result, where, said), name="cancel", daemon=True)
    asking.start()
    with contextlib.suppress(KeyboardInterrupt):
        asking.join(_CANCEL_SECONDS + 1)
    return said[0] if said else f"interrupted, but the job could not be cancelled (no answer): {_look(where)}"


def _ask_to_cancel(result: Any, where: Submission, said: list[str]) -> None:
    said.append(_cancelled(result, where))


def _cancelled(result: Any, where: Submission) -> str:
    try:
        result.cancel()
        if where.runner == DATAFLOW:
            return (
                "interrupted: Dataflow was asked to cancel the job, and nothing is published unless _manifest.json "
                f"still appears; {_look(where)}"
            )
        until = time.monotonic() + _CANCEL_SECONDS
        while not PipelineState.is_terminal(state := result.state) and time.monotonic() < until:
            time.sleep(0.1)
        if state == PipelineState.DONE:
            return f"interrupted when the job had already finished: look for _manifest.json, or {_look(where)}"
        return (
            f"interrupted: the job is cancelled, nothing is published, the same command runs it again; {_look(where)}"
        )
    except Exception as error:
        return f"interrupted, but the job could not be cancelled ({_words(error) or 'no answer'}): {_look(where)}"


def _words(error: BaseException) -> str:
    """What an error says, in a line; a job server's own words are inside of gRPC's."""
    details = error.details() if isinstance(error, grpc.RpcError) and hasattr(error, "details") else None
    return job_cause(details or str(error))


def _job_id(result: Any) -> str:
    found = result.job_id() if callable(getattr(result, "job_id", None)) else result._job_id
    return str(found)


def _console(where: Submission, result: Any) -> str | None:
    if where.runner != DATAFLOW:
        return where.console
    region, project = where.given["region"], where.given["project"]
    return f"https://console.cloud.google.com/dataflow/jobs/{region}/{_job_id(result)}?project={project}"


def _look(where: Submission) -> str:
    place = "the Dataflow console of the project" if where.runner == DATAFLOW else where.console
    return f"look at {place}" if place else "--verbose shows more"


@contextlib.contextmanager
def _servers() -> Iterator[list[Any]]:
    """The job servers that the submission starts; they end with it, and so does what Beam keeps of them for later."""
    before = set(psutil.Process().children(recursive=True))
    servers: list[Any] = []
    try:
        yield servers
    finally:
        for server in servers:
            with contextlib.suppress(Exception):
                server.stop()
        if servers:
            started = [child for child in psutil.Process().children(recursive=True) if child not in before]
            for child in started:
                child.kill()
            psutil.wait_procs(started, timeout=2)


@contextlib.contextmanager
def _loopback(context: RunContext, options: Options) -> Iterator[None]:
    """Where the steps run in this process: its memory, its temporary files and a live line, as of a local run."""
    if not options.submission.loopback:
        yield
        return
    allocator.keep_freed()
    hook, terminal = threading.excepthook, sys.stderr
    with temporary_folder() as folder:
        live = Live(folder, context.plan)
        if not options.verbose:
            threading.excepthook = _pass_over
            sys.stderr = cast(TextIO, _Hushed(terminal))
        live.start()
        try:
            yield
        finally:
            live.stop()
            sys.stderr = terminal
    threading.excepthook = hook  # after an interruption there are threads that have yet to end


class _Hushed:
    """Standard error of the main thread and the live line; workers of Beam print failures that are told anyway."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal

    def write(self, text: str) -> int:
        if threading.current_thread().name in ("MainThread", "progress"):
            return self._terminal.write(text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._terminal, name)


def _pass_over(args: threading.ExceptHookArgs) -> None:
    """Beam's own threads end in tracebacks when the job server goes before them."""


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM interrupts as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _tell(what: str, text: str) -> None:
    """Print a line, unless nobody reads on: that is not a reason to leave a job alone that was submitted."""
    try:
        print(f"{what:<10} {text}", flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
