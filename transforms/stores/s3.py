"""Amazon S3 and what speaks its language, through boto3: an object's version is its etag.

Credentials, region and endpoint come as boto3 finds them: environment, profiles, the machine's role;
``AWS_ENDPOINT_URL_S3`` or ``AWS_ENDPOINT_URL`` for others than Amazon's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import boto3
from botocore import exceptions
from botocore.client import Config
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from transforms.errors import IncompleteListing, StoreUnavailable
from transforms.stores.objects import (
    CONNECT_SECONDS,
    CONNECTIONS,
    READ_SECONDS,
    Bucket,
    Listed,
    Meaning,
    ObjectStore,
)  # fmt: skip

_CURE = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give this machine a role that may read the "
    "input and read, write and delete in the output"
)
_NO_CREDENTIALS = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.TokenRetrievalError,
    exceptions.SSOError,
    exceptions.ProfileNotFound,
)
# A body that is cut off comes as urllib3's own error.
_CUT = (
    exceptions.ConnectionError,
    exceptions.HTTPClientError,
    exceptions.IncompleteReadError,
    exceptions.FlexibleChecksumError,
    ResponseParserError,
    HTTPError,
    OSError,
)
_PASSING_CODES = frozenset(
    {"RequestTimeout", "SlowDown", "ConditionalRequestConflict", "OperationAborted", "InternalError",
     "ServiceUnavailable", "Throttling", "ThrottlingException", "KMS.ThrottlingException", "RequestLimitExceeded",
     "TooManyRequestsException"}
)  # fmt: skip
# Some come with 400, and those of a bulk delete with no status at all.
_REFUSED_CODES = frozenset({"NoSuchBucket", "AccessDenied", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"})
_HEAD_REFUSED = "400"  # an answer without a body has no other code: what S3 says of expired credentials to a HEAD
_ARCHIVED = "InvalidObjectState"
_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})  # GLACIER_IR is read at once


def open_bucket(name: str) -> ObjectStore:
    """The store of one bucket.

    Raises:
        StoreUnavailable: AWS_PROFILE, AWS_DEFAULT_REGION or AWS_ENDPOINT_URL names none.
    """
    return ObjectStore(_S3Bucket(name))


class _S3Bucket(Bucket):
    keys_at_once = 1000

    def __init__(self, name: str) -> None:
        self.root = f"s3://{name}"
        self._name = name
        settings = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            max_pool_connections=CONNECTIONS,
            retries={"total_max_attempts": 1},
        )
        try:
            self._client: Any = boto3.session.Session().client("s3", config=settings)
        except _NO_CREDENTIALS as error:
            raise StoreUnavailable(f"no credentials for S3 (s3://): {error}; {_CURE}") from error
        except (ValueError, exceptions.BotoCoreError) as error:
            raise StoreUnavailable(
                f"cannot open {self.root}: {error}: correct AWS_ENDPOINT_URL (http://HOST:PORT) or AWS_DEFAULT_REGION"
            ) from error

    def page(self, prefix: str, token: str | None, most: int) -> tuple[list[Listed], str | None]:
        asked: dict[str, Any] = {"Bucket": self._name, "Prefix": prefix, "MaxKeys": most}
        if token:
            asked["ContinuationToken"] = token
        found = self._client.list_objects_v2(**asked)
        is_cut = found["IsTruncated"]  # is always there, but in an answer that was cut off before its body
        items = found.get("Contents", ())
        restored: set[tuple[str, str]] = set()
        if any(item.get("StorageClass") in _ARCHIVES for item in items):
            # Asked for only where it matters: not everybody who speaks S3's language knows the attribute.
            again = self._client.list_objects_v2(**asked, OptionalObjectAttributes=["RestoreStatus"])
            restored = {(item["Key"], item["ETag"]) for item in again.get("Contents", ()) if _is_restored(item)}
        page = [
            Listed(
                item["Key"], item["Size"], item["ETag"],
                "" if (item["Key"], item["ETag"]) in restored else _archive(item.get("StorageClass")),
            )
            for item in items
        ]  # fmt: skip
        following = found.get("NextContinuationToken")
        if is_cut and not following:
            raise IncompleteListing("says that its listing goes on, and not where (no NextContinuationToken)")
        return page, following if is_cut else None

    def head(self, key: str) -> Listed:
        found = self._client.head_object(Bucket=self._name, Key=key)
        is_restored = 'ongoing-request="false"' in found.get("Restore", "")
        archived = "" if is_restored else _archive(found.get("StorageClass"))
        return Listed(key, found["ContentLength"], found["ETag"], archived)

    def read(self, key: str, version: str) -> bytes:
        with self._client.get_object(Bucket=self._name, Key=key, IfMatch=version)["Body"] as body:
            content: bytes = body.read()
        return content

    def create(self, key: str, data: bytes) -> None:
        self._client.put_object(Bucket=self._name, Key=key, Body=data, IfNoneMatch="*")

    def replace(self, key: str, data: bytes, version: str | None) -> None:
        condition = {} if version is None else {"IfMatch": version}
        self._client.put_object(Bucket=self._name, Key=key, Body=data, **condition)

    def delete(self, keys: Sequence[str]) -> None:
        wanted = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        refused = self._client.delete_objects(Bucket=self._name, Delete=wanted).get("Errors", ())
        for error in refused:  # each key has an answer of its own
            if error.get("Code") != "NoSuchKey":
                raise exceptions.ClientError({"Error": error}, f"DeleteObjects of {error.get('Key')}")

    def meaning(self, error: Exception) -> Meaning:
        if isinstance(error, (*_NO_CREDENTIALS, exceptions.ParamValidationError)):
            return Meaning.REFUSED
        if isinstance(error, exceptions.ClientError):
            return _of_answer(error.response)
        if isinstance(error, _CUT):
            return Meaning.PASSING
        return Meaning.OTHER

    def explain(self, error: Exception) -> str:
        if isinstance(error, exceptions.ParamValidationError):
            return f"S3 has no such names: {' '.join(str(error).split())[:200]}"
        if not isinstance(error, exceptions.ClientError):
            return f"no credentials for S3: {_CURE}"
        code = error.response.get("Error", {}).get("Code", "")
        if code == "NoSuchBucket":
            return f"there is no bucket {self.root}: correct its name, or AWS_ENDPOINT_URL"
        why = "400: have they expired?" if code == _HEAD_REFUSED else code
        return f"S3 refuses these credentials for {self.root} ({why}): {_CURE}"


def _archive(storage_class: str | None) -> str:
    return storage_class if storage_class in _ARCHIVES else ""


def _is_restored(item: Any) -> bool:
    """Whether an archived object has a copy that can be read for some days."""
    status = item.get("RestoreStatus", {})
    return "RestoreExpiryDate" in status and not status.get("IsRestoreInProgress", False)


def _of_answer(answer: Any) -> Meaning:
    code = str(answer.get("Error", {}).get("Code", ""))
    status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code == _ARCHIVED or status == 501:  # comes with 403; a service that does not know conditional puts
        return Meaning.OTHER
    if code in _REFUSED_CODES or code == _HEAD_REFUSED or status in (401, 403):
        return Meaning.REFUSED
    if status == 404:
        return Meaning.MISSING
    if status == 412:
        return Meaning.CONFLICT
    if code in _PASSING_CODES or status in (408, 409, 429) or status >= 500:
        return Meaning.PASSING
    return Meaning.OTHER
