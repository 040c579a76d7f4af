"""Mixpanel's credentials, from the environment or from a file that it names; nothing here ever shows them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from typing import NoReturn

import orjson

from transforms.errors import CredentialsError

SERVICE_ACCOUNT, TOKEN, GDPR_TOKEN = "MIXPANEL_SERVICE_ACCOUNT", "MIXPANEL_TOKEN", "MIXPANEL_GDPR_TOKEN"


class Secret:
    """A text that is handed to Mixpanel and to nobody else: it is neither printed nor pickled."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret stays in its process")


class Credentials:
    """What authorises /import and /engage, of which either may be None, not both; and with a token the deletions."""

    def __init__(self, service_account: Secret | None, token: Secret | None, gdpr_token: Secret | None = None) -> None:
        self.service_account = service_account
        self.token = token
        self.gdpr_token = gdpr_token

    def __repr__(self) -> str:
        return f"Credentials(service_account={self.service_account is not None}, token={self.token is not None})"

    def basic(self) -> str:
        """The value of the header Authorization; the service account goes before the token."""
        if self.service_account is not None:
            pair = self.service_account.reveal()
        else:
            assert self.token is not None
            pair = self.token.reveal() + ":"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    def veil(self, text: str) -> str:
        """A text of somebody else's, in which no secret of ours stands: services and proxies quote what they refuse."""
        shown = text
        for secret in (self.service_account, self.token, self.gdpr_token):
            if secret is not None:
                whole = secret.reveal()
                parts = [whole, *whole.split(":", 1)[1:], base64.b64encode(whole.encode()).decode()]
                for part in (*parts, base64.b64encode(f"{whole}:".encode()).decode()):
                    shown = shown.replace(part, "…")
        return shown


def from_environment(environment: Mapping[str, str], *, token_only: bool, profiles: bool) -> Credentials:
    """The credentials of the environment.

    Raises:
        CredentialsError: none, too few for what is to be sent, or in a wrong form.
    """
    account, token = _secret(environment, SERVICE_ACCOUNT), _secret(environment, TOKEN)
    if account is not None and not re.fullmatch(r"[^\s:]+:\S+", account.reveal()):
        raise CredentialsError(f"{SERVICE_ACCOUNT} does not have the form USER:SECRET: set it as Mixpanel showed both")
    if token is not None:
        _check_token(token)
    if account is None and token is None:
        raise CredentialsError(
            f"no credentials: set {SERVICE_ACCOUNT} (USER:SECRET) or {SERVICE_ACCOUNT}_FILE; a project token in "
            f"{TOKEN} will do with --token_only"
        )
    if account is None and not token_only:
        raise CredentialsError(
            f"{SERVICE_ACCOUNT} is not set, and with the token alone events go to the project of {TOKEN}, whatever "
            "--project_id says: set the service account, or pass --token_only"
        )
    if profiles and token is None:
        raise CredentialsError(f"profiles are sent with the project's token: set {TOKEN} or {TOKEN}_FILE")
    return Credentials(None if token_only else account, token) if token is not None else Credentials(account, None)


def for_deletions(environment: Mapping[str, str]) -> Credentials:
    """The project's token and the token of the deletion API.

    Raises:
        CredentialsError: one is missing, or does not have its form.
    """
    token, gdpr_token = _secret(environment, TOKEN), _secret(environment, GDPR_TOKEN)
    if gdpr_token is None:
        raise CredentialsError(
            f"deletions are authorised by a token of their own: set {GDPR_TOKEN} or {GDPR_TOKEN}_FILE (in Mixpanel: "
            "your profile, Data & Privacy; it lasts a year)"
        )
    if not re.fullmatch(r"[\w.~+/=-]+", gdpr_token.reveal(), re.ASCII):
        raise CredentialsError(
            f"{GDPR_TOKEN} does not have the form of an OAuth token: copy it from your profile in Mixpanel"
        )
    if token is None:
        raise CredentialsError(f"deletions are made in the project of the project's token: set {TOKEN} or {TOKEN}_FILE")
    _check_token(token)
    return Credentials(None, token, gdpr_token)


def _check_token(token: Secret) -> None:
    if not re.fullmatch(r"[\w-]+", token.reveal(), re.ASCII):
        raise CredentialsError(
            f"{TOKEN} does not have the form of a project token: copy it from the project's settings"
        )


def _secret(environment: Mapping[str, str], name: str) -> Secret | None:
    path = environment.get(f"{name}_FILE")
    if path:
        if environment.get(name):
            raise CredentialsError(f"{name} and {name}_FILE are both set: unset one")
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise CredentialsError(f"cannot read {path}, which {name}_FILE names: {reason}") from None
        if not text:
            raise CredentialsError(f"{path}, which {name}_FILE names, is empty")
        return Secret(text)
    text = os.fspath(environment.get(name, "")).strip()
    return Secret(text) if text else None


def seal(token: Secret) -> bytes:
    """What a ledger keeps of a token, as JSON: a salt and a digest, by which the same token is known again."""
    salt = secrets.token_hex(16)
    return orjson.dumps({"salt": salt, "digest": _digest(salt, token)})


def is_sealed(token: Secret, sealed: bytes) -> bool:
    """Whether that is the token whose seal this is."""
    held = orjson.loads(sealed)
    return hmac.compare_digest(held["digest"], _digest(held["salt"], token))


def _digest(salt: str, token: Secret) -> str:
    return hashlib.pbkdf2_hmac("sha256", token.reveal().encode(), salt.encode(), 100_000).hex()
