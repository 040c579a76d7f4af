"""What stands in deploy/: the template's parameters are the command's flags, the image's versions are the package's."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines import flex_template
from pipelines.command_line import options, privacy_flags
from pipelines.command_line.runner_options import DATAFLOW
from tests.commands.whole_run import ROOT
from tests.repository.packaging_metadata import project
from tests.servers.tools import require_module
from transforms.errors import UsageError
from transforms.privacy.hash_key import HashKey
from transforms.privacy.suppression import Suppressed

DEPLOY = ROOT / "deploy" / "dataflow"
IMAGE = "europe-west3-docker.pkg.dev/project/repository/currents-to-mixpanel:1"
# What the launcher adds to the parameters; the flags are those of Beam's own options.
LAUNCHED = (
    "--runner=DataflowRunner", "--project=project", "--region=europe-west3", "--job_name=daily",
    "--temp_location=gs://staging/temp", "--staging_location=gs://staging/staging",
    "--template_location=gs://staging/template_launches/1/job_object", "--service_account_email=worker@project.test",
    "--subnetwork=regions/europe-west3/subnetworks/workers", "--max_num_workers=20",
    "--worker_machine_type=n2-highmem-4", '--labels={"job": "currents"}', "--use_public_ips=false",
    "--enable_streaming_engine=false",
)  # fmt: skip
NEEDED = {"input": "gs://exports/currents", "output": "gs://results/run-1", "sdk_container_image": IMAGE}

SHARES = (("0.5", "0", "1", "1.0"), ("2", "-1", "half", "1.5", ""))
COUNTS = (("1", "64", "100000"), ("0", "-1", "2.5", "many", ""))
SWITCH = (("true", "false"), ("yes", "", "True "))
HOURS = (("2026-03-01", "2026-03-01-17", "2026-03-01T17:00:00Z"), ("yesterday", "20260301", "2026-3-1", ""))
TIMES = (("1772323200", "2026-03-01", "2026-03-01T17:00:00Z"), ("now", "1772323200000", ""))
SAMPLES = {
    "input": (("gs://a/b", "s3://a/b,azfs://c/d/e", "gs://a/date=*/x y.avro"), ("exports/", "/mnt/x", "gs://a,b", "")),
    "output": (("gs://a/b", "hdfs://a/b"), ("out", "/mnt/out", "gs://a,gs://b", "")),
    "since": HOURS,
    "until": HOURS,
    "skip": (("gs://a/b.avro", "a.avro;b.avro"), ("", " ")),
    "skip_archived": SWITCH,
    "now": TIMES,
    "max_reject_share": SHARES,
    "max_block_mb": (
        ("1", "99", "256", "999", "1000", "1024"),
        ("0", "1025", "1030", "1100", "2000", "10000", "2.5", "many", ""),
    ),
    "mixed_workspaces": SWITCH,
    "event_types": (("users.behaviors.*", "users.messages.email.Open,users.UserOrphan"), ("", "a, b", ",")),
    "exclude_events": (("Session Start", "Session *,Email Open"), ("", ",", "a,,b")),
    "anonymous": (("all", "none"), ("some", "", "allnone")),
    "native_since": TIMES,
    "events_since": TIMES,
    "events_until": TIMES,
    "users_share": SHARES,
    "deleted_users": (("drop", "send"), ("keep", "")),
    "properties": (("native", "all"), ("some", "")),
    "profile_updates": (("set", "set_once", "off"), ("on", "")),
    "tag": (("trial-1", "a b"), ("", " ")),
    "drop": (("pii", "pii+,users.messages.*:from_*,[Custom event property] email"), ("", ",", "a,,b")),
    "hash": (("user_id", "external_user_id,profile:phone_number"), ("", ",")),
    "hash_key_file": (
        ("gs://a/key", "projects/p/secrets/s", "projects/p/secrets/s/versions/3"),
        ("key", "/run/key", "projects/p/s", ""),
    ),
    "unknown_fields": (("send", "withhold"), ("drop", "")),
    "suppress": (("gs://a/ids",), ("ids", "")),
    "raw_rejects": SWITCH,
    "id_merge": (("simplified", "native", "none"), ("complicated", "")),
    "device_links": (("next", "sole", "first", "none"), ("last", "")),
    "device_stay": (("1", "0.5", "30", "any"), ("", "-1", "all", "1e1", "10000", ".5")),
    "max_profiles_per_device": COUNTS,
    "no_id": (("nobody", "No One,keine"), ("", ",", "a,,b")),
    "max_profiles_per_known_user": COUNTS,
    "crowd_ids": (("keep", "drop"), ("send", "")),
    "truth": (("gs://a/truth.json",), ("truth.json", "")),
    "overwrite": SWITCH,
    "read_concurrency": COUNTS,
    "max_cache_memory_usage_mb": COUNTS,
    "number_of_worker_harness_threads": COUNTS,
    "sdk_container_image": (
        (IMAGE, f"eu.example:5000/a/b@sha256:{'0' * 64}"),
        ("", "image", "eu.example/a", "eu.example/a@sha256:00"),
    ),
    "disk_size_gb": COUNTS,
    "disk_type": (("compute.googleapis.com/projects/p/zones/z/diskTypes/pd-ssd",), ("", "a b")),
    "autoscaling_algorithm": (("THROUGHPUT_BASED", "NONE"), ("BEST", "")),
    "dataflow_service_options": (("enable_prime", "a=b;c"), ("", ";", "a b")),
}
NEEDED_BESIDE = {"hash": {"hash_key_file": "gs://a/key"}, "hash_key_file": {"hash": "pii"}}
PARAMETERS: list[dict[str, Any]] = flex_template.metadata()["parameters"]


def test_the_metadata_is_what_its_generator_makes_of_the_flags() -> None:
    made = runpy.run_path(str(DEPLOY / "make_metadata.py"))["text"]()
    written = (DEPLOY / "metadata.json").read_text("utf-8")
    assert written == made, "run: python deploy/dataflow/make_metadata.py"
    metadata = json.loads(written)
    assert metadata["streaming"] is False
    for parameter in metadata["parameters"]:
        assert set(parameter) == {"name", "label", "helpText", "isOptional", "regexes", "paramType"}
        assert len(parameter["label"]) > 2
        assert len(parameter["helpText"]) > 10


def test_demanded_are_where_from_where_to_and_the_image() -> None:
    assert [found["name"] for found in PARAMETERS if not found["isOptional"]] == list(NEEDED)


def test_flags_of_one_machine_and_of_the_launcher_are_no_parameters() -> None:
    names = {found["name"] for found in PARAMETERS}
    assert not names & {"runner", "workers", "no_wait", "verbose", "setup_file", "region", "flink_master", "help"}


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda found: str(found["name"]))
def test_a_pattern_takes_what_the_command_takes(parameter: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privacy_flags, "read_key", lambda *_: HashKey(b"from no store"))
    monkeypatch.setattr(privacy_flags, "read_suppressed", lambda _: Suppressed((), ()))
    name = parameter["name"]
    assert name in SAMPLES, f"{name} is new: give SAMPLES values that it takes and values that it does not"
    good, bad = SAMPLES[name]
    (pattern,) = parameter["regexes"]
    for value in good:
        assert re.fullmatch(pattern, value), f"{name}: {pattern} refuses [{value}]"
        given = {**NEEDED, **NEEDED_BESIDE.get(name, {}), name: value}
        options.parse(flex_template.arguments([*(f"--{key}={text}" for key, text in given.items()), *LAUNCHED]))
    for value in bad:
        assert not re.fullmatch(pattern, value), f"{name}: {pattern} takes [{value}]"


def test_a_launch_becomes_a_command_line() -> None:
    given = {
        **NEEDED, "overwrite": "true", "mixed_workspaces": "false", "skip": "a.avro; b.avro", "tag": "a;b", "since": "",
    }  # fmt: skip
    words = flex_template.arguments([*(f"--{key}={text}" for key, text in given.items()), *LAUNCHED])
    found = options.parse(words)
    assert found.overwrite
    assert not found.settings.mixed_workspaces
    assert found.skip == ("a.avro", "b.avro")
    assert found.settings.tag == "a;b"
    assert found.since is None
    assert found.submission.runner == DATAFLOW
    assert found.submission.no_wait  # the launcher must end for the job to begin
    assert found.submission.given["no_use_public_ips"] is True
    assert found.submission.given["machine_type"] == "n2-highmem-4"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--overwrite=perhaps", "--overwrite perhaps is neither true nor false"),
        ("--streaming=true", "--streaming is not a flag"),
        ("--enable_hot_key_logging=true", "--enable_hot_key_logging is not a flag"),
        ("--s3_secret_access_key=x", "AWS_SECRET_ACCESS_KEY"),
        ("--input=/mnt/exports", "--input /mnt/exports is on this machine"),
        ("--sdk_container_image=", "need this program"),
    ],
)
def test_a_launch_that_cannot_be_obeyed_ends_with_one_line(
    word: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {f"--{name}": f"--{name}={value}" for name, value in NEEDED.items()}
    given[word.split("=")[0]] = word
    assert flex_template.main([*given.values(), *LAUNCHED]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_switches_of_the_network_are_read_as_they_are_meant() -> None:
    assert "--no_use_public_ips" not in flex_template.arguments(["--use_public_ips=true"])
    assert "--no_use_public_ips" in flex_template.arguments(["--no_use_public_ips=true"])
    assert "--no_use_public_ips" in flex_template.arguments(["--no_use_public_ips"])
    with pytest.raises(UsageError):
        flex_template.arguments(["--no_use_public_ips=1"])


def test_the_launch_of_the_readme_can_be_obeyed() -> None:
    text = (DEPLOY / "README.md").read_text("utf-8")
    (shown,) = re.findall(r"<!-- launch -->\n\n```json\n(.*?)```", text, re.S)
    launch = json.loads(shown)["launchParameter"]
    _check_parameters(launch["parameters"])
    options.parse(
        flex_template.arguments([*(f"--{key}={value}" for key, value in launch["parameters"].items()), *LAUNCHED])
    )


def test_parameters_of_the_readme_are_those_of_the_template() -> None:
    text = (DEPLOY / "README.md").read_text("utf-8").replace("$IMAGE", IMAGE)
    text = text.replace("$EXPORTS", "exports").replace("$RESULTS", "results")
    found = [words.rstrip("`.") for words in re.findall(r"--parameters (\S+)", text)]
    given: dict[str, str] = {}
    for words in found:
        divider = "~" if words.startswith("^~^") else ","
        given |= dict(word.split("=", 1) for word in words.removeprefix("^~^").split(divider))
    assert len(given) >= 8
    _check_parameters(given)


@pytest.mark.parametrize(
    "name", ["deploy/dataflow/README.md", "deploy/flink/README.md", "docs/running-on-a-cluster.md"]
)
def test_pages_name_only_what_exists(name: str) -> None:
    page = (ROOT / name).read_text("utf-8")
    for target in re.findall(r"\]\(([^)#]+?)(?:#[\w-]+)?\)", page):
        assert ((ROOT / name).parent / target).resolve().exists(), f"{name} links to {target}"
    for path in re.findall(r"`((?:tests|transforms|pipelines|deploy)/[\w/.-]+)", page):
        assert (ROOT / path).exists(), f"{name} names {path}"
    for file in re.findall(r"^\| `([\w.]+)`(?:, `([\w.]+)`)? \|", page, re.M) if "dataflow" in name else ():
        assert not [found for found in file if "." in found and not (DEPLOY / found).exists()], file


def _check_parameters(given: dict[str, str]) -> None:
    patterns = {found["name"]: found["regexes"][0] for found in PARAMETERS}
    for name, value in given.items():
        assert name in patterns, f"{name} is no parameter"
        assert re.fullmatch(patterns[name], value), f"{name}: {patterns[name]} refuses [{value}]"


def test_the_image_has_the_versions_of_pyproject() -> None:
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    versions = dict(re.findall(r"^ARG (\w+)=(\S*)$", text, re.M))
    metadata = project()
    (beam,) = (found for found in metadata["dependencies"] if found.startswith("apache-beam"))
    assert beam == f"apache-beam=={versions['BEAM']}"
    lowest, highest = re.findall(r"\d+\.(\d+)", metadata["requires-python"])
    assert int(lowest) <= int(versions["PYTHON"].split(".")[1]) < int(highest)
    assert f"/python{versions['PYTHON'].replace('.', '')}-template-launcher-base:" in text
    assert versions["EXTRAS"] == ""


def _instructions() -> Iterator[str]:
    text = (DEPLOY / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    return (line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))


def test_the_image_is_launcher_and_worker() -> None:
    lines = list(_instructions())
    sent = (DEPLOY / "gcloudignore").read_text("utf-8").splitlines()
    built = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    assert "RUN pip check" in lines
    assert not any("--editable" in line or "pip install -e" in line for line in lines)
    assert all("--constraint constraints.txt" in line for line in lines if "pip install" in line)
    assert any(line.startswith("COPY --from=beam /opt/apache/beam ") for line in lines)
    assert any(line.startswith("COPY --from=launcher /opt/google/dataflow/python_template_launcher ") for line in lines)
    assert "ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/template/main.py" in lines
    assert lines[-1] == 'ENTRYPOINT ["/opt/apache/beam/boot"]'
    for line in lines:
        if line.startswith("COPY") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), line
                first = source.split("/")[0]
                assert f"!/{first}" in sent, f"gcloud builds submit does not upload {source}"
                assert any(f"!{whole}" in built for whole in (first, source)), f"docker build does not send {source}"


def test_what_workers_are_sent_holds_the_catalogue_and_the_templates(tmp_path: Path) -> None:
    require_module("setuptools")
    source = copy_of_the_source(tmp_path / "source")
    subprocess.run(
        [sys.executable, "setup.py", "--quiet", "sdist", "--dist-dir", str(tmp_path)], cwd=source, check=True
    )
    (package,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(package) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    modules = {path.relative_to(ROOT).as_posix() for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    assert names >= {"transforms/currents/catalog.json", *modules}
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "transforms").rglob("*.j2")}
    assert names >= {"transforms/report/report.css", "transforms/report/templates/report.html.j2", *pages}
    assert not any(name.startswith(("tests", "benchmarks", "deploy")) for name in names)


ROOMS = ("currents_to_mixpanel", "pipelines", "transforms")


def copy_of_the_source(folder: Path) -> Path:
    """What a package is made of, copied: building leaves files behind, and other tests build at the same time."""
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder / name)
    return folder
