"""A Dataflow job without Dataflow: our own command stages a template, it is read through, and those very bytes run.

Not shown here: the service's own checks and Google's worker image (docs/running-on-a-cluster.md).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.graph import build
from tests.commands import staged_template
from tests.commands.dataflow_flags import PROJECT, REGION, TOKEN, environment, flags, objects
from tests.commands.several_units import FLAGS, published, write_source
from tests.commands.staged_template import Staged
from tests.commands.whole_run import MODULE, ROOT
from tests.servers.emulators import Emulator, download, upload
from tests.servers.small_cluster import job_server, pool, project

IMAGE = "europe-west3-docker.pkg.dev/a-project/jobs/currents-to-mixpanel:1"
CANARY = "canary-in-the-environment"
SECRETS = {
    "AWS_SECRET_ACCESS_KEY": f"{CANARY}-s3",
    "AZURE_STORAGE_CONNECTION_STRING": f"AccountName=x;AccountKey={CANARY}-azure",
    "MIXPANEL_TOKEN": f"{CANARY}-mixpanel",
    "HTTPS_PROXY_PASSWORD": CANARY,
}
STANDARD_CODERS = re.compile(r"beam:coder:[a-z_]+:v1\Z")
OURS = ("transforms", "pipelines")


@dataclasses.dataclass(frozen=True)
class Case:
    """A run on this machine of an export in a bucket, and the template that is to do the same elsewhere."""

    local: Path  # what a run on this machine publishes
    output: str  # where the template is to publish
    template: str
    objects: dict[str, bytes]  # all of the staging bucket
    staged: Staged
    told: str


@pytest.fixture(scope="module")
def case(gcs: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("template")
    source, local = write_source(folder / "in"), folder / "local"
    exports, output, bucket = gcs.url("currents"), gcs.url("runs/1"), gcs.url()
    with gcs.applied():
        upload(source, exports)
    _command(f"--input={exports}", f"--output={local}", *FLAGS, **gcs.environment)
    template = f"{bucket}/templates/currents"
    told = _command(
        f"--input={exports}", f"--output={output}", *FLAGS,
        *flags(bucket, project(folder / "project"), f"--template_location={template}"),
        **environment(gcs, folder), **SECRETS,
    )  # fmt: skip
    found = objects(gcs, bucket)
    return Case(local, output, template, found, staged_template.read(template, found), told)


def _command(*words: str, **more: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", MODULE, *words], cwd=ROOT, env={**os.environ, **more}, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_says_where_the_template_is_and_that_nothing_is_published(case: Case, gcs: Emulator) -> None:
    assert case.template in case.told
    assert "nothing is published yet" in case.told
    assert [name.rpartition("/")[2] for name in objects(gcs, case.output)] == ["_claim.json"]


def test_the_job_names_what_was_staged_and_nothing_else(case: Case) -> None:
    job = case.staged.job
    assert job["type"] == "JOB_TYPE_BATCH"
    assert job["name"] == "currents"
    packages = [package for found in job["environment"]["workerPools"] for package in found["packages"]]
    named = {package["location"].replace("storage.googleapis.com/", "gs://") for package in packages}
    options = job["environment"]["sdkPipelineOptions"]["options"]
    assert {case.template, options["pipelineUrl"], *named} == set(case.objects)
    assert {artifact.address for artifact in case.staged.artifacts} == named


def test_hashes_are_those_of_the_staged_bytes(case: Case) -> None:
    options = case.staged.job["environment"]["sdkPipelineOptions"]["options"]
    assert options["pipelineProtoHash"] == hashlib.sha256(case.staged.pipeline_bytes).hexdigest()
    assert case.staged.artifacts
    for artifact in case.staged.artifacts:
        assert artifact.sha256 == hashlib.sha256(artifact.content).hexdigest(), artifact.name


def test_the_package_holds_every_module_and_the_catalogue(case: Case) -> None:
    (package,) = (artifact for artifact in case.staged.artifacts if artifact.name == "workflow.tar.gz")
    found = staged_template.members(package.content)
    for room in OURS:
        for path in [*(ROOT / room).rglob("*.py"), ROOT / "transforms" / "currents" / "catalog.json"]:
            name = path.relative_to(ROOT).as_posix()
            assert name in found, f"{name} would not be on the workers"
    catalogue = json.loads(found["transforms/currents/catalog.json"])
    assert catalogue
    assert not [name for name in found if name.split("/")[0] in ("tests", "benchmarks", "deploy")]


def test_the_steps_of_a_template_have_the_names_of_the_graph(case: Case) -> None:
    ours = {name.split("/")[0] for name in case.staged.steps() if "AppliedPTransform" not in name}
    graph = set(re.findall(r'"([A-Z]\w+)" >>', Path(build.__code__.co_filename).read_text("utf-8")))
    assert ours
    assert ours <= graph
    assert {"Units", "ReadIds", "ResolveIdentities", "FormatEvents", "Publish"} <= ours


def test_coders_are_standard_ones_that_any_runner_knows(case: Case) -> None:
    components = case.staged.pipeline.components
    for name, coder in components.coders.items():
        assert STANDARD_CODERS.match(coder.spec.urn), f"{name} is {coder.spec.urn}"
    for name, found in components.pcollections.items():
        assert found.coder_id in components.coders, name


def test_own_functions_are_pickled_by_reference(case: Case) -> None:
    own = 0
    for step, pickle in case.staged.functions().items():
        names = staged_template.named_in(pickle)
        modules = {name for name in names if name.startswith(tuple(f"{room}." for room in OURS))}
        own += bool(modules)
        if "CodeType" in names or "_make_skeleton_class" in names:  # by value: Beam's own lambdas alone
            assert not modules, f"{step} carries code of {sorted(modules)}"
            assert "apache_beam.transforms.core" in names, step
    assert own >= 8
    assert not any("__main__" in staged_template.named_in(pickle) for pickle in case.staged.functions().values())


def test_no_secret_is_anywhere_in_what_was_staged(case: Case) -> None:
    looked_at = 0
    for where, content in staged_template.everything(case.objects, case.staged):
        looked_at += 1
        for secret in (CANARY, TOKEN):
            assert secret.encode() not in content, f"{where} holds [{secret}]"
    assert looked_at > 80
    assert CANARY not in case.told


def test_a_launch_of_the_flex_template_stages_a_job_for_its_own_image(gcs: Emulator, tmp_path: Path) -> None:
    exports, output, bucket = gcs.url("currents"), gcs.url("runs/1"), gcs.url()
    with gcs.applied():
        upload(write_source(tmp_path / "in"), exports)
    launched = {
        "input": exports, "output": output, "sdk_container_image": IMAGE, "overwrite": "false", "tag": "trial-1",
        "max_reject_share": "1", "number_of_worker_harness_threads": "2", "runner": "DataflowRunner",
        "project": PROJECT, "region": REGION, "job_name": "daily", "temp_location": f"{bucket}/temp",
        "staging_location": f"{bucket}/staging", "template_location": f"{bucket}/template_launches/1/job_object",
        "subnetwork": "regions/europe-west3/subnetworks/workers", "use_public_ips": "false",
        "worker_machine_type": "n2-highmem-4", "max_num_workers": "20", "labels": '{"job": "currents"}',
        "experiments": "disable_logging_submission_environment",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(ROOT / "deploy" / "dataflow" / "main.py"), *(f"--{k}={v}" for k, v in launched.items())],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT), **environment(gcs, tmp_path)}, capture_output=True,
        text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    staged = staged_template.read(launched["template_location"], objects(gcs, bucket))
    assert staged.artifacts == ()  # the image has the program
    job = staged.job["environment"]
    assert staged.job["labels"] == {"job": "currents"}
    (workers,) = job["workerPools"]
    assert workers["workerHarnessContainerImage"] == IMAGE
    assert {image["containerImage"] for image in workers["sdkHarnessContainerImages"]} == {IMAGE}
    assert workers["machineType"] == "n2-highmem-4"
    assert workers["ipConfiguration"] in ("WORKER_IP_PRIVATE", 2)
    assert [name.rpartition("/")[2] for name in objects(gcs, output)] == ["_claim.json"]


def test_those_very_bytes_publish_what_a_run_on_this_machine_does(case: Case, gcs: Emulator, tmp_path: Path) -> None:
    for name in ("workers", "server", "artifacts"):
        (tmp_path / name).mkdir()
    with job_server(tmp_path / "server") as server, pool(tmp_path / "workers", gcs.environment) as workers:
        pipeline = staged_template.retarget(case.staged, tmp_path / "artifacts", workers.address)
        state, errors = staged_template.run(pipeline, server.endpoint)
        assert state == "DONE", "\n".join([*errors, workers.log.read_text()[-3000:]])
    with gcs.applied():
        download(case.output, tmp_path / "published")
    elsewhere, here = published(tmp_path / "published"), published(case.local)
    assert elsewhere.keys() == here.keys()
    assert {name for name in here if elsewhere[name] != here[name]} == set()
