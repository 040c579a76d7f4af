"""What the graph asks of a runner, read off the pipeline's proto: every runner must be able to take it."""

from __future__ import annotations

import base64
import bz2
import pickletools
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.transforms.environments import Environment

from pipelines.command_line.runner_options import PORTABLE
from pipelines.command_line.runners import Submission
from pipelines.graph import build
from transforms import Plan, RunContext, Settings, SourceFile, Unit
from transforms.output.plan_files import PlanFiles

GROUP_BY_KEY, FLATTEN = "beam:transform:group_by_key:v1", "beam:transform:flatten:v1"
PICKLED = "beam:transform:pickled_python:v1"
PARDO, COMBINE = "beam:transform:pardo:v1", "beam:transform:combine_per_key:v1"
KEYED, GROUPED = "kv(varint,bytes)", "kv(varint,iterable(bytes))"
CANARY = "canary-8d1f0c"
SECRETS = ("AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "MIXPANEL_TOKEN")
LARGEST_PICKLE = 2_000  # bytes of a DoFn by reference: settings and plan, no code

Transform = Any  # of the proto
Proto = Any


SHAPES = {"one-shard": 1, "three-shards": 3, "units-in-files": 3}


def built(shards: int, in_files: bool) -> beam.Pipeline:
    """The job's pipeline for a plan of a shape: how many shards, and whether the units stand in files of their own."""
    plan = Plan(2, 2, 1000, id_shards=shards, key_shards=shards, person_shards=shards)
    settings = Settings(now=1_772_323_200)
    context = RunContext("out", "digest", settings, plan, "a test", {}, {}, started=0.0, launcher_process=0)
    units = [Unit(number, (SourceFile(f"{number}.avro", "a.avro", 500, "1", None),)) for number in range(2)]
    files = PlanFiles(("out/_plan/part-00000.units", "out/_plan/part-00001.units"), units=2)
    pipeline = beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions(["--no_save_main_session"]))
    build(pipeline, files if in_files else units, context, truth="truth.json")
    return pipeline


@pytest.fixture(params=SHAPES)
def proto(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Proto:
    for name in SECRETS:
        monkeypatch.setenv(name, CANARY)
    return built(SHAPES[request.param], "files" in request.param).to_runner_api()


@pytest.fixture(params=["as built", "as submitted"])
def shuffling(request: pytest.FixtureRequest, proto: Proto) -> Proto:
    """The graph, and what Beam makes of it for job servers: combining is cut in two around a grouping of its own."""
    return proto if request.param == "as built" else PortableRunner._optimize_pipeline(proto, PipelineOptions([]))


def of_kind(proto: Proto, urn: str) -> list[Transform]:
    return [transform for transform in proto.components.transforms.values() if transform.spec.urn == urn]


def coder(proto: Proto, coder_id: str) -> str:
    """A coder in short, with its parts: "kv(varint,bytes)"."""
    found = proto.components.coders[coder_id]
    name = found.spec.urn.removeprefix("beam:coder:").removesuffix(":v1")
    parts = ",".join(coder(proto, part) for part in found.component_coder_ids)
    return f"{name}({parts})" if parts else name


def coders(proto: Proto, collections: Iterable[str]) -> set[str]:
    return {coder(proto, proto.components.pcollections[name].coder_id) for name in collections}


def pardos(proto: Proto) -> Iterator[tuple[Transform, Any]]:
    """(Transform, its payload) of all ParDos, those inside of Beam's own ``Create`` among them."""
    for transform in of_kind(proto, PARDO):
        payload = beam_runner_api_pb2.ParDoPayload()
        payload.ParseFromString(transform.spec.payload)
        yield transform, payload


def own_pardos(proto: Proto) -> Iterator[tuple[Transform, Any]]:
    """(Transform, its payload) of the ParDos that are not Beam's own."""
    return (found for found in pardos(proto) if not found[0].unique_name.startswith("Units/"))


def unpacked(pickled: bytes) -> bytes:
    """A pickle as it is before Beam compresses it."""
    compressed = base64.b64decode(pickled)
    return bz2.decompress(compressed) if compressed.startswith(b"BZh") else zlib.decompress(compressed)


def test_whatever_is_shuffled_is_a_number_and_bytes(shuffling: Proto) -> None:
    groups = of_kind(shuffling, GROUP_BY_KEY)
    assert len(groups) >= 8
    for group in groups:
        assert coders(shuffling, group.inputs.values()) == {KEYED}, group.unique_name
        assert coders(shuffling, group.outputs.values()) == {GROUPED}, group.unique_name


def test_all_inputs_of_a_flatten_have_one_coder(shuffling: Proto) -> None:
    """Flink and Spark read all inputs with the first one's coder."""
    flattens = of_kind(shuffling, FLATTEN)
    assert len(flattens) >= 4
    for flatten in flattens:
        read = [*flatten.inputs.values(), *flatten.outputs.values()]
        assert coders(shuffling, read) == {KEYED}, flatten.unique_name
        assert len({shuffling.components.pcollections[name].coder_id for name in read}) == 1, flatten.unique_name


def test_no_collection_is_read_by_a_group_and_by_a_flatten(shuffling: Proto) -> None:
    """Flink refuses a job that has one."""
    flattened = {name for flatten in of_kind(shuffling, FLATTEN) for name in flatten.inputs.values()}
    grouping = [*of_kind(shuffling, GROUP_BY_KEY), *of_kind(shuffling, COMBINE)]
    assert not flattened & {name for group in grouping for name in group.inputs.values()}


def test_sums_travel_through_the_graph_as_bytes(proto: Proto) -> None:
    (combine,) = of_kind(proto, COMBINE)
    payload = beam_runner_api_pb2.CombinePayload()
    payload.ParseFromString(combine.spec.payload)
    assert coder(proto, payload.accumulator_coder_id) == "bytes"


def test_no_collection_of_ours_is_pickled(proto: Proto) -> None:
    for transform, _ in own_pardos(proto):
        assert coders(proto, transform.inputs.values()) <= {KEYED, GROUPED}, transform.unique_name
        assert coders(proto, transform.outputs.values()) <= {KEYED, "bytes"}, transform.unique_name


def test_no_step_has_state_timers_or_side_inputs(proto: Proto) -> None:
    for transform, payload in pardos(proto):
        asked_for = [*payload.state_specs, *payload.timer_family_specs, *payload.side_inputs]
        assert not asked_for, f"{transform.unique_name}: {asked_for}"
        assert not payload.requires_stable_input, transform.unique_name


def test_functions_are_pickled_by_reference(proto: Proto) -> None:
    names = []
    for transform, payload in own_pardos(proto):
        pickled = unpacked(payload.do_fn.payload)
        words = {argument for _, argument, _ in pickletools.genops(pickled) if isinstance(argument, str)}
        code = {word for word in words if "cloudpickle" in word or word.startswith("_make_")}
        assert not code, f"{transform.unique_name} travels with code: {sorted(code)}"
        assert any(word.startswith("transforms.") for word in words), transform.unique_name
        assert len(pickled) < LARGEST_PICKLE, transform.unique_name
        names.append(transform.unique_name)
    assert len(names) >= 8


def test_no_secret_of_the_environment_travels(proto: Proto) -> None:
    composites = [transform.spec.payload for transform in of_kind(proto, PICKLED)]
    pickles = [unpacked(p) for p in (*composites, *(payload.do_fn.payload for _, payload in own_pardos(proto)))]
    assert any(b"truth.json" in pickled for pickled in pickles), "pickles are not looked into as they should be"
    for content in (proto.SerializeToString(), *pickles):
        assert CANARY.encode() not in content


def test_the_graph_can_be_built_again_from_its_proto(proto: Proto) -> None:
    again = beam.Pipeline.from_runner_api(proto, FnApiRunner(), PipelineOptions(["--no_save_main_session"]))
    assert len(again.to_runner_api().components.pcollections) == len(proto.components.pcollections)


@pytest.mark.slow
def test_workers_are_sent_the_package_and_no_session(tmp_path: Path) -> None:
    package = tmp_path / "currents_to_mixpanel-0.1.0-py3-none-any.whl"
    package.write_bytes(b"a package")
    given = {"job_endpoint": "a:1", "environment_type": "EXTERNAL", "environment_config": "a:2"}
    submission = Submission(PORTABLE, {**given, "extra_package": [str(package)]})
    options = PipelineOptions(submission.argv())
    graph = built(1, False).to_runner_api(
        default_environment=Environment.from_options(options.view_as(PortableOptions))
    )
    sent = {
        beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(artifact.role_payload).staged_name
        for environment in graph.components.environments.values()
        for artifact in environment.dependencies
    }
    assert package.name in sent
    assert not {name for name in sent if "session" in name}
