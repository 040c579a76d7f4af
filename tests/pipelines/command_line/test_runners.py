"""The runners: which are taken and which refused and why, what each demands, whose options are whose."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
from apache_beam.options import pipeline_options
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.runner import create_runner

from pipelines.command_line import options, runner_options
from pipelines.command_line.runner_options import DATAFLOW, DIRECT, FLINK, GROUPS, PORTABLE, PRISM, SPARK
from pipelines.command_line.runners import RUNNERS
from tests.commands.whole_run import ROOT
from tests.pipelines.command_line.test_command_line import refusal
from tests.pipelines.command_line.test_help import shown

STORES = ("--input=gs://bucket/in", "--output=gs://bucket/out")
LOCAL = ("--input=in", "--output=out")
SETUP = f"--setup_file={ROOT / 'setup.py'}"
SERVER = "--job_endpoint=localhost:8099"
POOL = ("--environment_type=EXTERNAL", "--environment_config=localhost:50000")
CLOUD = ("--project=p", "--region=europe-west3", "--temp_location=gs://bucket/tmp")
NEEDED: dict[str, tuple[str, ...]] = {
    DIRECT: (),
    PRISM: (),
    PORTABLE: (SERVER, SETUP),
    FLINK: ("--flink_master=flink:8081", SETUP),
    SPARK: ("--spark_master_url=spark://spark:7077", SETUP),
    DATAFLOW: (*CLOUD, SETUP),
}
"""What each runner demands besides."""


def parsed(runner: str, *more: str, places: tuple[str, ...] = STORES) -> options.Options:
    return options.parse([*places, f"--runner={runner}", *more])


# Which runners


@pytest.mark.parametrize("name", RUNNERS)
def test_a_runner_is_taken_by_its_name_and_by_its_class(name: str) -> None:
    for text in (name, name.lower(), RUNNERS[name]):
        assert parsed(text, *NEEDED[name]).submission.runner == name
    assert type(create_runner(RUNNERS[name])).__name__.endswith(name)
    assert RUNNERS[name] in StandardOptions.ALL_KNOWN_RUNNERS


@pytest.mark.parametrize(
    "text",
    [
        "DaskRunner",
        "apache_beam.runners.dask.dask_runner.DaskRunner",
        "dask",
        "RayRunner",
        "ray_beam_runner.portability.ray_fn_runner.RayFnApiRunner",
        "FlareDB",
        "FlareDBRunner",
        "PySparkRunner",
        "beam_pyspark_runner.pyspark_runner.PySparkRunner",
    ],
)
def test_runners_that_lost_data_are_refused_with_the_reason(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    message = refusal(capsys, *LOCAL, f"--runner={text}")
    assert f"--runner {text} is refused, since it lost or doubled data" in message
    assert "tagged outputs came mixed" in message
    assert "side effects ran twice" in message
    assert DATAFLOW in message  # and what to take instead


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("FlinkRuner", FLINK),
        ("dataflow_runner", DATAFLOW),
        ("FnApiRunner", None),
        ("KafkaStreamsRunner", None),
        ("BundleBasedDirectRunner", None),
        ("InteractiveRunner", None),
        ("my.module.FlinkRunner", FLINK),
        ("", None),
    ],
)
def test_a_runner_that_is_not_known_is_refused(
    text: str, nearest: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refusal(capsys, *LOCAL, f"--runner={text}")
    assert f"--runner {text} is not supported" in message
    assert all(name in message for name in RUNNERS)
    if nearest is not None:
        assert f"did you mean {nearest}?" in message


# Which count as local


@pytest.mark.parametrize(
    ("runner", "more", "local"),
    [
        (DIRECT, (), True),
        (PRISM, (), True),
        (PRISM, ("--environment_type=LOOPBACK",), True),
        (PRISM, (SERVER,), False),
        (PRISM, POOL, False),
        (PORTABLE, (SERVER,), False),
        (PORTABLE, (SERVER, "--environment_type=LOOPBACK"), True),
        (PORTABLE, (SERVER, "--environment_type=DOCKER"), False),
        (FLINK, (), True),
        (FLINK, ("--flink_master=[local]",), True),
        (FLINK, ("--flink_master=[auto]",), True),
        (FLINK, ("--flink_master=[local]", "--environment_type=DOCKER"), False),
        (FLINK, ("--flink_master=flink:8081",), False),
        (FLINK, ("--flink_master=flink:8081", "--environment_type=LOOPBACK"), True),
        (SPARK, (), True),
        (SPARK, ("--spark_master_url=local[2]",), True),
        (SPARK, ("--spark_master_url=spark://spark:7077",), False),
        (DATAFLOW, CLOUD, False),
    ],
)
def test_steps_that_run_here_may_use_files_of_here(
    runner: str, more: tuple[str, ...], local: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    if local:
        found = parsed(runner, *more, places=LOCAL)
        assert found.submission.local
    else:
        found = parsed(runner, *more, SETUP)
        assert not found.submission.local
        for places in (
            ("--input=gs://b/in,in", STORES[1]),
            (STORES[0], "--output=out"),
            (*STORES, "--truth=truth.json"),
        ):
            message = refusal(capsys, *places, f"--runner={runner}", *more, SETUP)
            assert re.search(r"--(input|output|truth) \S+ is on this machine, and the workers of ", message), message
        assert "gs://, s3://, azfs://" in message
        parsed(runner, *more, SETUP, "--skip=in/a.avro")  # a name, not a place
    # Where steps run elsewhere, or the run cannot be made again, pass 1 reads all columns at once.
    assert found.settings.read_whole_rows == (runner != DIRECT)


def test_a_local_path_in_another_form_is_one_too(capsys: pytest.CaptureFixture[str]) -> None:
    message = refusal(capsys, "--input=file:///in", STORES[1], f"--runner={PORTABLE}", SERVER, SETUP)
    assert "--input /in is on this machine" in message


# What must be brought


@pytest.mark.parametrize("runner", [PRISM, PORTABLE, FLINK, SPARK, DATAFLOW])
def test_workers_elsewhere_must_be_brought_the_program(runner: str, capsys: pytest.CaptureFixture[str]) -> None:
    more = [*(flag for flag in NEEDED[runner] if flag != SETUP), *([SERVER] if runner == PRISM else [])]
    message = refusal(capsys, *STORES, f"--runner={runner}", *more)
    assert f"the workers of {runner} need this program: add --setup_file ./setup.py" in message
    assert "--prepared_workers" in message
    image = "--sdk_container_image" if runner == DATAFLOW else "--environment_config"
    assert image in message
    requirements = f"--requirements_file={ROOT / 'setup.py'}"  # brings other packages only
    assert "need this program" in refusal(capsys, *STORES, f"--runner={runner}", *more, requirements)
    parsed(runner, *more, "--prepared_workers")


def test_workers_elsewhere_must_be_brought_the_program_in_one_of_the_known_ways(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = tmp_path / "currents_to_mixpanel-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"")
    parsed(PORTABLE, SERVER, f"--extra_package={wheel}")
    parsed(PORTABLE, SERVER, "--environment_type=DOCKER", "--environment_config=registry/image:1")
    parsed(
        PORTABLE, SERVER, "--environment_type=DOCKER", "--environment_option=docker_container_image=registry/image:1"
    )
    parsed(DATAFLOW, *CLOUD, "--sdk_container_image=registry/image:1")
    # The address of a pool says nothing of what is in it.
    assert "need this program" in refusal(capsys, *STORES, f"--runner={PORTABLE}", SERVER, *POOL)


@pytest.mark.parametrize(
    ("runner", "more", "message"),
    [
        (PORTABLE, (), "--runner PortableRunner needs --job_endpoint HOST:PORT"),
        (PORTABLE, ("--job_endpoint=embed",), "--job_endpoint embed is not an address: write HOST:PORT"),
        (PORTABLE, ("--job_endpoint=http://a:1",), "--job_endpoint http://a:1 is not an address"),
        (PORTABLE, (SERVER, "--artifact_endpoint=x"), "--artifact_endpoint x is not an address"),
        (PORTABLE, ("--job_endpoint=localhost:99999", SETUP), "localhost:99999 is not an address (Port out of range"),
        (FLINK, ("--flink_master=a:8081,b:8081", SETUP), "--flink_master a:8081,b:8081 is not an address (Port"),
        (DATAFLOW, (*CLOUD, SETUP, "--dataflow_endpoint=http://[a"), "http://[a is not an address (Invalid IPv6 URL)"),
        (PORTABLE, (SERVER, "--environment_type=REMOTE"), "invalid choice: 'REMOTE'"),
        (PORTABLE, (SERVER, "--environment_type=EXTERNAL"), "EXTERNAL needs --environment_config: HOST"),
        (PORTABLE, (SERVER, "--environment_type=EXTERNAL", "--environment_config=x"), "x is not an address: EXTERNAL"),
        (PORTABLE, (SERVER, "--environment_type=PROCESS"), "PROCESS needs --environment_config: JSON"),
        (PORTABLE, (SERVER, "--environment_type=PROCESS", "--environment_config=boot"), "PROCESS is JSON with a com"),
        (PORTABLE, (SERVER, "--environment_type=PROCESS", '--environment_config={"command": 1}'), "is JSON with"),
        (PORTABLE, (SERVER, "--environment_config=image"), "need --environment_type: DOCKER, PROCESS"),
        (PORTABLE, (SERVER, "--environment_type=LOOPBACK", "--environment_config=a:1"), "leave out --envir"),
        (PORTABLE, (SERVER, "--setup_file=pyproject.toml"), "pyproject.toml must be called setup.py"),
        (PORTABLE, (SERVER, "--setup_file=nowhere/setup.py"), "nowhere/setup.py is not a file"),
        (PORTABLE, (SERVER, "--extra_package=README.md"), "README.md is not a package: it ends in one of .whl"),
        (PORTABLE, (SERVER, "--extra_package=gone.whl"), "--extra_package gone.whl is not a file"),
        (PORTABLE, (SERVER, SETUP, "--requirements_file=gone.txt"), "--requirements_file gone.txt is not a file"),
        (PORTABLE, (SERVER, SETUP, "--workers=2"), "DirectRunner's: with PortableRunner take --sdk_worker"),
        (DATAFLOW, (*CLOUD, SETUP, "--workers=2"), "take --num_workers and --max_num_workers"),
        (PORTABLE, (SERVER, SETUP, "--direct_running_mode=in_memory"), "--direct_running_mode is DirectRunner's"),
        (PORTABLE, (SERVER, SETUP, "--job_server_timeout=soon"), "soon is not a count: write a whole number from 0 on"),
        (DATAFLOW, (SETUP,), "--runner DataflowRunner needs --project, --region, --temp_location gs://…"),
        (DATAFLOW, (*CLOUD[:2], SETUP, "--temp_location=tmp"), "--temp_location tmp is not in Google Cloud Storage"),
        (DATAFLOW, (*CLOUD, SETUP, "--template_location=x"), "--template_location x is not in Google Cloud Storage"),
        (FLINK, ("--flink_version=1.18",), "invalid choice: '1.18'"),
        (DIRECT, ("--no_wait",), "--no_wait: the steps of DirectRunner run in this process"),
        (PRISM, ("--no_wait",), "--no_wait: the steps of PrismRunner run in this process"),
        (FLINK, ("--flink_master=flink:8081", SETUP, "--no_wait"), "--no_wait needs --job_endpoint"),
        (PORTABLE, (SERVER, SETUP, "--read_concurrency=0"), "0 is not a count"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_before_anything_begins(
    runner: str, more: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refusal(capsys, *STORES, f"--runner={runner}", *more)


def test_a_setup_file_needs_setuptools_here(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "setuptools" else find(name))
    message = refusal(capsys, *STORES, f"--runner={PORTABLE}", SERVER, SETUP)
    assert "--setup_file needs setuptools in this environment" in message
    assert "pip install setuptools, or bring a wheel with --extra_package" in message


# Whose options are whose


@pytest.mark.parametrize("name", runner_options.OPTIONS)
def test_an_option_of_one_runner_is_refused_for_another(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    option = runner_options.OPTIONS[name]
    value = option.choices[0] if option.choices else "1"
    flag = option.flag if option.kind == "switch" else f"{option.flag}={value}"
    for runner in RUNNERS:
        if runner not in runner_options.RUNNERS_OF[name]:
            message = refusal(capsys, *LOCAL, f"--runner={runner}", flag)
            assert f"--{name} is an option of " in message
            assert f"and this is {runner}" in message


def beam_names(parser_of: Any) -> set[str]:
    """All flags that Beam knows, by its own parsers."""
    parser = pipeline_options._BeamArgumentParser(allow_abbrev=False)
    for found in parser_of:
        found._add_argparse_args(parser)
    return {name for action in parser._actions for name in action.option_strings}


def test_all_that_is_let_through_is_known_to_beam_and_documented_by_help() -> None:
    kinds = [kind for kind in vars(pipeline_options).values() if isinstance(kind, type)]
    known = beam_names(
        [kind for kind in kinds if issubclass(kind, PipelineOptions) and "_add_argparse_args" in vars(kind)]
    )
    for group in GROUPS:
        assert all(f"options of {group.title}" in shown(runner) for runner in group.runners)
        for option in group.options:
            for name in (option.name, *option.aliases):
                assert name in runner_options.OWN or f"--{name}" in known, name
                assert all(f"--{name}" in shown(runner) for runner in group.runners)
            assert len(option.help) >= 10


def test_options_reach_beam_as_they_are_given() -> None:
    found = parsed(
        DATAFLOW, *CLOUD, SETUP, "--experiments=a,b", "--experiments=c", "--no_use_public_ips", "--num_workers=3",
        "--worker_machine_type=n2-standard-2", "--labels=team=growth", "--labels=cost=low", "--dataflow_kms_key=k",
    )  # fmt: skip
    given = PipelineOptions(found.submission.argv()).get_all_options(drop_default=True)
    assert given["runner"] == DATAFLOW
    assert given["project"] == "p"
    assert given["experiments"] == ["a", "b", "c"]
    assert given["use_public_ips"] is False
    assert given["num_workers"] == 3
    assert given["machine_type"] == "n2-standard-2"
    assert given["labels"] == ["team=growth", "cost=low"]
    assert given["max_cache_memory_usage_mb"] == 64
    assert given["save_main_session"] is False
    assert given["setup_file"] == str(ROOT / "setup.py")


def test_this_command_decides_some_options_for_beam() -> None:
    portable = parsed(PORTABLE, SERVER, "--prepared_workers").submission.argv()
    assert {"--job_server_timeout=30", "--max_cache_memory_usage_mb=64", "--no_save_main_session"} <= set(portable)
    assert not any("prepared_workers" in word for word in portable)
    ours = parsed(PORTABLE, SERVER, SETUP, "--job_server_timeout=7", "--max_cache_memory_usage_mb=0").submission.argv()
    assert {"--job_server_timeout=7", "--max_cache_memory_usage_mb=0"} <= set(ours)
    assert not {"--job_server_timeout=30", "--max_cache_memory_usage_mb=64"} & set(ours)
    assert "--environment_type=LOOPBACK" in parsed(PRISM).submission.argv()
    assert "--environment_type=LOOPBACK" in parsed(FLINK).submission.argv()
    # Beam would take these for LOOPBACK, since no cluster is named.
    for runner in (FLINK, SPARK, PRISM):
        assert "--environment_type=DOCKER" in parsed(runner, SERVER, SETUP).submission.argv()
    for runner in RUNNERS:
        argv = parsed(runner, *NEEDED[runner]).submission.argv()
        assert argv[-1] == "--no_save_main_session"
        assert not [word for word in argv if "save_main" in word][:-1]


def test_a_setup_file_beside_us_is_named_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert f"--setup_file={ROOT / 'setup.py'}" in parsed(PORTABLE, SERVER, "--setup_file=setup.py").submission.argv()


@pytest.mark.parametrize("runner", [PRISM, PORTABLE, FLINK, SPARK, DATAFLOW])
@pytest.mark.parametrize(
    ("flag", "cure"),
    [
        ("--s3_secret_access_key=hunter2", "AWS_SECRET_ACCESS_KEY"),
        ("--azure_connection_string=hunter2", "AZURE_STORAGE_CONNECTION_STRING"),
        ("--gbek=hunter2", "no flag at all"),
        ("--flink_token=hunter2", "secrets do not go into flags"),
        ("--regoin=hunter2", "did you mean --region?"),
        ("--job-endpont=hunter2", "did you mean --job_endpoint?"),
        ("--save_main_session", "is not a flag"),
        ("--streaming", "is not a flag"),
        ("--update", "is not a flag"),
    ],
)
def test_secret_bearing_and_misspelt_flags_are_refused_on_every_runner(
    runner: str, flag: str, cure: str, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refusal(capsys, *STORES, f"--runner={runner}", *NEEDED[runner], flag)
    assert cure in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    "text",
    [
        '{"command": "/boot", "env": {"AWS_SECRET_ACCESS_KEY": "hunter2"}}',
        '{"command": "/boot", "env": {"AZURE_STORAGE_CONNECTION_STRING": "hunter2"}}',
        '{"command": "/boot", "env": {"AZURE_STORAGE_KEY": "hunter2"}}',
        '{"command": "/boot", "env": {"AZURE_STORAGE_SAS_TOKEN": "hunter2"}}',
        '{"command": "MIXPANEL_TOKEN=hunter2 /boot"}',
    ],
)
def test_the_environment_of_workers_is_no_place_for_secrets(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    more = (SERVER, SETUP, "--environment_type=PROCESS")
    message = refusal(capsys, *STORES, f"--runner={PORTABLE}", *more, f"--environment_config={text}")
    assert "--environment_config would put a secret into logs" in message
    assert "hunter2" not in message
    option = "--environment_option=process_variables=A=b,AWS_SESSION_TOKEN=hunter2"
    message = refusal(
        capsys, *STORES, f"--runner={PORTABLE}", *more, "--environment_option=process_command=/boot", option
    )
    assert "--environment_option would put a secret into logs" in message
    parsed(PORTABLE, *more, '--environment_config={"command": "/boot", "env": {"AWS_REGION": "eu-central-1"}}')


@pytest.mark.parametrize(
    ("runner", "flag"),
    [
        (DATAFLOW, "--experiments=a,mixpanel_token=hunter2"),
        (DATAFLOW, "--dataflow_service_options=api_key=hunter2"),
        (DATAFLOW, "--dataflow_endpoint=https://user:hunter2@dataflow.test"),
        (FLINK, "--job_server_jvm_properties=-Djavax.net.ssl.keyStorePassword=hunter2"),
        (FLINK, "--flink_master=https://user:hunter2@flink.test"),
    ],
)
def test_values_that_hold_a_secret_are_refused(runner: str, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    message = refusal(capsys, *STORES, f"--runner={runner}", *NEEDED[runner], flag)
    assert re.search(f"{flag.split('=')[0]} would put a (secret|password) into logs", message)
    assert "hunter2" not in message


def test_the_name_of_an_image_is_no_secret() -> None:
    parsed(PORTABLE, SERVER, "--environment_type=DOCKER", "--environment_config=registry/tokenizer:1")


def test_dataflow_without_its_client_is_refused_with_the_extra_that_has_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if "dataflow" in name else find(name))
    message = refusal(capsys, *STORES, f"--runner={DATAFLOW}", *NEEDED[DATAFLOW])
    assert "needs the package google-cloud-dataflow-client: pip install '.[dataflow]'" in message


def test_the_documentation_has_each_option_as_help_does() -> None:
    page = (ROOT / "docs" / "runners.md").read_text("utf-8")
    text = page.partition("## Options of the runners")[2]
    documented = dict(re.findall(r"^\| `--(\w+)[^|]*` \| (.+) \|$", text, re.MULTILINE))
    assert list(documented) == list(runner_options.OPTIONS)
    for name, option in runner_options.OPTIONS.items():
        assert documented[name].replace("`", "") == option.help
    for group in GROUPS:
        assert f"### Options of {group.title}\n" in text
    for runner in RUNNERS:
        assert f"`{runner}`" in page
