"""Running the graph on this machine: one process or two, a live line, and a quick, clean end when interrupted."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from types import FrameType

import apache_beam as beam
import psutil
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipelines.command_line.failures import worker_lost
from pipelines.command_line.options import Options
from pipelines.graph import build
from pipelines.launch import allocator
from pipelines.launch.beam_workers import environment
from pipelines.launch.block_folder import blocks_kept
from pipelines.launch.progress_line import Live
from pipelines.launch.threads import check_threads
from pipelines.launch.waiting_workers import WaitingWorkers, default_workers
from transforms.errors import WorkerLost
from transforms.output.plan_files import Work
from transforms.report.figures import RunContext
from transforms.telemetry import progress

_LOOK_SECONDS = 0.2


def run_locally(units: Work, context: RunContext, options: Options, waiting: WaitingWorkers) -> None:
    """Run the job to its end.

    Raises:
        KeyboardInterrupt: it was asked to stop (Ctrl-C or SIGTERM); within seconds, and with nothing published.
        Exception: whatever failed in the job.
    """
    workers = options.workers or default_workers(context.plan.input_bytes)
    workers = min(workers, max(1, len(units)))
    if workers == 1:
        waiting.close()
    check_threads(workers)
    waiting.lost = None
    allocator.keep_freed()  # before the job's thread, which would get a pool of memory of its own
    with blocks_kept(context.output, verbose=options.verbose), temporary_folder() as folder:
        live = Live(folder, context.plan)
        try:
            live.start()
            _Job(units, context, options, workers, waiting).run()
        finally:
            live.stop()


@contextlib.contextmanager
def temporary_folder() -> Iterator[str]:
    """One folder for all that this run, Beam and the workers put into the system's temporary one; yields the part of
    it that progress is told in. Beam leaves its own behind when it is interrupted.
    """
    folder = tempfile.mkdtemp(prefix="currents-to-mixpanel-")
    told = os.path.join(folder, "progress")
    os.mkdir(told)
    changed = {progress.FOLDER_VARIABLE: told, "TMPDIR": folder}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    python_folder, tempfile.tempdir = tempfile.tempdir, folder
    try:
        yield told
    finally:
        tempfile.tempdir = python_folder
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        for _ in range(10):  # an interrupted job's threads may be about to write there
            shutil.rmtree(folder, ignore_errors=True)
            if not os.path.exists(folder):
                break
            time.sleep(0.05)


class _Job:
    """The pipeline in a thread of its own, so that the main thread hears signals whatever the job does."""

    def __init__(
        self, units: Work, context: RunContext, options: Options, workers: int, waiting: WaitingWorkers
    ) -> None:
        self._units = units
        self._context = context
        self._truth = options.truth
        self._workers = workers
        self._verbose = options.verbose
        self._error: BaseException | None = None
        self._ended = threading.Event()
        self._interrupted = False
        self._waiting = waiting
        self._worker_lost = False
        self._read_last = ""  # the file that a worker was at when it went

    def run(self) -> None:
        previous = {}
        hook = threading.excepthook
        threading.excepthook = self._hear
        if threading.current_thread() is threading.main_thread():
            previous = {number: signal.signal(number, self._interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            threading.Thread(target=self._work, name="job", daemon=True).start()
            looked = time.monotonic()
            while not self._ended.wait(_LOOK_SECONDS):
                looked, before = time.monotonic(), looked
                # A machine that slept, or a process that was stopped, has not waited all that time.
                self._waiting.count_silence(min(looked - before, 5 * _LOOK_SECONDS))
                if self._interrupted:
                    _end_children()
                    raise KeyboardInterrupt
                self._worker_lost = self._workers > 1 and self._waiting.lost is not None
                self._note_file()
                if self._worker_lost and not self._ended.wait(1):
                    _end_children()  # Beam waits for ever for a worker that died before it said a word
                    self._ended.set()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            self._worker_lost = self._worker_lost or self._is_cut_off()
            self._note_file()
            if not self._interrupted and not self._worker_lost:  # else there are threads that have yet to end
                threading.excepthook = hook
        if self._worker_lost:
            raise WorkerLost(worker_lost(self._waiting.lost, self._waiting.reason, self._read_last)) from self._error
        if self._error is not None:
            raise self._error

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._interrupted = True

    def _hear(self, args: threading.ExceptHookArgs) -> None:
        """Beam's own threads end in tracebacks when a worker or the run does."""
        if self._verbose:
            threading.__excepthook__(args)

    def _is_cut_off(self) -> bool:
        """Whether the job failed because a worker went; how it went is heard from another thread, soon."""
        if "Channel closed prematurely" not in str(self._error):
            return False
        until = time.monotonic() + 2
        while self._waiting.lost is None and time.monotonic() < until:
            time.sleep(0.05)
        return True

    def _note_file(self) -> None:
        """Keeps what the worker that went was reading; those that are ended after it do not count."""
        if self._worker_lost and not self._read_last:
            self._read_last = file_of_the_lost()

    def _work(self) -> None:
        try:
            # The DirectRunner's engine itself: that name would first look for a Prism binary on the network.
            runner = FnApiRunner() if self._workers == 1 else FnApiRunner(environment(self._waiting))
            pipeline = beam.Pipeline(runner=runner, options=_beam_options(self._workers))
            build(pipeline, self._units, self._context, self._truth)
            pipeline.run().wait_until_finish()
        except BaseException as error:
            self._error = error
        finally:
            self._waiting.settle()
            self._ended.set()


def _beam_options(workers: int) -> PipelineOptions:
    # --direct_running_mode stays away: it would put Beam's own workers in the place of ours.
    return PipelineOptions([f"--direct_num_workers={workers}", "--no_save_main_session"])


def file_of_the_lost() -> str:
    """The input file that a process which is gone was reading; "" where none left word of one."""
    files = progress.files_read(os.environ[progress.FOLDER_VARIABLE])
    return next((files[pid] for pid in sorted(files) if not _is_running(pid)), "")


def _is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _end_children() -> None:
    """Worker processes do not notice that their parent goes."""
    children = psutil.Process().children(recursive=True)
    for child in children:
        child.kill()
    psutil.wait_procs(children, timeout=2)
