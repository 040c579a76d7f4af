"""Places that are none, endpoints and credentials that are written wrongly, names and objects that are odd.

Each is a line that says what to correct, at once and not after minutes of trying.
"""

from __future__ import annotations

import gzip
import socket
import time
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.servers.emulators import Emulator, forget_clients
from tests.servers.tools import require_module
from transforms.errors import StoreError, StoreUnavailable
from transforms.stores import objects
from transforms.stores import store as stores
from transforms.stores.objects import Meaning
from transforms.stores.store import join, store_for

SECONDS = 5.0
ODD = ("o", "a/o", "x/o?y=z", "a%2Fb", "'q\"<&>", "~t", "tab\there", "u\u0308", "+ =", "deep/b/o/r")


def bucket_of(place: str) -> Any:
    """The bucket of a store, with the client of its cloud."""
    return store_for(place)._bucket  # type: ignore[attr-defined]


def test_no_name_is_taken_for_another_or_for_a_bucket(store_emulator: Emulator) -> None:
    place = store_emulator.url()
    with store_emulator.applied():
        store = store_for(place)
        for name in ODD:
            assert store.entry(join(place, name)) is None
            assert store.load(join(place, name)) is None
            assert not store.is_folder(join(place, name))
            store.delete([join(place, name)])
            assert store.put_if_absent(join(place, name), name.encode())
        found = list(store.list(place))
        assert [entry.path for entry in found] == [join(place, name) for name in sorted(ODD, key=str.encode)]
        assert [store.read(entry).decode() for entry in found] == sorted(ODD, key=str.encode)
        store.delete([entry.path for entry in found])
        assert list(store.list(place)) == []


def test_an_object_that_says_it_is_gzip_comes_as_it_is_stored(store_emulator: Emulator) -> None:
    place, data = store_emulator.url(), gzip.compress(b"x" * 1000)
    with store_emulator.applied():
        bucket = bucket_of(place)
        if store_emulator.scheme == "gs":
            blob = bucket._bucket.blob("file")
            blob.content_encoding = "gzip"
            blob.upload_from_string(data)
        elif store_emulator.scheme == "s3":
            bucket._client.put_object(Bucket=bucket._name, Key="file", Body=data, ContentEncoding="gzip")
        else:
            settings = require_module("azure.storage.blob").ContentSettings(content_encoding="gzip")
            bucket._client.get_blob_client("file").upload_blob(data, content_settings=settings)
        store = store_for(place)
        (entry,) = store.list(place)
        assert entry.size == len(data)
        assert store.read(entry) == data


def test_a_put_into_no_bucket_is_no_conflict(store_emulator: Emulator) -> None:
    place = store_emulator.root("no-such-bucket")
    with store_emulator.applied(), pytest.raises(StoreUnavailable, match=f"there is no (bucket|container) {place}"):
        store_for(place).put(join(place, "x"), b"")


# Places and endpoints


@pytest.mark.parametrize(
    ("environment", "place", "line"),
    [
        ({"AWS_ENDPOINT_URL": "localhost:9"}, "s3://abc/x", "cannot open s3://abc: .*localhost:9.*AWS_ENDPOINT_URL"),
        ({"AWS_DEFAULT_REGION": "no region"}, "s3://abc/x", "cannot open s3://abc: .*no region.*AWS_DEFAULT_REGION"),
        ({"AWS_PROFILE": "nobody"}, "s3://abc/x", r"no credentials for S3 .*nobody"),
        ({}, "s3://Bad Bucket!/x", "Bad Bucket!"),
    ],
)
def test_what_is_wrong_for_s3_is_said(environment: dict[str, str], place: str, line: str, s3: Emulator) -> None:
    with s3.applied(s3.environment | environment), pytest.raises(StoreUnavailable, match=line):
        store_for(place).is_folder(place)


@pytest.mark.parametrize(
    ("environment", "place", "line"),
    [
        ({"STORAGE_EMULATOR_HOST": "localhost:9"}, "gs://abc/x", "write http://localhost:9"),
        ({}, "gs://Bad Bucket!/x", "there is no bucket gs://Bad Bucket!"),
    ],
)
def test_what_is_wrong_for_gcs_is_said(environment: dict[str, str], place: str, line: str, gcs: Emulator) -> None:
    with gcs.applied(gcs.environment | environment), pytest.raises(StoreUnavailable, match=line):
        store_for(place).is_folder(place)


@pytest.mark.parametrize("content", [None, "{", '{"type": "service_account"}'])
def test_a_key_file_that_is_none_is_named(content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "key.json"
    if content is not None:
        key.write_text(content)
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    forget_clients()
    with pytest.raises(StoreUnavailable, match=r"key\.json") as caught:
        store_for("gs://some-bucket/x")
    assert "\n" not in str(caught.value)


NOWHERE = {
    "gs": ("gs://abc/x", {"STORAGE_EMULATOR_HOST": "http://no-such-host.invalid:9"}),
    "s3": ("s3://abc/x", {"AWS_ENDPOINT_URL": "http://no-such-host.invalid:9"}),
    "azfs": ("azfs://no-such-account/abc/x", {"AZURE_STORAGE_KEY": "a2V5"}),
}


def nowhere(store_emulator: Emulator) -> tuple[str, dict[str, str]]:
    place, changed = NOWHERE[store_emulator.scheme]
    kept = {} if store_emulator.scheme == "azfs" else store_emulator.environment
    return place, kept | changed


def unresolved(error: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(error, "no address")

    monkeypatch.setattr(socket, "getaddrinfo", fail)


def test_a_host_that_there_is_not_is_said_at_once(store_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    place, environment = nowhere(store_emulator)
    unresolved(socket.EAI_NONAME, monkeypatch)
    with store_emulator.applied(environment):
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match="no host has the name"):
            store_for(place).is_folder(place)
        assert time.monotonic() - started < SECONDS


def test_names_that_cannot_be_looked_up_for_now_are_tried_again(
    store_emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, environment = nowhere(store_emulator)
    unresolved(socket.EAI_AGAIN, monkeypatch)
    monkeypatch.setattr(stores, "_patience", [1.0])
    with store_emulator.applied(environment):
        store = store_for(place)
        with pytest.raises(StoreError, match="tried for 1 s") as caught:
            store.is_folder(place)
        assert not isinstance(caught.value, StoreUnavailable)


def test_a_service_that_answered_before_is_waited_for(
    store_emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = store_emulator.url()
    with store_emulator.applied():
        store = store_for(place)
        assert not store.is_folder(place)
        meanings = []

        def gone(*_: object) -> NoReturn:
            error = OSError("lost")
            error.__cause__ = socket.gaierror(socket.EAI_NONAME, "no address")
            meanings.append(bucket_of(place).meaning(error))
            raise error

        monkeypatch.setattr(bucket_of(place), "page", gone)
        monkeypatch.setattr(stores, "_patience", [1.0])
        with pytest.raises(StoreError, match="tried for 1 s"):
            store.is_folder(place)
        assert len(meanings) > 1
        assert set(meanings) == {Meaning.PASSING}


def test_a_connection_that_is_refused_is_tried_again(store_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        monkeypatch.setattr(objects, "_FIRST_SECONDS", 1.0)  # of those that never answered
        place = store_emulator.root("some-bucket")
        environment = store_emulator.with_endpoint("127.0.0.1", port)
        with store_emulator.applied(environment), pytest.raises(StoreError, match="tried for 1 s"):
            store_for(place).is_folder(place)


# What S3 says of each key that it deletes


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("SlowDown", None),
        ("InternalError", None),
        ("NoSuchKey", None),
        ("AccessDenied", StoreUnavailable),
        ("Odd", StoreError),
    ],
)
def test_each_key_of_a_bulk_delete_has_an_answer(
    code: str, outcome: type[StoreError] | None, s3: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = s3.url()
    with s3.applied():
        store = store_for(place)
        paths = [join(place, name) for name in ("a", "b")]
        for path in paths:
            store.put(path, b"")
        client = bucket_of(place)._client
        delete, calls = client.delete_objects, []

        def refuse_first(**wanted: Any) -> Any:
            calls.append(wanted)
            if len(calls) == 1 or outcome:
                return {"Errors": [{"Key": "b", "Code": code, "Message": "no"}]}
            return delete(**wanted)

        monkeypatch.setattr(client, "delete_objects", refuse_first)
        if outcome is None:
            store.delete(paths)
            assert len(calls) == (1 if code == "NoSuchKey" else 2)
            assert bool(list(store.list(place))) == (code == "NoSuchKey")
        else:
            with pytest.raises(outcome, match=f"cannot delete.*{code}"):
                store.delete(paths)


@pytest.mark.parametrize(
    ("code", "status", "meaning"),
    [
        ("ExpiredToken", 400, Meaning.REFUSED),
        ("400", 400, Meaning.REFUSED),  # the same in answer to a HEAD, which has no words
        ("InvalidObjectState", 403, Meaning.OTHER),  # in Glacier
        ("KMS.ThrottlingException", 400, Meaning.PASSING),
        ("NotImplemented", 501, Meaning.OTHER),  # knows no conditional puts
        ("MalformedXML", 400, Meaning.OTHER),
    ],
)
def test_what_errors_of_s3_mean(code: str, status: int, meaning: Meaning, s3: Emulator) -> None:
    exceptions = require_module("botocore.exceptions")
    with s3.applied():
        bucket = bucket_of(s3.url())
        answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
        error = exceptions.ClientError(answer, "ListObjectsV2")
        assert bucket.meaning(error) is meaning
        if meaning is Meaning.REFUSED:
            assert code in bucket.explain(error)


@pytest.mark.parametrize(
    ("code", "status", "meaning"),
    [
        ("BlobAlreadyExists", 409, Meaning.CONFLICT),
        ("ContainerBeingDeleted", 409, Meaning.PASSING),
        ("BlobArchived", 409, Meaning.OTHER),
    ],
)
def test_what_errors_of_azure_mean(code: str, status: int, meaning: Meaning, azure: Emulator) -> None:
    exceptions = require_module("azure.core.exceptions")
    with azure.applied():
        error = exceptions.HttpResponseError(code)
        error.status_code, error.error_code = status, code
        assert bucket_of(azure.url()).meaning(error) is meaning
