"""Where files are listed, read and published: one small interface, the same for every store.

``list`` gives entries with size and version, ``read`` gives a whole file and fails if it is not the version that was
listed, ``put_if_absent`` publishes under the final name at once or not at all, ``put`` replaces, ``delete`` removes.
Nothing here renames a published file: a reader sees whole files only, whenever the writer dies.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from typing import NamedTuple, Protocol

_TEMPORARY_SUFFIX = ".unpublished"
_DENIALS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG})


class Entry(NamedTuple):
    """One stored file: its path, its size in bytes, and a version that changes whenever its content does."""

    path: str
    size: int
    version: str


class StoreError(Exception):
    """A file cannot be read or written; the message names it and the cure."""


class Denied(StoreError):
    """A place that may not be used as it was named: no permission, a file for a folder, a store that is not known."""


class Changed(StoreError):
    """A file is not the one that was listed."""


class Conflict(StoreError):
    """A name that was to be written holds other bytes: another run is writing here."""


class Store(Protocol):
    """What every kind of store offers; paths are whole (with their scheme, where they have one)."""

    def list(self, folder: str) -> Iterator[Entry]: ...

    def entry(self, path: str) -> Entry | None: ...

    def is_folder(self, path: str) -> bool: ...

    def read(self, entry: Entry) -> bytes: ...

    def get(self, path: str) -> bytes | None: ...

    def put_if_absent(self, path: str, data: bytes) -> bool: ...

    def put(self, path: str, data: bytes) -> None: ...

    def delete(self, path: str) -> None: ...

    def absolute(self, path: str) -> str: ...


class LocalStore:
    """Files of this machine. A version is the time of the last change in nanoseconds, with the file's number."""

    def list(self, folder: str) -> Iterator[Entry]:
        """Every file below the folder, in no particular order; links to folders are not followed."""
        pending = [folder]
        while pending:
            try:
                with os.scandir(pending.pop()) as children:
                    for child in children:
                        if child.is_dir(follow_symlinks=False):
                            pending.append(child.path)
                        elif child.is_file():
                            try:
                                yield _local_entry(child.path, child.stat())
                            except FileNotFoundError:
                                continue  # removed by somebody since it was listed
            except FileNotFoundError:
                continue  # likewise a folder
            except OSError as error:
                raise _failure("list", error.filename, error) from error

    def entry(self, path: str) -> Entry | None:
        """The entry of one file; None where there is no such file."""
        return _local_entry(path, os.stat(path)) if os.path.isfile(path) else None

    def is_folder(self, path: str) -> bool:
        return os.path.isdir(path)

    def read(self, entry: Entry) -> bytes:
        """The whole content.

        Raises:
            Changed: the file is gone, or was written since it was listed, or while it was read.
        """
        try:
            with open(entry.path, "rb") as file:
                before = _local_entry(entry.path, os.fstat(file.fileno()))
                content = file.read()
                after = _local_entry(entry.path, os.fstat(file.fileno()))
        except FileNotFoundError as error:
            raise Changed(f"{entry.path} was there when the run began and is gone now: run again") from error
        except OSError as error:
            raise _failure("read", entry.path, error) from error
        if not entry == before == after or len(content) != entry.size:
            raise Changed(f"{entry.path} changed while the run was reading it: run again when it is whole")
        return content

    def get(self, path: str) -> bytes | None:
        """The content of a small file as it is now; None where there is none."""
        try:
            with open(path, "rb") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _failure("read", path, error) from error

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Publish under a name that is still free; True if this call did, False if equal bytes were there already.

        Raises:
            Conflict: other bytes stand under that name.
        """
        for _ in range(5):
            present = self.get(path)
            if present is not None:
                if present != data:
                    raise Conflict(f"{path} holds other bytes than this run would write: is another run writing here?")
                return False
            try:
                temporary = _write_temporary(path, data)
                try:
                    os.link(temporary, path)
                finally:
                    os.unlink(temporary)
                _sync_folder(os.path.dirname(path))
                return True
            except (FileExistsError, FileNotFoundError):
                continue  # an equal run won the race, or swept our temporary file away: look again
            except OSError as error:
                raise _failure("write", path, error) from error
        raise StoreError(f"cannot write {path}: something keeps removing it")

    def put(self, path: str, data: bytes) -> None:
        """Publish under a name, in place of what was there."""
        for _ in range(5):
            try:
                os.replace(_write_temporary(path, data), path)
                _sync_folder(os.path.dirname(path))
                return
            except FileNotFoundError:
                continue  # an equal run swept our temporary file away
            except OSError as error:
                raise _failure("write", path, error) from error
        raise StoreError(f"cannot write {path}: something keeps removing it")

    def delete(self, path: str) -> None:
        """Remove a file; silent where it is gone already. A folder left empty goes with it."""
        try:
            os.unlink(path)
            os.rmdir(os.path.dirname(path))
        except OSError:
            pass

    def absolute(self, path: str) -> str:
        return os.path.abspath(path)


def store_for(path: str) -> Store:
    """The store that holds a path.

    Raises:
        StoreError: no store of this kind is known.
    """
    scheme = path.split("://", 1)[0] if "://" in path else ""
    if scheme in ("", "file"):
        return LocalStore()
    raise Denied(f"{scheme}:// is no store this version can reach: copy the files to a local folder")


def join(folder: str, *names: str) -> str:
    """A path below a folder, with forward slashes."""
    return "/".join([folder.rstrip("/"), *names])


def is_temporary(path: str) -> bool:
    """Whether a path is what an interrupted writer leaves behind."""
    return path.endswith(_TEMPORARY_SUFFIX)


def _failure(act: str, path: str, error: OSError) -> StoreError:
    kind = Denied if error.errno in _DENIALS else StoreError
    return kind(f"cannot {act} {path}: {error.strerror}")


def _local_entry(path: str, stat: os.stat_result) -> Entry:
    return Entry(path, stat.st_size, f"{stat.st_mtime_ns}-{stat.st_ino}")


def _write_temporary(path: str, data: bytes) -> str:
    """Write the bytes, synced, beside the final name; a failed write leaves nothing behind."""
    folder, name = os.path.split(path)
    try:
        os.makedirs(folder, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is a file, not a folder") from error
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(6)}{_TEMPORARY_SUFFIX}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    return temporary


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder or ".", os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
