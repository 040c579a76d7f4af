"""Running the graph on this machine: one process or two, a live line, and a quick, clean end when interrupted."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Sequence
from types import FrameType

import apache_beam as beam
import psutil
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipelines.graph import build
from pipelines.live import Live
from pipelines.options import Options
from transforms.currents.paths import Unit
from transforms.run import progress
from transforms.run.report import RunContext

# Below this a second process costs more in start-up than it saves.
_BYTES_FOR_TWO_WORKERS = 192 << 20


class Interrupted(Exception):
    """Ctrl-C or SIGTERM."""


def run_locally(units: Sequence[Unit], context: RunContext, options: Options) -> None:
    """Run the job to its end.

    Raises:
        Interrupted: it was asked to stop; within seconds, and with nothing published.
        Exception: whatever failed in the job.
    """
    workers = options.workers or _default_workers(context)
    workers = min(workers, max(1, len(units)))
    if not options.verbose:
        for name in ("apache_beam", "root"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    folder = tempfile.mkdtemp(prefix="currents-to-mixpanel-")
    os.environ[progress.FOLDER_VARIABLE] = folder
    live = Live(folder, context.plan, quiet=False)
    job = _Job(units, context, options, workers)
    try:
        live.start()
        job.run()
    finally:
        live.stop()
        os.environ.pop(progress.FOLDER_VARIABLE, None)
        shutil.rmtree(folder, ignore_errors=True)


class _Job:
    """The pipeline in a thread of its own, so that the main thread hears signals whatever the job does."""

    def __init__(self, units: Sequence[Unit], context: RunContext, options: Options, workers: int) -> None:
        self._units = units
        self._context = context
        self._truth = options.truth
        self._workers = workers
        self._error: BaseException | None = None
        self._ended = threading.Event()
        self._interrupted = False

    def run(self) -> None:
        previous = {}
        if threading.current_thread() is threading.main_thread():
            previous = {number: signal.signal(number, self._interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            threading.Thread(target=self._work, name="job", daemon=True).start()
            while not self._ended.wait(0.2):
                if self._interrupted:
                    _end_children()
                    raise Interrupted
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
        if self._error is not None:
            raise self._error

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._interrupted = True

    def _work(self) -> None:
        try:
            pipeline = beam.Pipeline(runner=_runner(self._workers), options=_beam_options(self._workers))
            build(pipeline, self._units, self._context, self._truth)
            pipeline.run().wait_until_finish()
        except BaseException as error:
            self._error = error
        finally:
            self._ended.set()


def _default_workers(context: RunContext) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 2 if cores >= 2 and context.plan.input_bytes >= _BYTES_FOR_TWO_WORKERS else 1


def _beam_options(workers: int) -> PipelineOptions:
    mode = "in_memory" if workers == 1 else "multi_processing"
    return PipelineOptions(
        [f"--direct_num_workers={workers}", f"--direct_running_mode={mode}", "--no_save_main_session"]
    )


def _runner(workers: int) -> FnApiRunner:
    """The DirectRunner's engine itself: the name DirectRunner would first look for a Prism binary on the network."""
    if workers > 1:
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    return FnApiRunner()


def _end_children() -> None:
    """Worker processes do not notice that their parent goes."""
    children = psutil.Process().children(recursive=True)
    for child in children:
        child.kill()
    psutil.wait_procs(children, timeout=2)


