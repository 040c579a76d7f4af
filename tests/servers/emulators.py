"""Object stores of tests: real servers that speak the clouds' protocols, on free ports of this machine.

``gcs``, ``s3`` and ``azure`` are running emulators, ``store_emulator`` is each of them in turn; ``url`` names a fresh
place in one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from unittest import mock

import pytest

from tests.servers.tools import require, require_module
from transforms.stores import store as stores

_AZURE_ACCOUNT = "devstoreaccount1"
# Azurite's own, the same everywhere and known to everybody.
_AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_BUCKETS = itertools.count()
# Of other clouds' real credentials and endpoints nothing must be left for a test to use by mistake.
_FOREIGN = (
    "AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN",
    "GOOGLE_APPLICATION_CREDENTIALS",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Emulator:
    """A running emulator: what its URLs begin with, and the environment in which clients find it."""

    scheme: str
    host: str
    port: int
    environment_at: Callable[[str, int], dict[str, str]]

    @property
    def environment(self) -> dict[str, str]:
        return self.environment_at(self.host, self.port)

    def with_endpoint(self, host: str, port: int) -> dict[str, str]:
        """The environment for something that stands in front of the emulator."""
        return self.environment_at(host, port)

    @contextlib.contextmanager
    def applied(self, environment: Mapping[str, str] | None = None) -> Iterator[None]:
        """This process's environment is the emulator's (or the given one) for a while; clients are made anew."""
        cleared = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
        with mock.patch.dict(os.environ, {**cleared, **(environment or self.environment)}, clear=True):
            forget_clients()
            try:
                yield
            finally:
                forget_clients()

    def url(self, name: str = "") -> str:
        """A place in a fresh bucket (container), which is made."""
        bucket = f"test-{os.getpid()}-{next(_BUCKETS)}"
        with self.applied():
            _CREATE[self.scheme](self, bucket)
        return stores.join(self.root(bucket), name) if name else self.root(bucket)

    def root(self, bucket: str) -> str:
        return f"azfs://{_AZURE_ACCOUNT}/{bucket}" if self.scheme == "azfs" else f"{self.scheme}://{bucket}"


def forget_clients() -> None:
    """Let go of all clients: the next use makes new ones, as the environment is then."""
    stores._remote.cache_clear()


def upload(folder: Path | str, url: str) -> None:
    """Put every file of a folder under a URL."""
    store = stores.store_for(url)
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            store.put(stores.join(url, path.relative_to(folder).as_posix()), path.read_bytes())


def download(url: str, folder: Path | str) -> None:
    """Get every object under a URL into a folder."""
    store = stores.store_for(url)
    for entry in store.list(url):
        path = Path(folder) / entry.path.removeprefix(stores.join(url, ""))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.read(entry))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def served(command: list[str], port: int, log: Path, environment: Mapping[str, str] | None = None) -> Iterator[None]:
    """A server process, from when it answers on its port until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **(environment or {})}
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"{command[0]} does not serve: {log.read_text()[-2000:]}") from None
                time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    program, port = require("fake-gcs-server"), free_port()
    command = [program, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"]
    with served([*command, "-log-level", "error"], port, tmp_path_factory.mktemp("gcs") / "log"):
        yield Emulator("gs", "127.0.0.1", port, _gcs_environment)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    require_module("boto3")
    require_module("moto.server")
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with served(command, port, tmp_path_factory.mktemp("s3") / "log"):
        yield Emulator("s3", "127.0.0.1", port, _s3_environment)


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    require_module("azure.storage.blob")
    program, port = require("azurite-blob"), free_port()
    command = [program, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence"]
    with served(
        [*command, "--skipApiVersionCheck", "--silent", "--disableTelemetry"],
        port, tmp_path_factory.mktemp("azure") / "log",
    ):  # fmt: skip
        yield Emulator("azfs", "127.0.0.1", port, _azure_environment)


@pytest.fixture(params=["gcs", "s3", "azure"])
def store_emulator(request: pytest.FixtureRequest) -> Emulator:
    found: Emulator = request.getfixturevalue(request.param)
    return found


def _gcs_environment(host: str, port: int) -> dict[str, str]:
    return {"STORAGE_EMULATOR_HOST": f"http://{host}:{port}"}


def _s3_environment(host: str, port: int) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _azure_environment(host: str, port: int) -> dict[str, str]:
    text = (
        f"DefaultEndpointsProtocol=http;AccountName={_AZURE_ACCOUNT};AccountKey={_AZURE_KEY};"
        f"BlobEndpoint=http://{host}:{port}/{_AZURE_ACCOUNT};"
    )
    return {"AZURE_STORAGE_CONNECTION_STRING": text}


def _create_gcs(emulator: Emulator, bucket: str) -> None:
    from transforms.stores.gcs import _client

    _client().create_bucket(bucket)


def _create_s3(emulator: Emulator, bucket: str) -> None:
    import boto3

    boto3.session.Session().client("s3").create_bucket(Bucket=bucket)


def _create_azure(emulator: Emulator, bucket: str) -> None:
    from azure.storage.blob import BlobServiceClient

    BlobServiceClient.from_connection_string(os.environ["AZURE_STORAGE_CONNECTION_STRING"]).create_container(bucket)


_CREATE = {"gs": _create_gcs, "s3": _create_s3, "azfs": _create_azure}
