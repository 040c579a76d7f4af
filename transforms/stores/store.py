"""Where files are listed, read and published: one small interface, the same for every store.

``list`` gives entries with size and version in the order of their paths' bytes, ``read`` gives a whole file and fails
if it is not the version that was listed, ``put_if_absent`` publishes under the final name at once or not at all,
``put`` replaces (on demand, only a version that is known), ``delete`` removes. Nothing here renames a published file:
a reader sees whole files only, whenever the writer dies.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

from transforms.errors import DataChanged, StoreError, StoreUnavailable

TEMPORARY_SUFFIX = ".unpublished"
_ACCESS_POINT = re.compile(r"arn:[\w-]+:s3[\w-]*:.*:accesspoint\Z")


class Entry(NamedTuple):
    """One stored file: its path, its size in bytes, and a version that changes whenever its content does.

    ``archived`` is the class of storage of an object that cannot be read before it is restored, else empty.
    """

    path: str
    size: int
    version: str
    archived: str = ""


class Store(Protocol):
    """What every kind of store offers; paths are whole (with their scheme, where they have one)."""

    remote: bool
    """Whether it pays to have several reads under way."""

    def list(self, folder: str, beginning: str = "") -> Iterator[Entry]: ...

    def entry(self, path: str) -> Entry | None: ...

    def is_folder(self, path: str) -> bool: ...

    def read(self, entry: Entry) -> bytes: ...

    def get(self, path: str) -> bytes | None: ...

    def load(self, path: str) -> tuple[bytes, str] | None: ...

    def put_if_absent(self, path: str, data: bytes) -> bool: ...

    def put(self, path: str, data: bytes, version: str | None = None) -> None: ...

    def delete(self, paths: Iterable[str]) -> None: ...

    def absolute(self, path: str) -> str: ...


SCHEMES = {"gs": "gcs", "s3": "s3", "azfs": "azure"}
"""The module of each store by its scheme."""

FORMS = {
    "az": "azfs://ACCOUNT/CONTAINER/PATH",
    "abfs": "azfs://ACCOUNT/CONTAINER/PATH",
    "abfss": "azfs://ACCOUNT/CONTAINER/PATH",
    "wasb": "azfs://ACCOUNT/CONTAINER/PATH",
    "wasbs": "azfs://ACCOUNT/CONTAINER/PATH",
    "s3a": "s3://BUCKET/PATH",
    "s3n": "s3://BUCKET/PATH",
    "gcs": "gs://BUCKET/PATH",
}
"""What is written here where other tools have another scheme."""


def store_for(path: str) -> Store:
    """The store that holds a path, one for each bucket in a process.

    Raises:
        StoreUnavailable: no store of this kind is known, its client is not installed, or it finds no credentials.
    """
    scheme, separator, rest = path.partition("://")
    if not separator or scheme == "file":
        return _local()
    if scheme in FORMS:
        raise StoreUnavailable(f"{path}: write {FORMS[scheme]} instead of {scheme}://")
    if scheme not in SCHEMES:
        return _by_beam(scheme)
    parts = rest.split("/")
    # An access point's ARN has a slash before its name: s3://arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME/KEY.
    depth = 2 if scheme == "azfs" or (scheme == "s3" and _ACCESS_POINT.match(parts[0])) else 1
    if len(parts) < depth or not all(parts[:depth]):
        raise StoreUnavailable(f"{path} names no {'container' if depth == 2 else 'bucket'}: write {_whole(scheme)}")
    return _remote(scheme, "/".join(parts[:depth]))


def patience() -> float:
    """Seconds for which a call is tried again before it is given up."""
    return _patience[0]


def be_patient(seconds: float = 300.0) -> None:
    """How long this process tries: a run that was interrupted has little left to wait for."""
    _patience[0] = seconds


@contextlib.contextmanager
def patient(seconds: float) -> Iterator[None]:
    """Be no more patient than that for a while."""
    before = patience()
    be_patient(min(before, seconds))
    try:
        yield
    finally:
        be_patient(before)


_patience = [300.0]


@functools.cache
def _local() -> Store:
    return _module("local").LocalStore()


@functools.cache
def _by_beam(scheme: str) -> Store:
    # Beam takes seconds to import, and only some want it.
    return _module("beam_files").BeamStore(scheme)


@functools.cache
def _remote(scheme: str, bucket: str) -> Store:
    try:
        return _module(SCHEMES[scheme]).open_bucket(bucket)
    except ImportError as error:
        extra = {"s3": "s3", "azfs": "azure"}.get(scheme)
        cure = f"'.[{extra}]'" if extra else "."
        raise StoreUnavailable(f"{scheme}:// needs the package {error.name}: pip install {cure}") from error


def _module(name: str) -> Any:
    return importlib.import_module(f"transforms.stores.{name}")


def _whole(scheme: str) -> str:
    return "azfs://ACCOUNT/CONTAINER/PATH" if scheme == "azfs" else f"{scheme}://BUCKET/PATH"


def loaded(store: Store, path: str) -> tuple[bytes, str] | None:
    """What ``Store.load`` gives, where reading an entry fails once it is not the present one any more.

    Raises:
        StoreError: the file changes whenever it is looked at.
    """
    for _ in range(20):
        entry = store.entry(path)
        if entry is None:
            return None
        try:
            return store.read(entry), entry.version
        except DataChanged:
            continue
    raise StoreError(f"cannot read {path}: something keeps writing it")


def check_size(path: str, size: int) -> None:
    """Hold that a file, which is read whole, fits into the memory of this machine.

    Raises:
        StoreError: it does not.
    """
    if size >= _memory():
        raise too_large(path, size)


def too_large(path: str, size: int) -> StoreError:
    """The error for a file that memory does not hold."""
    return StoreError(
        f"cannot read {path}: it has {size:,} bytes, and this machine has {_memory():,} bytes of memory: export it in "
        "several files, leave it out with --skip, or run on a machine with more"
    )


@functools.cache
def _memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def join(folder: str, *names: str) -> str:
    """A path below a folder, with forward slashes."""
    return "/".join([folder.rstrip("/"), *names])


def is_temporary(path: str) -> bool:
    """Whether a path is what an interrupted writer leaves behind."""
    return path.endswith(TEMPORARY_SUFFIX) and path.rpartition("/")[2].startswith(".")
