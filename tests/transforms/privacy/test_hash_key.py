"""Keys of the hashes: where they are read, how they are known again, and what they give."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import pickle
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pyarrow as pa
import pytest

from transforms.errors import CredentialsError, StoreError
from transforms.privacy.hash_key import VARIABLE, HashKey, key_sealed_as, read_key
from transforms.privacy.hashing import Hasher

KEY = b"a key that nobody sees"


class _Secrets(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = self.path == "/v1/projects/p/secrets/s/versions/latest:access"
        body = json.dumps({"payload": {"data": base64.b64encode(KEY + b"\n").decode()}}).encode() if known else b"{}"
        self.send_response(200 if known else 403)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def secrets() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Secrets)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def test_a_key_is_read_from_a_file_the_environment_or_secret_manager(tmp_path: Path, secrets: str) -> None:
    (tmp_path / "key").write_bytes(KEY + b"\n")
    environment = {VARIABLE: KEY.decode(), "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER": secrets}
    places = (str(tmp_path / "key"), None, "projects/p/secrets/s")
    assert [read_key(place, environment).reveal() for place in places] == [KEY] * 3
    with pytest.raises(CredentialsError, match="answers 403"):
        read_key("projects/p/secrets/other", environment)


def test_without_a_key_or_with_another_one_nothing_is_hashed(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="--hash_key_file"):
        read_key(None, {VARIABLE: " "})
    with pytest.raises(CredentialsError, match="is empty or not there"):
        read_key(str(tmp_path / "none"), {})
    seal = HashKey(KEY).seal
    assert key_sealed_as(seal, None, {VARIABLE: KEY.decode()}).reveal() == KEY
    with pytest.raises(StoreError, match="another key"):
        key_sealed_as(seal, None, {VARIABLE: "another"})


def test_a_key_is_neither_shown_nor_pickled() -> None:
    for holder in (HashKey(KEY), Hasher(KEY)):
        assert KEY.decode() not in repr(holder)
        with pytest.raises(TypeError):
            pickle.dumps(holder)


def test_equal_values_have_equal_hashes_whatever_their_type() -> None:
    hasher = Hasher(KEY)
    five = hmac.new(KEY, b"5", hashlib.sha256).hexdigest()[:32]
    for values in (pa.array(["5"]), pa.array([5]), pa.array([5.0]), pa.array([5.0], pa.float32())):
        assert hasher.column(values).to_pylist() == [five]
    assert hasher.leaves({"a": [5, None, {"b": "5"}]}) == {"a": [five, None, {"b": five}]}
    assert hasher.column(pa.array([0.1], pa.float32())) == hasher.column(pa.array([0.1]))
    assert hasher.column(pa.array([["5", None], None])).to_pylist() == [[five, None], None]
