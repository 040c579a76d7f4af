"""The runners: which may be used and which may not and why, what each demands, and what of a job is handed to Beam."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import importlib.util
import json
import os
import re
import socket
import urllib.parse
from collections.abc import Sequence
from typing import Any

from pipelines.command_line import runner_options
from pipelines.command_line.runner_options import (
    DATAFLOW,
    DIRECT,
    FLINK,
    JOB_SERVERS,
    OPTIONS,
    PORTABLE,
    PRISM,
    RUNNERS_OF,
    SPARK,
)
from transforms.errors import EndpointUnreachable, UsageError

RUNNERS = {
    DIRECT: "apache_beam.runners.direct.direct_runner.DirectRunner",
    PRISM: "apache_beam.runners.portability.prism_runner.PrismRunner",
    PORTABLE: "apache_beam.runners.portability.portable_runner.PortableRunner",
    FLINK: "apache_beam.runners.portability.flink_runner.FlinkRunner",
    SPARK: "apache_beam.runners.portability.spark_runner.SparkRunner",
    DATAFLOW: "apache_beam.runners.dataflow.dataflow_runner.DataflowRunner",
}
"""Where each runner is; both its name and this path are taken."""

_TRIALS = "tagged outputs came mixed, what a step gives at the end of a bundle was lost, side effects ran twice"
REFUSED = {"dask": _TRIALS, "ray": _TRIALS, "flare": _TRIALS, "pyspark": _TRIALS}
"""Runners that lost or doubled data when they were tried, by the beginning of their names, and what was seen."""

_ADDRESS = re.compile(r"(?:[\w.-]+|\[[0-9a-fA-F:]+\]):\d{1,5}\Z")
_SECRET_VARIABLE = re.compile(
    r"[\w-]*(?:secret|passw|token|connection_string|(?:api|access|account|storage|private)_?key|credential)[\w-]*"
    r"[\"']?\s*[:=]",
    re.I,
)
_ENDPOINTS = ("job_endpoint", "artifact_endpoint", "flink_master", "spark_rest_url", "dataflow_endpoint")
_PACKAGES = (".whl", ".tar.gz", ".tar", ".zip")
_FLINK_INSIDE = ("[local]", "[auto]")


@dataclasses.dataclass(frozen=True)
class Submission:
    """Where a job goes and how: the runner, the options for it that were given, and whether to wait for the end."""

    runner: str = DIRECT
    given: dict[str, Any] = dataclasses.field(default_factory=dict)
    no_wait: bool = False

    @property
    def loopback(self) -> bool:
        """Whether the steps run in this very process, though another one directs them."""
        kind = self.given.get("environment_type")
        if kind is not None or self.runner not in JOB_SERVERS:
            return kind == "LOOPBACK"
        if self.runner == FLINK:
            return self.given.get("flink_master", "[auto]") in _FLINK_INSIDE and "job_endpoint" not in self.given
        if self.runner == SPARK:
            master = self.given.get("spark_master_url", "local[4]")
            return re.match(r"local(\[.+\])?\Z", master) is not None and "job_endpoint" not in self.given
        return self.runner == PRISM and "job_endpoint" not in self.given

    @property
    def local(self) -> bool:
        """Whether every step sees this machine's files."""
        return self.runner == DIRECT or self.loopback

    @property
    def waits(self) -> bool:
        return not self.no_wait and "template_location" not in self.given

    @property
    def own_job_server(self) -> bool:
        """Whether the submission starts a job server, which ends with it."""
        uber = self.given.get("flink_submit_uber_jar") or self.given.get("spark_submit_uber_jar")
        return self.runner in JOB_SERVERS and "job_endpoint" not in self.given and not uber

    @property
    def addresses(self) -> list[tuple[str, str, int]]:
        """(Option, host, port) of what must answer before anything is submitted."""
        found = []
        for name in _ENDPOINTS:
            text = str(self.given.get(name, ""))
            if text and text not in _FLINK_INSIDE:
                url = _url(text)
                port = url.port or {"http": 80, "https": 443}.get(url.scheme)
                if url.hostname and port:
                    found.append((name, url.hostname, port))
        return found

    @property
    def console(self) -> str | None:
        """Where a person can look at the runner's jobs; Dataflow's is that of the job."""
        if self.runner == FLINK and self.given.get("flink_master", "[auto]") not in _FLINK_INSIDE:
            return re.sub(r"^(?!https?://)", "http://", str(self.given["flink_master"]).strip())
        found = self.given.get("spark_rest_url") or self.given.get("job_endpoint")
        return None if found is None else str(found)

    def argv(self) -> list[str]:
        """Beam's options; what this command decides itself stands last."""
        words = [f"--runner={self.runner}"]
        given = {name: value for name, value in self.given.items() if name not in runner_options.OWN}
        for name, option in OPTIONS.items():
            if option.default is not None and name not in given and self.runner in RUNNERS_OF[name]:
                given[name] = option.default
        if self.runner in JOB_SERVERS:  # said outright, since Beam has its own idea of what is local
            given.setdefault("environment_type", "LOOPBACK" if self.loopback else "DOCKER")
        if self.runner == PRISM:  # a server of this job's own, that can be stopped with it
            given["experiments"] = [*given.get("experiments", []), "disable_prism_server_singleton"]
        for name, value in given.items():
            if OPTIONS[name].kind == "switch":
                words.append(f"--{name}")
            else:
                words += [f"--{name}={item}" for item in (value if isinstance(value, list) else [value])]
        # The steps are found by their names in the modules that hold them; nothing of this session goes along.
        return [*words, "--no_save_main_session"]


def _url(text: str) -> urllib.parse.SplitResult:
    return urllib.parse.urlsplit(text if "//" in text else f"//{text}")


def check_answers(found: Submission, seconds: float = 10.0) -> None:
    """Make sure that something listens where the job is to go, before the folder is claimed for it.

    Raises:
        EndpointUnreachable: nothing does.
    """
    for name, host, port in found.addresses:
        try:
            socket.create_connection((host, port), timeout=seconds).close()
        except OSError as error:
            reason = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
            raise EndpointUnreachable(
                f"--{name} {found.given[name]} cannot be reached ({reason}): is it running?"
            ) from error


def named(text: str) -> str:
    """The runner of a name, which may be the dotted path of its class.

    Raises:
        UsageError: it is refused, with the reason, or is not known.
    """
    last = text.rpartition(".")[2]
    plain = last.lower().removesuffix("runner").replace("_", "").replace("-", "")
    for beginning, reason in REFUSED.items():
        if plain.startswith(beginning) or re.search(rf"\b{beginning}", text.lower()):
            raise UsageError(
                f"--runner {text} is refused, since it lost or doubled data in trials ({reason}): take one of "
                + ", ".join(RUNNERS)
            )
    for name, path in RUNNERS.items():
        if text in (name, path) or (text == last and last.lower() == name.lower()):
            return name
    near = difflib.get_close_matches(last.lower(), [name.lower() for name in RUNNERS], 1, 0.6)
    meant = next((f"did you mean {name}? " for name in RUNNERS if [name.lower()] == near), "")
    raise UsageError(f"--runner {text} is not supported: {meant}allowed are {', '.join(RUNNERS)}")


def submission(given: argparse.Namespace, paths: Sequence[tuple[str, str]]) -> Submission:
    """Where a parsed command line's job goes; ``paths`` are all places it names, each with its flag.

    Raises:
        UsageError: an option is another runner's, a demanded one is missing, or a path is one that workers cannot see.
    """
    runner = named(given.runner)
    options = {name: getattr(given, name) for name in OPTIONS if getattr(given, name) is not None}
    for name in options:
        if runner not in RUNNERS_OF[name]:
            owners = " and ".join(RUNNERS_OF[name]) if len(RUNNERS_OF[name]) < 3 else "other runners"
            raise UsageError(
                f"--{name} is an option of {owners}, and this is {runner}: leave it out or change --runner"
            )
    if runner != DIRECT:
        for name in ("workers", "direct_num_workers", "direct_running_mode"):
            if getattr(given, name, None) is not None:
                instead = "--num_workers and --max_num_workers" if runner == DATAFLOW else "--sdk_worker_parallelism"
                raise UsageError(f"--{name} is DirectRunner's: with {runner} take {instead}")
    found = Submission(runner, _absolute(options), given.no_wait)
    _check_environment(found)
    _check_files(found)
    _check_waiting(found)
    if runner == DATAFLOW:
        _check_dataflow(found)
    if not found.local:
        _check_places(found, paths)
        _check_brought(found)
    return found


def _absolute(options: dict[str, Any]) -> dict[str, Any]:
    """Beam changes into the folder of a setup file that is named without one, and fails."""
    path = options.get("setup_file")
    return options if path is None else {**options, "setup_file": os.path.abspath(path)}


def _check_environment(found: Submission) -> None:
    given = found.given
    endpoint = given.get("job_endpoint")
    if found.runner == PORTABLE and not endpoint:
        raise UsageError("--runner PortableRunner needs --job_endpoint HOST:PORT, the job server to submit to")
    for name in ("job_endpoint", "artifact_endpoint"):
        if name in given and not _ADDRESS.match(given[name]):
            raise UsageError(f"--{name} {given[name]} is not an address: write HOST:PORT, e.g. localhost:8099")
    for name in _ENDPOINTS:
        _check_endpoint(name, given.get(name, ""))
    config, kind = given.get("environment_config"), given.get("environment_type")
    options = given.get("environment_option", [])
    for text in (None if kind == "DOCKER" else config, *options):  # an image's name and tag are none
        if text and _SECRET_VARIABLE.search(text):
            name = "environment_config" if text == config else "environment_option"
            raise UsageError(f"--{name} would put a secret into logs: set it in the workers' own environment instead")
    for name in ("experiments", "dataflow_service_options", "job_server_jvm_properties"):
        if any(_SECRET_VARIABLE.search(text) for text in given.get(name, [])):
            raise UsageError(f"--{name} would put a secret into logs: leave it out")
    if (config or options) and kind is None:
        raise UsageError("--environment_config and --environment_option need --environment_type: DOCKER, PROCESS, …")
    if kind == "LOOPBACK" and (config or options):
        raise UsageError("--environment_type LOOPBACK runs the steps in this process: leave out --environment_config")
    if kind in ("EXTERNAL", "PROCESS") and not (config or options):
        needed = "HOST:PORT of the worker pool" if kind == "EXTERNAL" else 'JSON, {"command": "the boot program"}'
        raise UsageError(f"--environment_type {kind} needs --environment_config: {needed}")
    if kind == "PROCESS" and config:
        try:
            command = json.loads(config)["command"]
        except (ValueError, KeyError, TypeError):
            command = None
        if not isinstance(command, str) or not command:
            raise UsageError('--environment_config of PROCESS is JSON with a command: {"command": "the boot program"}')
    if kind == "EXTERNAL" and config and not config.lstrip().startswith("{") and not _ADDRESS.match(config):
        raise UsageError(
            f"--environment_config {config} is not an address: EXTERNAL takes the HOST:PORT of a worker pool"
        )


def _check_endpoint(name: str, text: str) -> None:
    try:
        url = _url("" if text in _FLINK_INSIDE else text)
        password, _ = url.password, url.port
    except ValueError as error:  # no port, or brackets that do not close
        raise UsageError(f"--{name} {text} is not an address ({error}): write one host and its port") from None
    if password is not None:
        raise UsageError(f"--{name} would put a password into logs: write the address without it")


def _check_files(found: Submission) -> None:
    setup = found.given.get("setup_file")
    if setup is not None:
        if os.path.basename(setup) != "setup.py":
            raise UsageError(f"--setup_file {setup} must be called setup.py, as Beam requires: name this program's own")
        if not os.path.isfile(setup):
            raise UsageError(f"--setup_file {setup} is not a file: name the setup.py of this program's source")
        if importlib.util.find_spec("setuptools") is None:
            raise UsageError(
                "--setup_file needs setuptools in this environment, to build the package: pip install setuptools, or "
                "bring a wheel with --extra_package"
            )
    for package in found.given.get("extra_package", []):
        if not package.endswith(_PACKAGES):
            raise UsageError(f"--extra_package {package} is not a package: it ends in one of {', '.join(_PACKAGES)}")
        if not os.path.isfile(package):
            raise UsageError(f"--extra_package {package} is not a file")
    requirements = found.given.get("requirements_file")
    if requirements is not None and not os.path.isfile(requirements):
        raise UsageError(f"--requirements_file {requirements} is not a file")


def _check_waiting(found: Submission) -> None:
    if found.no_wait and found.local:
        raise UsageError(
            f"--no_wait: the steps of {found.runner} run in this process here, which must stay until they end"
        )
    if found.no_wait and found.own_job_server:
        raise UsageError("--no_wait needs --job_endpoint: a job server that this command starts ends with it")


def _check_dataflow(found: Submission) -> None:
    given = found.given
    missing = [f"--{name}" for name in ("project", "region") if not given.get(name)]
    if not given.get("temp_location") and not given.get("staging_location"):
        missing.append("--temp_location gs://…")
    if missing:
        raise UsageError(f"--runner DataflowRunner needs {', '.join(missing)}")
    if importlib.util.find_spec("google.cloud.dataflow_v1beta3") is None:
        raise UsageError(
            "--runner DataflowRunner needs the package google-cloud-dataflow-client: pip install '.[dataflow]'"
        )
    for name in ("temp_location", "staging_location", "template_location"):
        if name in given and not given[name].startswith("gs://"):
            raise UsageError(f"--{name} {given[name]} is not in Google Cloud Storage: write gs://BUCKET/FOLDER")


def _check_places(found: Submission, paths: Sequence[tuple[str, str]]) -> None:
    """A worker elsewhere finds nothing at a local path, or leaves its files where nobody looks, and says DONE."""
    for flag, path in paths:
        if "://" not in path:
            raise UsageError(
                f"{flag} {path} is on this machine, and the workers of {found.runner} are not: copy it to a store "
                "(gs://, s3://, azfs://) and name it there"
            )


def _check_brought(found: Submission) -> None:
    """The steps are sent by name, so each worker must have this program."""
    given = found.given
    image = given.get("environment_type", "DOCKER") == "DOCKER" and (
        given.get("environment_config")
        or any(option.startswith("docker_container_image=") for option in given.get("environment_option", []))
    )
    brings = ("setup_file", "extra_package", "prepared_workers", "sdk_container_image")
    if not image and not any(given.get(name) for name in brings):
        option = "sdk_container_image" if found.runner == DATAFLOW else "environment_type DOCKER --environment_config"
        raise UsageError(
            f"the workers of {found.runner} need this program: add --setup_file ./setup.py, or --{option} IMAGE with "
            "the program in it, or --prepared_workers where they have it already"
        )
