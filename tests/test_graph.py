"""What the graph asks of a runner, read off the pipeline's proto: every runner must be able to take it."""

from __future__ import annotations

import base64
import bz2
import pickletools
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipelines.graph import build
from transforms import Plan, RunContext, Settings, SourceFile, Unit

GROUP_BY_KEY, FLATTEN = "beam:transform:group_by_key:v1", "beam:transform:flatten:v1"
PICKLED = "beam:transform:pickled_python:v1"
PARDO, COMBINE = "beam:transform:pardo:v1", "beam:transform:combine_per_key:v1"
KEYED, GROUPED = "kv(varint,bytes)", "kv(varint,iterable(bytes))"
CANARY = "canary-8d1f0c"
SECRETS = ("AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "MIXPANEL_TOKEN")
LARGEST_PICKLE = 2_000  # bytes of a DoFn by reference: settings and plan, no code

Transform = Any  # of the proto
Proto = Any


@pytest.fixture(params=[1, 3], ids=["one-shard", "three-shards"])
def proto(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Proto:
    for name in SECRETS:
        monkeypatch.setenv(name, CANARY)
    shards = request.param
    plan = Plan(2, 2, 1000, id_shards=shards, key_shards=shards, person_shards=shards)
    settings = Settings(now=1_772_323_200)
    context = RunContext("out", "digest", settings, plan, "a test", {}, {}, started=0.0, launcher_process=0)
    units = [Unit(number, (SourceFile(f"{number}.avro", "a.avro", 500, "1", None),)) for number in range(2)]
    options = PipelineOptions(["--no_save_main_session"])
    pipeline = beam.Pipeline(runner=FnApiRunner(), options=options)
    build(pipeline, units, context, truth="truth.json")
    return pipeline.to_runner_api()


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


def own_pardos(proto: Proto) -> Iterator[tuple[Transform, Any]]:
    """(Transform, its payload) of the ParDos that are not inside of Beam's own ``Create``."""
    for transform in of_kind(proto, PARDO):
        if not transform.unique_name.startswith("Units/"):
            payload = beam_runner_api_pb2.ParDoPayload()
            payload.ParseFromString(transform.spec.payload)
            yield transform, payload


def unpacked(pickled: bytes) -> bytes:
    """A pickle as it is before Beam compresses it."""
    compressed = base64.b64decode(pickled)
    return bz2.decompress(compressed) if compressed.startswith(b"BZh") else zlib.decompress(compressed)


def test_whatever_is_shuffled_is_a_number_and_bytes(proto: Proto) -> None:
    groups = of_kind(proto, GROUP_BY_KEY)
    assert len(groups) >= 8
    for group in groups:
        assert coders(proto, group.inputs.values()) == {KEYED}, group.unique_name
        assert coders(proto, group.outputs.values()) == {GROUPED}, group.unique_name


def test_all_inputs_of_a_flatten_have_one_coder(proto: Proto) -> None:
    flattens = of_kind(proto, FLATTEN)
    assert len(flattens) >= 5
    for flatten in flattens:
        assert coders(proto, [*flatten.inputs.values(), *flatten.outputs.values()]) == {KEYED}, flatten.unique_name


def test_no_collection_is_read_by_a_group_and_by_a_flatten(proto: Proto) -> None:
    flattened = {name for flatten in of_kind(proto, FLATTEN) for name in flatten.inputs.values()}
    grouping = [*of_kind(proto, GROUP_BY_KEY), *of_kind(proto, COMBINE)]
    assert not flattened & {name for group in grouping for name in group.inputs.values()}


def test_sums_travel_as_bytes(proto: Proto) -> None:
    (combine,) = of_kind(proto, COMBINE)
    payload = beam_runner_api_pb2.CombinePayload()
    payload.ParseFromString(combine.spec.payload)
    assert coder(proto, payload.accumulator_coder_id) == "bytes"


def test_no_collection_of_ours_is_pickled(proto: Proto) -> None:
    for transform, _ in own_pardos(proto):
        assert coders(proto, transform.inputs.values()) <= {KEYED, GROUPED}, transform.unique_name
        assert coders(proto, transform.outputs.values()) <= {KEYED, "bytes"}, transform.unique_name


def test_no_step_has_state_timers_or_side_inputs(proto: Proto) -> None:
    for transform, payload in own_pardos(proto):
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
    assert len(names) >= 9


def test_no_secret_of_the_environment_travels(proto: Proto) -> None:
    composites = [transform.spec.payload for transform in of_kind(proto, PICKLED)]
    pickles = [unpacked(p) for p in (*composites, *(payload.do_fn.payload for _, payload in own_pardos(proto)))]
    assert any(b"truth.json" in pickled for pickled in pickles), "pickles are not looked into as they should be"
    for content in (proto.SerializeToString(), *pickles):
        assert CANARY.encode() not in content


def test_the_graph_can_be_built_again_from_its_proto(proto: Proto) -> None:
    again = beam.Pipeline.from_runner_api(proto, FnApiRunner(), PipelineOptions(["--no_save_main_session"]))
    assert len(again.to_runner_api().components.pcollections) == len(proto.components.pcollections)
