"""A classic Dataflow template as it lies in a bucket: what stands in it, and those very bytes on another runner."""

from __future__ import annotations

import base64
import bz2
import dataclasses
import hashlib
import io
import json
import pickletools
import tarfile
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import (
    beam_job_api_pb2,
    beam_job_api_pb2_grpc,
    beam_runner_api_pb2,
    endpoints_pb2,
)
from apache_beam.runners.portability.portable_runner import JobServiceHandle

URL, FILE = "beam:artifact:type:url:v1", "beam:artifact:type:file:v1"
PARDO = "beam:transform:pardo:v1"


@dataclasses.dataclass(frozen=True)
class Artifact:
    """What workers install: its name there, its address, the SHA-256 that the pipeline names, and its bytes."""

    name: str
    address: str
    sha256: str
    content: bytes


@dataclasses.dataclass(frozen=True)
class Staged:
    """A template: the job's description, the pipeline's bytes, and the artifacts that the pipeline names."""

    job: dict[str, Any]
    pipeline_bytes: bytes
    artifacts: tuple[Artifact, ...]

    @property
    def pipeline(self) -> Any:
        return beam_runner_api_pb2.Pipeline.FromString(self.pipeline_bytes)

    def steps(self) -> dict[str, Any]:
        """Transforms by their names."""
        return {found.unique_name: found for found in self.pipeline.components.transforms.values()}

    def functions(self) -> dict[str, bytes]:
        """The pickle of each step that runs code, by the step's name."""
        pickles = {}
        for name, step in self.steps().items():
            if step.spec.urn == PARDO:
                payload = beam_runner_api_pb2.ParDoPayload.FromString(step.spec.payload).do_fn.payload
                pickles[name] = unpacked(payload)
        return pickles


def read(template: str, objects: dict[str, bytes]) -> Staged:
    """A template out of all objects of its bucket, by their addresses.

    Raises:
        KeyError: something that the template names is not there.
    """
    job = json.loads(objects[template])
    address = job["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"]
    pipeline_bytes = objects[address]
    found = []
    components = beam_runner_api_pb2.Pipeline.FromString(pipeline_bytes).components
    for environment in components.environments.values():
        for dependency in environment.dependencies:
            assert dependency.type_urn == URL
            url = beam_runner_api_pb2.ArtifactUrlPayload.FromString(dependency.type_payload)
            role = beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(dependency.role_payload)
            found.append(Artifact(role.staged_name, url.url, url.sha256, objects[url.url]))
    return Staged(job, pipeline_bytes, tuple(found))


def unpacked(payload: bytes) -> bytes:
    """A pickle out of Beam's wrapping."""
    packed = base64.b64decode(payload)
    try:
        return bz2.decompress(packed)
    except OSError:
        return zlib.decompress(packed)


def named_in(pickle: bytes) -> set[str]:
    """All texts of a pickle, names of modules, classes and functions among them."""
    return {str(value) for _, value, _ in pickletools.genops(pickle) if isinstance(value, str)}


def everything(objects: dict[str, bytes], staged: Staged) -> Iterator[tuple[str, bytes]]:
    """(Where, bytes) of all that was staged, unpacked as far as it can be."""
    yield from objects.items()
    for name, pickle in staged.functions().items():
        yield f"the function of {name}", pickle
    for artifact in staged.artifacts:
        for name, content in members(artifact.content).items():
            yield f"{artifact.name}: {name}", content


def members(archive: bytes) -> dict[str, bytes]:
    """Files of a package, by their paths below its first folder."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        files = [member for member in opened.getmembers() if member.isfile()]
        return {member.name.partition("/")[2]: _content(opened, member) for member in files}


def _content(opened: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = opened.extractfile(member)
    assert file is not None
    return file.read()


def retarget(staged: Staged, folder: Path, workers: str) -> Any:
    """The pipeline with nothing changed but where its workers are and where they get their artifacts."""
    pipeline = staged.pipeline
    by_address = {artifact.address: artifact for artifact in staged.artifacts}
    for environment in pipeline.components.environments.values():
        environment.urn = "beam:env:external:v1"
        endpoint = endpoints_pb2.ApiServiceDescriptor(url=workers)
        environment.payload = beam_runner_api_pb2.ExternalPayload(endpoint=endpoint).SerializeToString()
        for dependency in environment.dependencies:
            url = beam_runner_api_pb2.ArtifactUrlPayload.FromString(dependency.type_payload).url
            artifact = by_address[url]
            assert hashlib.sha256(artifact.content).hexdigest() == artifact.sha256
            path = folder / artifact.name
            path.write_bytes(artifact.content)
            dependency.type_urn = FILE
            dependency.type_payload = beam_runner_api_pb2.ArtifactFilePayload(
                path=str(path), sha256=artifact.sha256
            ).SerializeToString()
    return pipeline


def run(pipeline: Any, job_server: str, seconds: float = 180) -> tuple[str, list[str]]:
    """(Last state, messages of errors) of a pipeline's proto, given to a job server as it is."""
    options = PipelineOptions([
        f"--job_endpoint={job_server}", "--job_server_timeout=30", "--max_cache_memory_usage_mb=64",
        "--no_save_main_session",
    ])  # fmt: skip
    with grpc.insecure_channel(job_server) as channel:
        service = beam_job_api_pb2_grpc.JobServiceStub(channel)
        job, messages, _ = JobServiceHandle(service, options).submit(pipeline)
        until = time.monotonic() + seconds
        while True:
            answer = service.GetState(beam_job_api_pb2.GetJobStateRequest(job_id=job), timeout=30)
            state = beam_job_api_pb2.JobState.Enum.Name(answer.state)
            if state in ("DONE", "FAILED", "CANCELLED"):
                return state, [] if state == "DONE" else list(_errors(messages))
            assert time.monotonic() < until, f"the job is {state} after {seconds:.0f} s"
            time.sleep(0.1)


def _errors(messages: Iterable[Any]) -> Iterator[str]:
    try:
        for message in messages:
            if message.HasField("message_response"):
                yield message.message_response.message_text
    except grpc.RpcError:
        return
