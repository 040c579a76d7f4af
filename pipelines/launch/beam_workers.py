"""What Beam's local runner needs to know of worker processes that wait already: how one is put to work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from apache_beam.portability.api import endpoints_pb2
from apache_beam.runners.portability.fn_api_runner.worker_handlers import GrpcWorkerHandler, WorkerHandler
from apache_beam.transforms.environments import Environment, python_sdk_capabilities
from google.protobuf import json_format, text_format

from pipelines.launch.waiting_workers import WaitingWorkers

_URN = "currents_to_mixpanel:environment:waiting_worker:v1"
_of_run: dict[bytes, WaitingWorkers] = {}


def environment(workers: WaitingWorkers) -> Environment:
    """The environment of steps that these workers carry out."""
    key = str(id(workers)).encode()
    _of_run[key] = workers
    return _WaitingEnvironment(key, capabilities=python_sdk_capabilities(), artifacts=())


@Environment.register_urn(_URN, bytes)
class _WaitingEnvironment(Environment):
    def __init__(self, key: bytes, capabilities: Iterable[str], artifacts: Iterable[Any], hints: Any = None) -> None:
        super().__init__(capabilities, artifacts, hints)
        self._key = key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _WaitingEnvironment) and super().__eq__(other) and self._key == other._key

    def __hash__(self) -> int:
        return hash((super().__hash__(), self._key))

    def to_runner_api_parameter(self, context: Any) -> tuple[str, bytes]:
        return _URN, self._key

    @staticmethod
    def from_runner_api_parameter(
        payload: bytes, capabilities: Iterable[str], artifacts: Iterable[Any], hints: Mapping[str, bytes], context: Any
    ) -> _WaitingEnvironment:
        return _WaitingEnvironment(payload, capabilities, artifacts, hints)


@WorkerHandler.register_environment(_URN, bytes)
class _WaitingWorkerHandler(GrpcWorkerHandler):
    def __init__(self, key: bytes, state: Any, provision_info: Any, grpc_server: Any) -> None:
        super().__init__(state, provision_info, grpc_server)
        self._workers = _of_run[key]

    def start_worker(self) -> None:
        options = json_format.MessageToJson(self.provision_info.provision_info.pipeline_options)
        self._workers.employ({
            "WORKER_ID": self.worker_id,
            "CONTROL_API_SERVICE_DESCRIPTOR": _address(self.control_api_service_descriptor()),
            "LOGGING_API_SERVICE_DESCRIPTOR": _address(self.logging_api_service_descriptor()),
            "PIPELINE_OPTIONS": options,
        }, self._has_contact)  # fmt: skip

    def _has_contact(self) -> bool:
        # Beam keeps here what the worker sends on its first call.
        return self.control_conn._input is not None

    def stop_worker(self) -> None:
        """It ends by itself, once its channels are closed."""


def _address(descriptor: endpoints_pb2.ApiServiceDescriptor) -> str:
    return str(text_format.MessageToString(descriptor))
