"""The clients that object stores can be read with, each as its manual has it; and the emulators they read from."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.servers import emulators
from tests.servers.emulators import Emulator
from tests.servers.tools import TOOLS
from transforms.stores.store import Entry

Read = Callable[[Entry], bytes]


class Client(NamedTuple):
    """A way to read: ``open`` makes the client in the environment of now; ``plain`` is what targets compare with."""

    name: str
    open: Callable[[], Read]
    plain: bool = False
    own: bool = False


def _place(entry: Entry) -> tuple[str, str]:
    """(Bucket or container, key) of an entry."""
    scheme, _, rest = entry.path.partition("://")
    parts = rest.split("/", 2 if scheme == "azfs" else 1)
    return parts[-2], parts[-1]


def _google() -> Read:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    client = storage.Client(project="none", credentials=AnonymousCredentials())

    def read(entry: Entry) -> bytes:
        bucket, key = _place(entry)
        content: bytes = client.bucket(bucket).blob(key).download_as_bytes()
        return content

    return read


def _boto3() -> Read:
    import boto3

    client = boto3.client("s3")

    def read(entry: Entry) -> bytes:
        bucket, key = _place(entry)
        content: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return content

    return read


def _azure() -> Read:
    from azure.storage.blob import BlobServiceClient

    client = BlobServiceClient.from_connection_string(os.environ["AZURE_STORAGE_CONNECTION_STRING"])

    def read(entry: Entry) -> bytes:
        content: bytes = client.get_blob_client(*_place(entry)).download_blob().readall()
        return content

    return read


def _obstore_s3() -> Read:
    import obstore
    from obstore.store import S3Store

    stores: dict[str, S3Store] = {}

    def read(entry: Entry) -> bytes:
        bucket, key = _place(entry)
        if bucket not in stores:
            stores[bucket] = S3Store(
                bucket, endpoint=os.environ["AWS_ENDPOINT_URL"], region=os.environ["AWS_DEFAULT_REGION"],
                access_key_id=os.environ["AWS_ACCESS_KEY_ID"], secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
                client_options={"allow_http": True},
            )  # fmt: skip
        return bytes(obstore.get(stores[bucket], key).bytes())

    return read


def _obstore_azure() -> Read:
    import obstore
    from obstore.store import AzureStore

    parts = dict(part.split("=", 1) for part in os.environ["AZURE_STORAGE_CONNECTION_STRING"].split(";") if part)
    stores: dict[str, AzureStore] = {}

    def read(entry: Entry) -> bytes:
        container, key = _place(entry)
        if container not in stores:
            stores[container] = AzureStore(
                container, account_name=parts["AccountName"], account_key=parts["AccountKey"],
                endpoint=parts["BlobEndpoint"].rstrip("/"), client_options={"allow_http": True},
            )  # fmt: skip
        return bytes(obstore.get(stores[container], key).bytes())

    return read


CLIENTS = {
    "gs": (Client("google-cloud-storage", _google, plain=True),),
    "s3": (Client("boto3", _boto3, plain=True), Client("obstore", _obstore_s3)),
    "azfs": (Client("azure-storage-blob", _azure, plain=True), Client("obstore", _obstore_azure)),
}


@contextlib.contextmanager
def emulator(scheme: str) -> Iterator[Emulator]:
    """A running emulator of a cloud's store.

    Raises:
        LookupError: its program is not installed.
    """
    port = emulators.free_port()
    command, environment = {
        "gs": (_gcs_command, emulators._gcs_environment),
        "s3": (_s3_command, emulators._s3_environment),
        "azfs": (_azure_command, emulators._azure_environment),
    }[scheme]
    with tempfile.TemporaryDirectory() as folder, emulators.served(command(port), port, Path(folder) / "log"):
        yield Emulator(scheme, "127.0.0.1", port, environment)


def _gcs_command(port: int) -> list[str]:
    return [
        _program("fake-gcs-server"), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory",
        "-log-level", "error",
    ]  # fmt: skip


def _s3_command(port: int) -> list[str]:
    if importlib.util.find_spec("moto") is None:
        raise LookupError("the package moto[server] is not installed")
    return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]


def _azure_command(port: int) -> list[str]:
    return [
        _program("azurite-blob"), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence",
        "--skipApiVersionCheck", "--silent", "--disableTelemetry",
    ]  # fmt: skip


def _program(name: str) -> str:
    folders = (TOOLS / "bin", TOOLS / "azurite" / "node_modules" / ".bin")
    found = shutil.which(name, path=os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")]))
    if found is None:
        raise LookupError(f"{name} is neither on PATH nor in .tools: see tools/install_test_tools.sh")
    return found
