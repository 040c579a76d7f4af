"""The runners' own options that this command lets through to Beam, by name: nothing else gets there."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from pipelines.command_line.parser import Parser

DIRECT, PRISM, PORTABLE = "DirectRunner", "PrismRunner", "PortableRunner"
FLINK, SPARK, DATAFLOW = "FlinkRunner", "SparkRunner", "DataflowRunner"
JOB_SERVERS = (PORTABLE, PRISM, FLINK, SPARK)
REMOTE = (*JOB_SERVERS, DATAFLOW)
TEMPLATE = "template_location"


@dataclasses.dataclass(frozen=True)
class PassThrough:
    """One option: its flag (without dashes), what it takes, what it does. ``kind``: text, count, switch, many."""

    name: str
    metavar: str
    help: str
    kind: str = "text"
    choices: tuple[str, ...] | None = None
    aliases: tuple[str, ...] = ()
    default: str | None = None  # given to Beam where the user gives none

    @property
    def flag(self) -> str:
        return f"--{self.name}"


@dataclasses.dataclass(frozen=True)
class Group:
    """Options that belong to the same runners; one group of the help."""

    title: str
    runners: tuple[str, ...]
    options: tuple[PassThrough, ...]


def _switch(name: str, text: str) -> PassThrough:
    return PassThrough(name, "", text, "switch")


def _count(name: str, text: str) -> PassThrough:
    return PassThrough(name, "N", text, "count")


def _defaulting(name: str, metavar: str, text: str, default: str) -> PassThrough:
    """A number that is given to Beam where the user gives none."""
    return PassThrough(name, metavar, f"{text} (default {default})", "count", default=default)


GROUPS = (
    Group(
        "every runner but DirectRunner",
        REMOTE,
        (
            PassThrough(
                "setup_file", "SETUP.PY", "brings this program to the workers: the path of its setup.py, of which a "
                "package is built when the job is submitted",
            ),
            PassThrough(
                "extra_package", "FILE", "brings a package to the workers (.whl, .tar.gz, .tar or .zip), such as a "
                "wheel of this program; may be repeated", "many",
            ),
            PassThrough("requirements_file", "FILE", "further packages that workers install"),
            _switch("prepared_workers", "this program is on the workers already, in their image or environment"),
            _defaulting("max_cache_memory_usage_mb", "N", "a worker's cache of what it reads from the runner", "64"),
            _count("number_of_worker_harness_threads", "threads of a worker process (default: the runner's)"),
            PassThrough(
                "experiments", "NAME[,NAME…]", "switches of the runner that it calls experiments; may be repeated",
                "many",
            ),
        ),
    ),
    Group(
        "PortableRunner, PrismRunner, FlinkRunner, SparkRunner",
        JOB_SERVERS,
        (
            PassThrough("job_endpoint", "HOST:PORT", "the job server to submit to; PortableRunner needs it"),
            PassThrough("artifact_endpoint", "HOST:PORT", "where packages are staged (default: the job server says)"),
            _defaulting("job_server_timeout", "SECONDS", "how long the job server may take to answer", "30"),
            PassThrough(
                "environment_type", "TYPE", "where the steps run: DOCKER, PROCESS, EXTERNAL (a pool of workers that is "
                "there already) or LOOPBACK (in this process; local files may be used)",
                choices=("DOCKER", "PROCESS", "EXTERNAL", "LOOPBACK"),
            ),
            PassThrough(
                "environment_config", "TEXT", "of DOCKER the image, of PROCESS JSON with the worker's command, of "
                "EXTERNAL the pool's HOST:PORT",
            ),
            PassThrough(
                "environment_option", "KEY=VALUE", "instead of --environment_config: docker_container_image, "
                "process_command, process_variables or external_service_address; may be repeated", "many",
            ),
            PassThrough(
                "environment_cache_millis", "MS", "how long a worker is kept for the next step of the job", "count"
            ),
            PassThrough(
                "sdk_worker_parallelism", "N", "worker processes on each machine (default 1; 0: the runner chooses)",
                "count",
            ),
        ),
    ),
    Group(
        "PrismRunner",
        (PRISM,),
        (
            PassThrough(
                "prism_location", "PATH", "the prism program, a zip of it, or the page of a release (default: fetched "
                "from Beam's releases)",
            ),
            PassThrough(
                "prism_log_level", "LEVEL", "debug, info, warn or error", choices=("debug", "info", "warn", "error")
            ),
        ),
    ),
    Group(
        "FlinkRunner and SparkRunner",
        (FLINK, SPARK),
        (
            PassThrough("artifacts_dir", "DIR", "where the job server keeps packages; all machines must reach it"),
            PassThrough("jar_cache_dir", "DIR", "where a fetched job server is kept"),
            PassThrough("job_server_java_launcher", "PATH", "the java that runs the job server (default java)"),
            PassThrough(
                "job_server_jvm_properties", "TEXT", "written with =, e.g. --job_server_jvm_properties=-Xmx2g; "
                "may be repeated", "many",
            ),
        ),
    ),
    Group(
        "FlinkRunner",
        (FLINK,),
        (
            PassThrough(
                "flink_master", "HOST:PORT", "Flink's REST address; [local] or [auto] (default) starts one in the job "
                "server, with the steps in this process",
            ),
            PassThrough(
                "flink_version", "VERSION", "of the cluster: 1.19, 1.20, 2.0, 2.1 or 2.2 (default 2.2)",
                choices=("1.19", "1.20", "2.0", "2.1", "2.2"),
            ),
            PassThrough("flink_job_server_jar", "PATH", "Beam's job server for Flink (default: fetched from Maven)"),
            _switch("flink_submit_uber_jar", "hand the job to Flink's REST address as one jar"),
            _count("parallelism", "how many slots the job takes (default: Flink's own)"),
            _count("max_parallelism", "how many it may take at most"),
        ),
    ),
    Group(
        "SparkRunner",
        (SPARK,),
        (
            PassThrough("spark_master_url", "URL", "spark://HOST:PORT, or local[N] (default local[4])"),
            PassThrough("spark_version", "VERSION", "of the cluster: 3", choices=("3",)),
            PassThrough("spark_job_server_jar", "PATH", "Beam's job server for Spark (default: fetched from Maven)"),
            _switch("spark_submit_uber_jar", "hand the job to Spark's REST address as one jar"),
            PassThrough("spark_rest_url", "URL", "Spark's REST address, for --spark_submit_uber_jar"),
        ),
    ),
    Group(
        "DataflowRunner",
        (DATAFLOW,),
        (
            PassThrough("project", "ID", "the Google Cloud project that pays for the job"),
            PassThrough("region", "REGION", "where the job runs, e.g. europe-west3: take the buckets' own"),
            PassThrough("temp_location", "gs://…", "a folder for Dataflow's own temporary files"),
            PassThrough("staging_location", "gs://…", "a folder for the packages (default: --temp_location)"),
            PassThrough(
                "template_location", "gs://…", "write the job there as a template instead of running it"
            ),
            PassThrough("job_name", "NAME", "the job's name: lower-case letters, digits and hyphens"),
            PassThrough("dataflow_endpoint", "URL", "the service's address, e.g. a regional or private one"),
            PassThrough("service_account_email", "EMAIL", "whom the workers act as"),
            PassThrough("impersonate_service_account", "EMAIL", "whom the submission acts as"),
            PassThrough("sdk_container_image", "IMAGE", "an image of the workers that has this program in it"),
            PassThrough("network", "NAME", "the network of the workers"),
            PassThrough("subnetwork", "regions/REGION/subnetworks/NAME", "their subnetwork"),
            _switch("no_use_public_ips", "no public addresses (the subnetwork needs Private Google Access)"),
            PassThrough("machine_type", "TYPE", "of the workers, e.g. n2-standard-2", aliases=("worker_machine_type",)),
            _count("disk_size_gb", "disk of a worker"),
            PassThrough("disk_type", "TYPE", "kind of a worker's disk", aliases=("worker_disk_type",)),
            _count("num_workers", "workers to begin with"),
            _count("max_num_workers", "workers at most"),
            PassThrough(
                "autoscaling_algorithm", "NAME", "THROUGHPUT_BASED (default) or NONE",
                choices=("THROUGHPUT_BASED", "NONE"),
            ),
            PassThrough("labels", "KEY=VALUE", "of the job, for bills and searches; may be repeated", "many"),
            PassThrough("dataflow_service_options", "NAME[=VALUE]", "switches of the service; may be repeated", "many"),
            PassThrough("dataflow_kms_key", "NAME", "the key that the job's state is encrypted with"),
            PassThrough("worker_region", "REGION", "where the workers are, if not in --region"),
            PassThrough("worker_zone", "ZONE", "where the workers are (default: the service chooses)"),
            PassThrough(
                "flexrs_goal", "GOAL", "COST_OPTIMIZED: later and cheaper; SPEED_OPTIMIZED",
                choices=("COST_OPTIMIZED", "SPEED_OPTIMIZED"),
            ),
        ),
    ),
)  # fmt: skip
OPTIONS = {option.name: option for group in GROUPS for option in group.options}
RUNNERS_OF = {option.name: group.runners for group in GROUPS for option in group.options}
OWN = frozenset({"prepared_workers"})  # for this command alone; Beam knows nothing of it


def title(group: Group) -> str:
    """What the group is called in the help."""
    return f"options of {group.title}"


def add_to(parser: Parser) -> None:
    """Add a group, which the help of the command leaves out, for each group of options; what is not given is None."""
    for group in GROUPS:
        section = parser.add_group_apart(title(group))
        for option in group.options:
            section.add_argument(
                option.flag, *(f"--{alias}" for alias in option.aliases), dest=option.name, default=None,
                help=option.help, **_taking(option),
            )  # fmt: skip


def _taking(option: PassThrough) -> dict[str, Any]:
    if option.kind == "switch":
        return {"action": "store_true"}
    taking: dict[str, Any] = {"metavar": option.metavar}
    if option.kind == "many":
        taking["action"] = "append"
    if option.kind == "count":
        taking["type"] = _whole
    if option.choices:
        taking["choices"] = option.choices
    return taking


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text} is not a count: write a whole number from 0 on")
    return int(text)
