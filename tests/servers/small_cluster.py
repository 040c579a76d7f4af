"""A cluster in small: Prism as the job server, and a pool of workers that has all dependencies and not this program.

A pool may be a host of its own: another network, and a disk with nothing on it but the interpreter and its packages.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import psutil
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

from tests.commands.several_units import start
from tests.commands.whole_run import ROOT
from tests.servers.tools import require, require_worker_python

_START_SECONDS = 90.0  # on a machine that does much else
_PASSED_ON = ("HOME", "LANG", "LC_ALL", "TZ")


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def wait_for(condition: Callable[[], Any], seconds: float = _START_SECONDS, what: str = "it") -> Any:
    """The first true answer of a condition that is asked again and again."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, f"{what} does not come within {seconds:.0f} s"
        time.sleep(0.05)
    return found


def listens(host: str, port: int) -> bool:
    """Whether something takes connections there."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def project(folder: Path, appended: Mapping[str, str] | None = None) -> Path:
    """A copy of this program's source, for ``--setup_file``: builds leave traces, and two may come at once.

    ``appended`` is Python to add to the end of modules of the copy, by their path: so that a step takes its time.
    """
    for name in ("currents_to_mixpanel", "pipelines", "transforms"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder / name)
    for name, code in (appended or {}).items():
        with (folder / name).open("a", encoding="utf-8") as module:
            module.write(code)
    return folder / "setup.py"


def wheel_of(setup: Path) -> Path:
    """A wheel of a copied project, for ``--extra_package``."""
    build = [str(require_worker_python()), "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    place = setup.parent / "wheels"
    subprocess.run([*build, "--wheel-dir", str(place), str(setup.parent)], capture_output=True, check=True)
    return next(place.glob("*.whl"))


UNHURRIED = {
    "transforms/format_events.py": """
import time
_at_once = publish_file
def publish_file(*arguments):
    written = _at_once(*arguments)
    time.sleep(1.5)
    return written
"""
}
"""Workers that rest after each file that they have written: something can happen to them in the middle."""


@dataclasses.dataclass
class JobServer:
    """A Prism of one test's own."""

    port: int
    log: Path

    @property
    def endpoint(self) -> str:
        return f"localhost:{self.port}"

    def states(self) -> list[str]:
        """The state of each of its jobs; none once it is gone."""
        with grpc.insecure_channel(self.endpoint) as channel:
            stub = beam_job_api_pb2_grpc.JobServiceStub(channel)
            try:
                jobs = stub.GetJobs(beam_job_api_pb2.GetJobsRequest(), timeout=10).job_info
            except grpc.RpcError:
                return []
        return [beam_job_api_pb2.JobState.Enum.Name(job.state) for job in jobs]


@contextlib.contextmanager
def job_server(folder: Path) -> Iterator[JobServer]:
    """Prism on a free port, gone at the end with all that it knows."""
    port = free_port()
    log = folder / "prism.log"
    command = [require("prism"), f"--job_port={port}", "--serve_http=false", "--log_kind=text"]
    with started(command, log, folder, os.environ):
        wait_for(lambda: listens("127.0.0.1", port), what="Prism")
        yield JobServer(port, log)


@dataclasses.dataclass
class Pool:
    """Workers that wait for a job: where, the process that starts them, and what they say."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path

    def workers(self) -> list[psutil.Process]:
        """Its processes that run steps."""
        return [child for child in self.processes() if "sdk_worker_main" in " ".join(_words(child))]

    def processes(self) -> list[psutil.Process]:
        """All that the pool consists of and has started."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []


@contextlib.contextmanager
def pool(folder: Path, environment: Mapping[str, str]) -> Iterator[Pool]:
    """A worker pool on this host, in an environment of its own that lacks this program."""
    python = overlay(folder / "environment")
    port = free_port()
    command = [str(python), *POOL, f"--service_port={port}", f"--container_executable={_boot(folder)}"]
    with started(command, folder / "pool.log", folder, clean(python, environment)) as process:
        wait_for(lambda: listens("127.0.0.1", port), what="the worker pool")
        yield Pool(f"localhost:{port}", process, folder / "pool.log")


POOL = ("-m", "apache_beam.runners.worker.worker_pool_main")


def overlay(folder: Path) -> Path:
    """The interpreter of an environment that sees the workers' one and takes what is installed for a job."""
    base = require_worker_python()
    subprocess.run([str(base), "-m", "venv", "--without-pip", str(folder)], check=True)
    inside = next(folder.glob("lib/python3*/site-packages"))
    outside = next(base.parents[1].glob("lib/python3*/site-packages"))
    (inside / "workers.pth").write_text(f"{outside}\n")
    return folder / "bin" / "python"


def _boot(folder: Path) -> Path:
    """Beam's boot program, with its files in a folder of this pool's own."""
    script = folder / "boot.sh"
    script.write_text(f'#!/bin/sh\nexec "{require("container")}" --semi_persist_dir="{folder}" "$@"\n')
    script.chmod(0o755)
    return script


def clean(python: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """What a worker's host knows: nothing of the submitter's but what is given."""
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {
        **passed_on,
        "PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT": "1",
        "PIP_NO_INDEX": "1",  # all that it needs is there already, and a test asks no registry
        **environment,
    }


@contextlib.contextmanager
def started(
    command: list[str], log: Path, folder: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A process and all that come of it, ended at the end whatever happens."""
    with log.open("wb") as told:
        process = subprocess.Popen(
            command, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, stdout=told, stderr=told,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[Any]) -> None:
    """Kill a process and its descendants, those too that have groups of their own."""
    with contextlib.suppress(psutil.NoSuchProcess):
        descendants = psutil.Process(process.pid).children(recursive=True)
        for found in [*descendants, psutil.Process(process.pid)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                found.kill()
        psutil.wait_procs(descendants, timeout=10)
    process.wait(timeout=10)


def _words(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return process.cmdline()
    return []


def submit(
    folder: Path,
    source: str | Path,
    output: str | Path,
    *flags: str,
    patch: str = "",
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """The command with small units, its temporary files in ``folder``."""
    place = folder / "submitter"
    place.mkdir(exist_ok=True)
    added: dict[str, Any] = dict(environment or {})
    return start(source, output, *flags, patch=patch, temporary=place, **added)


def ended(process: subprocess.Popen[str], seconds: float = 240) -> tuple[int, str, str]:
    """(Exit status, standard output, standard error) of a process."""
    out, error = process.communicate(timeout=seconds)
    return process.returncode, out, error
