"""Where the key of the hashes comes from: a file in any store, Google Secret Manager, or the environment.

The key itself stays in the process that reads it. What travels is where it is, and a digest of its digest, by which
every worker makes sure that it has read the key that the run began with.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Mapping
from typing import Any

from transforms.errors import CredentialsError, StoreError
from transforms.stores.store import store_for

VARIABLE = "CURRENTS_HASH_KEY"

_SECRET = re.compile(r"projects/[^/]+/secrets/[\w-]+(/versions/(\d+|latest))?\Z")
_SERVICE = "https://secretmanager.googleapis.com"
# As gcloud reads it too: another address of the service.
_SERVICE_VARIABLE = "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_SECONDS = 30.0


class HashKey:
    """A key in the process that read it: it is neither printed nor pickled."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def reveal(self) -> bytes:
        return self._key

    @property
    def seal(self) -> str:
        """A digest of the key's digest: the same for the same key, and no help in finding it."""
        return hashlib.sha256(hashlib.sha256(self._key).digest()).hexdigest()

    def __repr__(self) -> str:
        return "HashKey(…)"

    def __reduce__(self) -> Any:
        raise TypeError("a hash key stays in its process")


def is_secret_name(place: str) -> bool:
    """Whether a place is a secret of Google Secret Manager: ``projects/P/secrets/S``, with ``/versions/V`` or not."""
    return _SECRET.match(place) is not None


def read_key(place: str | None, environment: Mapping[str, str]) -> HashKey:
    """The key at a place (a path in any store, or a secret's name), without one from the environment.

    Blanks and newlines around a key do not count.

    Raises:
        CredentialsError: it is not there, or is empty.
    """
    if place is None:
        key = os.fsencode(environment.get(VARIABLE, "")).strip()
        if not key:
            raise CredentialsError(
                f"hashes need a key: put it into a file and name it with --hash_key_file, or set {VARIABLE}"
            )
        return HashKey(key)
    if is_secret_name(place):
        key = _from_secret_manager(place, environment)
    else:
        try:
            key = store_for(place).get(place) or b""
        except (OSError, StoreError) as error:
            raise CredentialsError(f"--hash_key_file {place} cannot be read: {error}") from error
    key = key.strip()
    if not key:
        raise CredentialsError(f"--hash_key_file {place} is empty or not there: put the key of the hashes into it")
    return HashKey(key)


def key_sealed_as(seal: str, place: str | None, environment: Mapping[str, str]) -> HashKey:
    """The key of that seal.

    Raises:
        CredentialsError: there is none.
        StoreError: there is another.
    """
    found = read_key(place, environment)
    if found.seal != seal:
        where = f"--hash_key_file {place}" if place is not None else VARIABLE
        raise StoreError(f"{where} holds another key here than where the run began: give all workers the same one")
    return found


def _from_secret_manager(name: str, environment: Mapping[str, str]) -> bytes:
    import google.auth
    import google.auth.transport.requests
    import requests
    from google.auth import exceptions

    version = name if "/versions/" in name else f"{name}/versions/latest"
    service = environment.get(_SERVICE_VARIABLE)
    try:
        if service:
            session = requests.Session()
        else:
            credentials, _ = google.auth.default(scopes=[_SCOPE])
            session = google.auth.transport.requests.AuthorizedSession(credentials)
        answer = session.get(f"{(service or _SERVICE).rstrip('/')}/v1/{version}:access", timeout=_SECONDS)
        if answer.status_code != 200:
            raise CredentialsError(
                f"--hash_key_file {name}: Secret Manager answers {answer.status_code}: the account that this runs "
                "under needs the role Secret Manager Secret Accessor on it"
            )
        return base64.b64decode(answer.json()["payload"]["data"])
    except (exceptions.GoogleAuthError, requests.RequestException, KeyError, ValueError, binascii.Error) as error:
        # Never the error's own text: it may quote the answer.
        raise CredentialsError(
            f"--hash_key_file {name} cannot be read from Secret Manager ({type(error).__name__}): check the name, the "
            "network and the credentials"
        ) from None
