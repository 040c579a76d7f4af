"""Azure Blob Storage, through azure-storage-blob: an object's version is its etag.

Paths are Beam's, azfs://ACCOUNT/CONTAINER/PATH. Credentials come from ``AZURE_STORAGE_CONNECTION_STRING`` (its endpoint
included), ``AZURE_STORAGE_KEY``, ``AZURE_STORAGE_SAS_TOKEN``, or as Azure's own tools find them (a service principal in
the environment, the machine's identity, ``az login``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from azure.core import MatchConditions, exceptions
from azure.storage.blob import ContainerClient

from transforms.errors import StoreUnavailable
from transforms.stores.objects import (
    CONNECT_SECONDS,
    READ_SECONDS,
    Bucket,
    Listed,
    Meaning,
    ObjectStore,
)  # fmt: skip

_CURE = (
    "set AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, or run [az login], or give "
    "this machine's identity the role Storage Blob Data Contributor"
)
_NO_CONTAINER = ("ContainerNotFound", "InvalidResourceName")
# Conflicts that do not pass by themselves.
_LASTING = ("BlobArchived", "BlobBeingRehydrated", "BlobImmutableDueToPolicy", "InvalidBlobType", "SnapshotsPresent")
# Of a metadata server. Without 404: other clouds' say so at the same address, and would be asked for 24 seconds.
_ASK_AGAIN = [410, 429, *range(500, 600)]
_ONE_REQUEST = 256 << 20  # bytes that are read and written in one go


def open_bucket(name: str) -> ObjectStore:
    """The store of one container, named ACCOUNT/CONTAINER.

    Raises:
        StoreUnavailable: the connection string is of another account.
    """
    return ObjectStore(_AzureContainer(name))


class _AzureContainer(Bucket):
    keys_at_once = 1

    def __init__(self, name: str) -> None:
        self.root = f"azfs://{name}"
        account, container = name.split("/")
        settings: dict[str, Any] = {
            "retry_total": 0,
            "connection_timeout": CONNECT_SECONDS,
            "read_timeout": READ_SECONDS,
            "max_single_get_size": _ONE_REQUEST,
            "max_single_put_size": _ONE_REQUEST,
        }
        if text := os.environ.get("AZURE_STORAGE_CONNECTION_STRING"):
            try:
                self._client = ContainerClient.from_connection_string(text, container, **settings)
            except ValueError as error:
                raise StoreUnavailable(f"AZURE_STORAGE_CONNECTION_STRING is none: {_CURE}") from error
            if self._client.account_name not in (None, account):
                raise StoreUnavailable(
                    f"{self.root}: AZURE_STORAGE_CONNECTION_STRING is of the account {self._client.account_name}: set "
                    f"that of {account}, or correct the path"
                )
            return
        self._client = ContainerClient(
            f"https://{account}.blob.core.windows.net", container, credential=_credential(), **settings
        )

    def page(self, prefix: str, token: str | None, most: int) -> tuple[list[Listed], str | None]:
        pages: Any = self._client.list_blobs(name_starts_with=prefix, results_per_page=most).by_page(token)
        page = [Listed(blob.name, blob.size, blob.etag, _archive(blob)) for blob in next(pages, ())]
        return page, pages.continuation_token or None

    def head(self, key: str) -> Listed:
        found = self._client.get_blob_client(key).get_blob_properties()
        return Listed(key, int(found.size), found.etag.strip('"'), _archive(found))

    def read(self, key: str, version: str) -> bytes:
        blob = self._client.get_blob_client(key)
        # As it is stored, whatever encoding it says it has: that is what its size says.
        content: bytes = blob.download_blob(
            etag=_quoted(version), match_condition=MatchConditions.IfNotModified, decompress=False
        ).readall()
        return content

    def create(self, key: str, data: bytes) -> None:
        self._client.get_blob_client(key).upload_blob(data, overwrite=False)

    def replace(self, key: str, data: bytes, version: str | None) -> None:
        condition: dict[str, Any] = {}
        if version is not None:
            condition = {"etag": _quoted(version), "match_condition": MatchConditions.IfNotModified}
        self._client.get_blob_client(key).upload_blob(data, overwrite=True, **condition)

    def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._client.get_blob_client(key).delete_blob()

    def meaning(self, error: Exception) -> Meaning:
        if isinstance(error, exceptions.ClientAuthenticationError):
            return Meaning.REFUSED
        if isinstance(error, exceptions.HttpResponseError) and error.status_code is not None:
            return _of_status(error.status_code, _code(error))
        if isinstance(error, (exceptions.AzureError, OSError)):
            return Meaning.PASSING
        return Meaning.OTHER

    def explain(self, error: Exception) -> str:
        if _code(error) in _NO_CONTAINER:
            return f"there is no container {self.root}: correct its name"
        return f"no credentials that Azure takes for {self.root} ({_code(error) or type(error).__name__}): {_CURE}"


def _archive(found: Any) -> str:
    # A blob that is on its way back has this tier until it is there.
    return "Archive" if found.blob_tier == "Archive" else ""


def _credential() -> Any:
    for variable in ("AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN"):
        if os.environ.get(variable):
            return os.environ[variable]
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential(retry_on_status_codes=_ASK_AGAIN)


def _quoted(version: str) -> str:
    # Listings have them bare; in a header the standard wants the quotes.
    return f'"{version}"'


def _code(error: Exception) -> str:
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def _of_status(status: int, code: str) -> Meaning:
    if code in _NO_CONTAINER or status in (401, 403):
        return Meaning.REFUSED
    if status == 404:
        return Meaning.MISSING
    if status == 412 or code in ("BlobAlreadyExists", "ResourceAlreadyExists"):
        return Meaning.CONFLICT
    if (status in (408, 409, 429) or status >= 500) and code not in _LASTING:
        return Meaning.PASSING
    return Meaning.OTHER
