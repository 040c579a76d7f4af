"""What object stores have in common: whole objects, versions, conditional puts, retries, errors in words.

A bucket is one of three small modules, each a few calls of its cloud's own client. They say what their errors mean;
what is done about it is decided here, once.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, NoReturn, Protocol, TypeVar

from google.api_core.exceptions import RetryError
from google.api_core.retry import Retry

from transforms.errors import Conflict, DataChanged, IncompleteListing, StoreError, StoreUnavailable
from transforms.stores.listings import WholeListing
from transforms.stores.store import Entry, check_size, loaded, patience

T = TypeVar("T")

CONNECT_SECONDS, READ_SECONDS = 10, 60
"""A connection that is not there, or says nothing, for so long is given up and tried again."""

CONNECTIONS = 64
_FIRST_SECONDS = 30.0
_GARBLED = 5  # times that an answer which makes no sense is asked for
_DELETES_AT_ONCE = 16


class Meaning(enum.Enum):
    """What an error of a client comes to."""

    MISSING = "there is no such object"
    CONFLICT = "the object is not in the state that was asked for"
    PASSING = "may be gone when tried again"
    REFUSED = "credentials are missing or not enough, or there is no such bucket"
    OTHER = "anything else"


class Listed(NamedTuple):
    """An object in a page of a listing; ``archived`` as in ``Entry``."""

    key: str
    size: int
    version: str
    archived: str = ""


class Bucket(Protocol):
    """One bucket of one cloud. All raise the errors of the cloud's client, which ``meaning`` and ``explain`` know."""

    root: str  # scheme://bucket
    keys_at_once: int  # that ``delete`` takes

    def page(self, prefix: str, token: str | None, most: int) -> tuple[list[Listed], str | None]: ...

    def head(self, key: str) -> Listed: ...

    def read(self, key: str, version: str) -> bytes: ...

    def create(self, key: str, data: bytes) -> None: ...

    def replace(self, key: str, data: bytes, version: str | None) -> None: ...

    def delete(self, keys: Sequence[str]) -> None: ...

    def meaning(self, error: Exception) -> Meaning: ...

    def explain(self, error: Exception) -> str: ...


class ObjectStore:
    """A bucket as a ``Store``."""

    remote = True

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._prefix = len(bucket.root) + 1
        self._reached = False  # whether its service ever answered here: names of hosts that did do not go away

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"the client of {self._bucket.root} stays in its process: send the path, and use store_for there"
        )

    def list(self, folder: str, beginning: str = "") -> Iterator[Entry]:
        """Every object below the folder, or of those the ones whose path from there begins so, in the service's order:
        that of their bytes, but for S3's directory buckets and Azure's hierarchical namespaces.

        Raises:
            StoreError: the listing is not whole: it cannot be continued, goes in circles, or gives an object twice.
        """
        prefix = self._folder(folder) + beginning
        checked = WholeListing(f"{self._bucket.root}/{prefix}")
        token, more = None, True
        while more:
            page, token = self._call("list", folder, functools.partial(self._bucket.page, prefix, token, 1000))
            checked.take([found.key for found in page], token)
            more = token is not None
            for found in page:
                if not found.key.endswith("/"):  # what consoles leave to show a folder
                    yield Entry(f"{self._bucket.root}/{found.key}", *found[1:])
        checked.end()

    def entry(self, path: str) -> Entry | None:
        """The entry of one object; None where there is none."""
        if not (key := self._key(path)):
            return None
        try:
            found = self._call("look at", path, functools.partial(self._bucket.head, key))
        except _ObjectMissing:
            return None
        return Entry(path, *found[1:])

    def is_folder(self, path: str) -> bool:
        """Whether there is any object below."""
        prefix, token, more = self._folder(path), None, True
        while more:  # a page may be empty and others follow: Azure's are, where a listing crosses a partition
            page, token = self._call("list", path, functools.partial(self._bucket.page, prefix, token, 1))
            if page:
                return True
            more = token is not None
        return False

    def read(self, entry: Entry) -> bytes:
        """The whole content.

        Raises:
            DataChanged: the object is gone, or is not the version that was listed.
        """
        check_size(entry.path, entry.size)
        try:
            read = functools.partial(self._bucket.read, self._key(entry.path), entry.version)
            for _ in range(_GARBLED):  # of an answer that was cut off in its head no client knows the length
                content = self._call("read", entry.path, read)
                if len(content) == entry.size:
                    return content
        except (_ObjectMissing, _PreconditionFailed) as error:
            if self.entry(entry.path) is None:
                raise DataChanged(f"{entry.path} existed when the run began and is gone now: run again") from error
            raise DataChanged(
                f"{entry.path} changed while the run was reading it: run again once it is complete"
            ) from error
        raise DataChanged(f"{entry.path} changed while the run was reading it: run again once it is complete")

    def get(self, path: str) -> bytes | None:
        """The content of a small object as it is now; None where there is none."""
        found = self.load(path)
        return found[0] if found is not None else None

    def load(self, path: str) -> tuple[bytes, str] | None:
        """Content and version of a small object, for a put that depends on it; None where there is none."""
        return loaded(self, path)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Publish under a name that is still free; True if this call did, False if equal bytes were there already.

        A put whose answer was lost finds its own bytes there when it is tried again.

        Raises:
            Conflict: other bytes stand under that name.
        """
        try:
            self._call("write", path, functools.partial(self._bucket.create, self._key(path), data))
            return True
        except _ObjectMissing as error:
            raise self._no_bucket(path) from error
        except _PreconditionFailed as error:
            if not self._holds(path, data):
                raise Conflict(
                    f"{path} holds other bytes than this run would write: is another run writing here?"
                ) from error
            return False

    def put(self, path: str, data: bytes, version: str | None = None) -> None:
        """Publish under a name, in place of what was there.

        Raises:
            Conflict: a version is given, and is no longer the one that is there.
        """
        try:
            self._call("write", path, functools.partial(self._bucket.replace, self._key(path), data, version))
        except (_PreconditionFailed, _ObjectMissing) as error:
            if version is None and isinstance(error, _ObjectMissing):
                raise self._no_bucket(path) from error
            if not self._holds(path, data):
                raise Conflict(f"{path} was changed by somebody else meanwhile") from error

    def delete(self, paths: Iterable[str]) -> None:
        """Remove objects; silent where they are gone already."""
        keys = [self._key(path) for path in paths]
        most = self._bucket.keys_at_once
        batches = [keys[at : at + most] for at in range(0, len(keys), most)]
        if len(batches) == 1:
            self._delete(batches[0])
        elif batches:
            with ThreadPoolExecutor(_DELETES_AT_ONCE) as pool:
                for _ in pool.map(self._delete, batches):
                    pass

    def absolute(self, path: str) -> str:
        return path.rstrip("/")

    def _delete(self, keys: Sequence[str]) -> None:
        with contextlib.suppress(_ObjectMissing):
            self._call("delete", f"{self._bucket.root}/{keys[0]}", functools.partial(self._bucket.delete, keys))

    def _no_bucket(self, path: str) -> StoreUnavailable:
        # A name that is to be new cannot be missing: what is missing is the bucket.
        return StoreUnavailable(f"cannot write {path}: there is no bucket {self._bucket.root}: correct its name")

    def _holds(self, path: str, data: bytes) -> bool:
        entry = self.entry(path)
        return entry is not None and entry.size == len(data) and self.get(path) == data

    def _key(self, path: str) -> str:
        return path[self._prefix :]

    def _folder(self, path: str) -> str:
        key = self._key(path.rstrip("/"))
        return f"{key}/" if key else ""

    def _call(self, act: str, path: str, call: Callable[[], T]) -> T:
        """Call the client, again and again while the trouble may pass; its errors come out as ours."""
        meaning = self._bucket.meaning
        garbled = 0

        def may_pass(error: Exception) -> bool:
            nonlocal garbled
            found = meaning(error)
            # A client's stumbling over an answer that was cut off in its head, most likely.
            if found is Meaning.OTHER and isinstance(error, (AttributeError, LookupError, TypeError, ValueError)):
                garbled += 1
                return garbled < _GARBLED
            return found is Meaning.PASSING and (self._reached or not _names_no_host(error))

        # Who never answered is most likely not there at all.
        deadline = patience() if self._reached else min(patience(), _FIRST_SECONDS)
        patiently = Retry(predicate=may_pass, initial=0.1, maximum=8.0, multiplier=1.7, timeout=deadline)
        try:
            answer = patiently(call)()
            self._reached = True
            return answer
        except RetryError as error:
            cause = error.cause or error
            raise StoreError(f"cannot {act} {path}: {_one_line(cause)} (tried for {deadline:.0f} s)") from error
        except IncompleteListing as error:
            raise StoreError(f"cannot {act} {path}: {self._bucket.root} {error}") from error
        except StoreError:
            raise
        except Exception as error:
            found = meaning(error)
            if found is Meaning.MISSING:
                raise _ObjectMissing(path) from error
            if found is Meaning.CONFLICT:
                raise _PreconditionFailed(path) from error
            if found is Meaning.REFUSED:
                raise StoreUnavailable(f"cannot {act} {path}: {self._bucket.explain(error)}") from error
            if found is Meaning.PASSING:
                raise StoreUnavailable(
                    f"cannot {act} {path}: correct the path, or the endpoint in the environment: no host has the name "
                    f"({_one_line(error)})"
                ) from error
            raise StoreError(f"cannot {act} {path}: {_one_line(error)}") from error


class _ObjectMissing(StoreError):
    """There is no object of that name."""


class _PreconditionFailed(StoreError):
    """The name is taken, or what stands there is another version than the one that was to be replaced."""


def _names_no_host(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return cause.errno == socket.EAI_NONAME
        # The last is where Azure's errors have it.
        cause = cause.__cause__ or cause.__context__ or getattr(cause, "inner_exception", None)
    return False


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"
