"""Places as people type them: every one has a form that is known here, or is refused with the form that was meant."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from transforms.errors import StoreUnavailable
from transforms.stores.store import FORMS, SCHEMES

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(/*)(.*)", re.DOTALL)
_DRIVE = re.compile(r"[A-Za-z]:(?:[\\/]|\Z)")
_VARIABLE = re.compile(r"\$\{?\w+\}?|%\w+%")
_KNOWN = frozenset({*SCHEMES, *FORMS, "file", "hdfs", "http", "https"})
_AZURE_HOST = re.compile(r"([a-z0-9]+)\.(?:blob|dfs)\.core\.windows\.net\Z")
_AMAZON_HOST = re.compile(r"(?:([^/]+)\.)?s3[.-](?:[a-z0-9-]+\.)*amazonaws\.com(?:\.cn)?\Z")
_GOOGLE_HOSTS = frozenset({"storage.googleapis.com", "storage.cloud.google.com"})


def place(text: str) -> str:
    """A place as it was typed, with the home folder for a ``~`` at its front and without ``file://``.

    >>> place("file:///exports"), place("gs://bucket/exports"), place("exports/$a")
    ('/exports', 'gs://bucket/exports', 'exports/$a')

    Raises:
        StoreUnavailable: nobody means what it says: one slash after the scheme or none, a drive letter, a variable
            that no shell has replaced, a web address.
    """
    if _DRIVE.match(text):
        raise StoreUnavailable(
            f"{text} begins with a drive letter: inside WSL write /mnt/{text[0].lower()}/{_forward(text[2:])}, "
            "in a container the path at which the folder is mounted"
        )
    scheme, slashes, rest = _parts(text)
    if scheme.lower() not in _KNOWN:
        return _local(text)
    if scheme.lower() in ("http", "https"):
        raise StoreUnavailable(_web(text))
    if scheme == "file":
        if len(slashes) not in (1, 3):  # file:/x is what Java writes, file:///x the standard
            raise StoreUnavailable(f"{text}: write file:///{rest.lstrip('/')}, or the path alone")
        return f"/{rest}"
    if slashes != "//" or (scheme != scheme.lower() and scheme.lower() in SCHEMES):
        form = FORMS.get(scheme.lower(), f"{scheme.lower()}://")
        meant = f"{scheme.lower()}://{rest}" if scheme.lower() not in FORMS else form
        raise StoreUnavailable(f"{text}: write {meant}")
    if scheme in ("s3", "gs") and _VARIABLE.match(rest):
        raise _unset(text, _VARIABLE.match(rest))
    return text


def _local(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise StoreUnavailable(
            f"the name {os.fsencode(text)!r} is not UTF-8, so no report could name it: rename it (convmv), or give a "
            "link to it that has another name"
        ) from None
    if variable := _VARIABLE.match(text):
        end = variable.end()
        if end == len(text) or text[end] in "/\\":
            raise _unset(text, variable)
    if text == "~" or text.startswith("~/"):
        return os.path.expanduser(text)
    if not os.path.isabs(text):
        _check_working_folder(text)
    return text


def _check_working_folder(text: str) -> None:
    try:
        os.getcwd().encode()
    except FileNotFoundError:
        raise StoreUnavailable(
            f"{text}: the folder in which this command was given has been deleted: change to one that exists (cd), or "
            "give a path from the root"
        ) from None
    except UnicodeEncodeError:
        raise StoreUnavailable(
            f"{text}: the name of the folder in which this command was given ({os.getcwdb()!r}) is not UTF-8, so no "
            "report could name it: rename it, or give a path from the root through another name"
        ) from None


def _unset(text: str, variable: re.Match[str] | None) -> StoreUnavailable:
    name = variable[0] if variable else ""
    return StoreUnavailable(
        f"{text}: {name} is still there, so no shell has replaced it: write it in double quotes or none, set the "
        f"variable, or write ./{text} for a folder of that name"
        if "://" not in text
        else f"{text}: {name} is still there, so no shell has replaced it: write it without single quotes, and set it"
    )


def _parts(text: str) -> tuple[str, str, str]:
    found = _SCHEME.match(text)
    return (found[1], found[2], found[3]) if found else ("", "", "")


def _forward(path: str) -> str:
    return path.replace("\\", "/").lstrip("/")


def _web(text: str) -> str:
    """What to write for a web address."""
    address = urlsplit(text)
    host, path = (address.hostname or "").lower(), address.path.lstrip("/")
    if host in _GOOGLE_HOSTS:
        return f"{_bare(text)}: write gs://{path}"
    if azure := _AZURE_HOST.match(host):
        return f"{_bare(text)}: write azfs://{azure[1]}/{path}"
    if amazon := _AMAZON_HOST.match(host):
        return f"{_bare(text)}: write s3://{amazon[1] + '/' if amazon[1] else ''}{path}"
    forms = "gs://BUCKET/PATH, s3://BUCKET/PATH, azfs://ACCOUNT/CONTAINER/PATH or a path of this machine"
    return f"{_bare(text)} is a web address: write {forms}"


def _bare(text: str) -> str:
    """Without what may be a signature."""
    return text.partition("?")[0]
