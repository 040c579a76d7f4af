"""Google Cloud Storage, through google-cloud-storage: an object's version is its generation.

Credentials are the application default ones. ``STORAGE_EMULATOR_HOST`` is honoured, without any.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from transforms.errors import RunError

# A machine without credentials is not to look for a metadata server for twenty seconds.
os.environ.setdefault("GCE_METADATA_TIMEOUT", "1")
os.environ.setdefault("GCE_METADATA_DETECT_RETRIES", "1")

import google.auth
import requests
from google.api_core import exceptions
from google.auth import exceptions as auth_exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from transforms.errors import StoreUnavailable
from transforms.stores.objects import (
    CONNECT_SECONDS,
    CONNECTIONS,
    READ_SECONDS,
    Bucket,
    Listed,
    Meaning,
    ObjectStore,
)  # fmt: skip

# A raw download that is cut off comes as urllib3's own error.
_CUT = (
    DataCorruption,
    requests.RequestException,
    HTTPError,
    auth_exceptions.TransportError,
    OSError,
)
_TIMEOUT = (CONNECT_SECONDS, READ_SECONDS)
_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
_CURE = (
    "set GOOGLE_APPLICATION_CREDENTIALS to a key file, or run [gcloud auth application-default login], or give this "
    "machine's service account a role on the bucket (roles/storage.objectUser)"
)


def open_bucket(name: str) -> ObjectStore:
    """The store of one bucket.

    Raises:
        StoreUnavailable: there are no credentials, or no bucket can have that name.
    """
    return ObjectStore(_GcsBucket(name))


class _NoBucket(RunError):
    """A listing found no bucket; ``explain`` has the words for it."""


class _GcsBucket(Bucket):
    keys_at_once = 1

    def __init__(self, name: str) -> None:
        self.root = f"gs://{name}"
        self._client = _client()
        try:
            self._bucket = self._client.bucket(name)
        except ValueError as error:
            raise StoreUnavailable(f"there is no bucket {self.root}: {str(error).rstrip('.')}") from error

    def page(self, prefix: str, token: str | None, most: int) -> tuple[list[Listed], str | None]:
        listing = self._client.list_blobs(
            self._bucket, prefix=prefix, page_token=token, page_size=most, timeout=_TIMEOUT, retry=None,
            fields="items(name,size,generation),nextPageToken",
        )  # fmt: skip
        try:
            page = next(listing.pages, ())
        except exceptions.NotFound as error:
            raise _NoBucket(self.root) from error  # a folder that is not there is an empty listing
        return [_listed(blob) for blob in page], listing.next_page_token

    def head(self, key: str) -> Listed:
        blob = self._bucket.blob(key)
        blob.reload(timeout=_TIMEOUT, retry=None)
        return _listed(blob)

    def read(self, key: str, version: str) -> bytes:
        blob = self._bucket.blob(key, generation=int(version))
        # Raw: what is stored as gzip comes as it is stored, since that is what its size says.
        content: bytes = blob.download_as_bytes(raw_download=True, timeout=_TIMEOUT, retry=None)
        return content

    def create(self, key: str, data: bytes) -> None:
        self._write(key, data, 0)

    def replace(self, key: str, data: bytes, version: str | None) -> None:
        self._write(key, data, None if version is None else int(version))

    def _write(self, key: str, data: bytes, generation: int | None) -> None:
        self._bucket.blob(key).upload_from_string(
            data, content_type="application/octet-stream", if_generation_match=generation, checksum="crc32c",
            timeout=_TIMEOUT, retry=None,
        )  # fmt: skip

    def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._bucket.blob(key).delete(timeout=_TIMEOUT, retry=None)

    def meaning(self, error: Exception) -> Meaning:
        if isinstance(error, InvalidResponse):
            return _of_status(error.response.status_code)
        if isinstance(error, _NoBucket):
            return Meaning.REFUSED
        if isinstance(error, exceptions.NotFound):
            return Meaning.REFUSED if "specified bucket does not exist" in str(error) else Meaning.MISSING
        if isinstance(error, exceptions.GoogleAPICallError):
            return _of_status(int(error.code or 0))
        if isinstance(error, _CUT):
            return Meaning.PASSING
        if isinstance(error, auth_exceptions.RefreshError):
            return Meaning.PASSING if error.retryable else Meaning.REFUSED
        if isinstance(error, auth_exceptions.GoogleAuthError):
            return Meaning.REFUSED
        return Meaning.OTHER

    def explain(self, error: Exception) -> str:
        if isinstance(error, (_NoBucket, exceptions.NotFound)):
            return f"there is no bucket {self.root}: correct its name"
        if isinstance(error, (exceptions.Forbidden, exceptions.Unauthorized, InvalidResponse)):
            return f"Google Cloud Storage refuses these credentials for {self.root}: {_CURE}"
        return f"the credentials for Google Cloud Storage do not work ({' '.join(str(error).split())[:200]}): {_CURE}"


def _client() -> storage.Client:
    if emulator := os.environ.get("STORAGE_EMULATOR_HOST"):
        if not emulator.startswith(("http://", "https://")):
            raise StoreUnavailable(f"STORAGE_EMULATOR_HOST={emulator} is not an address: write http://{emulator}")
        client = storage.Client(project="emulator", credentials=AnonymousCredentials())
    else:
        try:
            credentials, project = google.auth.default(scopes=[_SCOPE])
        except auth_exceptions.DefaultCredentialsError as error:
            wrong = ""
            if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
                wrong = f" ({' '.join(str(error).split())[:200]})"
            raise StoreUnavailable(f"no credentials for Google Cloud Storage (gs://){wrong}: {_CURE}") from error
        client = storage.Client(project=project or "none", credentials=credentials)
    for scheme in ("https://", "http://"):
        client._http.mount(scheme, HTTPAdapter(pool_connections=4, pool_maxsize=CONNECTIONS))
    return client


def _listed(blob: storage.Blob) -> Listed:
    return Listed(blob.name, int(blob.size), str(blob.generation))


def _of_status(status: int) -> Meaning:
    if status == 404:
        return Meaning.MISSING
    if status == 412:
        return Meaning.CONFLICT
    if status in (401, 403):
        return Meaning.REFUSED
    if status in (408, 429) or status >= 500:
        return Meaning.PASSING
    return Meaning.OTHER
