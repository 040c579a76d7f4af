"""Credentials that are missing or refused, clients that are not installed: one line that says what cures it, soon."""

from __future__ import annotations

import http.server
import os
import pickle
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.whole_run import ROOT, run_cli
from tests.servers.emulators import Emulator, forget_clients
from tests.servers.tools import require_module
from transforms.errors import StoreUnavailable
from transforms.stores.store import store_for

SECONDS = 5.0
INPUTS = {"gs": "gs://some-bucket/in", "s3": "s3://some-bucket/in", "azfs": "azfs://someaccount/some-container/in"}
CURES = {
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "azfs": "AZURE_STORAGE_CONNECTION_STRING",
}
EXTRAS = {"s3": "'.[s3]'", "azfs": "'.[azure]'"}
CREDENTIALS = re.compile(r"AWS_|AZURE_|GOOGLE_|GCE_|CLOUDSDK_|STORAGE_EMULATOR_HOST|IDENTITY_|MSI_")


@pytest.fixture
def bare_environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """No credentials anywhere, and a metadata server that takes connections and never says a word."""
    environment = {name: value for name, value in os.environ.items() if not CREDENTIALS.match(name)}
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        yield environment | _without_credentials(f"127.0.0.1:{silent.getsockname()[1]}", tmp_path)


def _without_credentials(nobody: str, tmp_path: Path) -> dict[str, str]:
    return {
        "HOME": str(tmp_path),
        "GCE_METADATA_HOST": nobody,
        "GCE_METADATA_IP": nobody,
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://{nobody}",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_DEFAULT_REGION": "eu-central-1",
    }


LISTING = """
import sys, time
from transforms.errors import StoreUnavailable
from transforms.stores.store import store_for
url = sys.argv[1]
started = time.monotonic()
try:
    list(store_for(url).list(url))
except StoreUnavailable as error:
    print(error)
print(time.monotonic() - started)
"""


def said(url: str, environment: dict[str, str]) -> tuple[str, float]:
    """What listing a place says, and after how many seconds, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", LISTING, url], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120,
        check=True,
    )  # fmt: skip
    *lines, seconds = done.stdout.splitlines()
    assert len(lines) == 1, done.stdout + done.stderr
    return lines[0], float(seconds)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", INPUTS)
def test_without_credentials_the_cure_is_named_soon(scheme: str, bare_environment: dict[str, str]) -> None:
    line, seconds = said(INPUTS[scheme], bare_environment)
    assert CURES[scheme] in line
    assert "credentials" in line
    assert seconds < SECONDS


class _Refusing(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_PUT = do_POST = do_GET

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def refusing() -> Iterator[int]:
    """The port of a service that refuses whatever it is asked."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


class _OtherClouds(_Refusing):
    def do_GET(self) -> None:
        self.send_error(404)


@pytest.mark.slow
def test_another_clouds_metadata_server_is_asked_once(bare_environment: dict[str, str]) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _OtherClouds) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        line, seconds = said(INPUTS["azfs"], bare_environment | {"AZURE_POD_IDENTITY_AUTHORITY_HOST": address})
        server.shutdown()
    assert CURES["azfs"] in line
    assert seconds < SECONDS


def test_refused_credentials_are_said_at_once(store_emulator: Emulator, refusing: int) -> None:
    place = store_emulator.root("some-bucket")
    with store_emulator.applied(store_emulator.with_endpoint("127.0.0.1", refusing)):
        started = time.monotonic()
        for act in (store_for(place).is_folder, store_for(place).get):
            with pytest.raises(StoreUnavailable, match=f"{place}.*{CURES[store_emulator.scheme].split()[0]}"):
                act(f"{place}/x")
        assert time.monotonic() - started < SECONDS


@pytest.mark.slow
def test_the_command_says_it_in_a_line_with_status_2(bare_environment: dict[str, str], tmp_path: Path) -> None:
    started = time.monotonic()
    done = run_cli(INPUTS["gs"], tmp_path / "out", env=bare_environment | {"STORAGE_EMULATOR_HOST": ""})
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert CURES["gs"] in done.stderr
    assert time.monotonic() - started < SECONDS
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("scheme", "package"), [("s3", "boto3"), ("azfs", "azure.storage.blob")])
def test_a_client_that_is_not_installed_is_named(scheme: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    require_module(package)
    forget_clients()
    for name in [name for name in sys.modules if name.startswith(("transforms.stores.s3", "transforms.stores.azure"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        StoreUnavailable, match=rf"{scheme}:// needs the package {package}.*{re.escape(EXTRAS[scheme])}"
    ):
        store_for(INPUTS[scheme])


def test_a_connection_string_of_another_account_is_refused(azure: Emulator) -> None:
    with azure.applied(), pytest.raises(StoreUnavailable, match="is of the account devstoreaccount1"):
        store_for("azfs://other/container/x")
    with (
        azure.applied({"AZURE_STORAGE_CONNECTION_STRING": "nonsense"}),
        pytest.raises(StoreUnavailable, match="is none"),
    ):
        store_for("azfs://other/container/x")


def test_clients_stay_in_their_process(store_emulator: Emulator) -> None:
    with store_emulator.applied(), pytest.raises((TypeError, pickle.PicklingError)):
        pickle.dumps(store_for(store_emulator.root("some-bucket")))
