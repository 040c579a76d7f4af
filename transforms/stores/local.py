"""Files of this machine. A file's version is the time of its last change in nanoseconds, with the file's number."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator

from transforms.errors import Conflict, DataChanged, StoreError
from transforms.stores.disk_failures import failure
from transforms.stores.store import TEMPORARY_SUFFIX, Entry, check_size, loaded, too_large
from transforms.stores.symbolic_links import Links

_Below = tuple[str, str, "Links | None", "str | None"]
"""A folder below, what names in it begin with, the links, and its real path where it lies behind one."""
_LOST_AND_FOUND = b"lost+found/"  # at a disk's root, for its checking program alone


class LocalStore:
    """The disk as a ``Store``."""

    remote = False

    def list(
        self, folder: str, beginning: str = "", links: Links | None = None, real: str | None = None
    ) -> Iterator[Entry]:
        """Every file below the folder, or of those the ones whose path from there begins so, sorted by its bytes.

        Links to folders are followed where ``links`` are given, which say which; ``real`` is the folder's real path
        where it lies behind one.
        """
        # A folder in a folder, a thousand deep, is more than functions that call themselves can go down.
        under_way = [self._children(folder, beginning, links, real)]
        while under_way:
            found = next(under_way[-1], None)
            if found is None:
                under_way.pop()
            elif isinstance(found, Entry):
                yield found
            else:
                under_way.append(self._children(*found))

    def _children(self, folder: str, beginning: str, links: Links | None, real: str | None) -> Iterator[Entry | _Below]:
        """What is in one folder, in order: files, and the folders to go on into."""
        first, _, rest = beginning.partition("/") if "/" in beginning else (None, "", beginning)
        children: list[tuple[bytes, os.DirEntry[str]]] = []
        try:
            with os.scandir(folder) as found:
                for child in found:
                    if child.name == first if first is not None else child.name.startswith(rest):
                        # What is in a folder sorts by its name with the slash: "a", "a-b", "a/b".
                        is_folder = _is(child, "folder", links is not None)
                        children.append((os.fsencode(child.name) + b"/" * is_folder, child))
        except FileNotFoundError:
            return  # removed by somebody since it was listed
        except OSError as error:
            raise failure("list", error.filename or folder, error) from error
        children.sort(key=_first)
        if any(name == _LOST_AND_FOUND for name, _ in children) and os.path.ismount(folder):
            children = [found for found in children if found[0] != _LOST_AND_FOUND]
        for name, child in children:
            below = None if real is None else os.path.join(real, child.name)
            if name.endswith(b"/"):
                if links is not None and child.is_symlink():
                    below = links.enter(child.path)
                    if below is None:
                        continue
                elif links is not None and below is not None and not links.passes(child.path, below):
                    continue
                yield child.path, rest if first is not None else "", links, below
            elif first is None and _is(child, "file"):
                if links is not None and below is not None and links.is_listed(below):
                    links.twice(child.path)
                    continue
                try:
                    yield _local_entry(child.path, child.stat())
                except FileNotFoundError:
                    continue  # likewise
            elif first is None and links is not None and child.is_symlink():
                links.nowhere(child.path)
            elif first is None and links is not None:
                links.irregular(child.path)

    def entry(self, path: str) -> Entry | None:
        """The entry of one file; None where there is no such file.

        Raises:
            StoreUnavailable: a folder on the way may not be entered, or a link leads to itself.
        """
        status = _status(path)
        return _local_entry(path, status) if status is not None and stat.S_ISREG(status.st_mode) else None

    def is_folder(self, path: str) -> bool:
        """Whether there is a folder; raises as ``entry`` does."""
        status = _status(path)
        return status is not None and stat.S_ISDIR(status.st_mode)

    def read(self, entry: Entry) -> bytes:
        """The whole content.

        Raises:
            DataChanged: the file is gone, or was written since it was listed, or while it was read.
        """
        check_size(entry.path, entry.size)
        try:
            # Python's own files ask the system for as much again, which counts where exports are many small files.
            descriptor = os.open(entry.path, os.O_RDONLY)
            try:
                before = os.fstat(descriptor)
                content = _all_of(descriptor, entry.size)
                after = os.fstat(descriptor)
            finally:
                os.close(descriptor)
        except (MemoryError, OverflowError) as error:
            raise too_large(entry.path, entry.size) from error
        except FileNotFoundError as error:
            raise DataChanged(f"{entry.path} existed when the run began and is gone now: run again") from error
        except OSError as error:
            raise failure("read", entry.path, error) from error
        if (
            not _version(before) == _version(after) == entry.version
            or not before.st_size == after.st_size == len(content) == entry.size
        ):
            raise DataChanged(f"{entry.path} changed while the run was reading it: run again once it is complete")
        return content

    def get(self, path: str) -> bytes | None:
        """The content of a small file as it is now; None where there is none."""
        try:
            with open(path, "rb") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise failure("read", path, error) from error

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
                raise failure("write", path, error) from error
        raise StoreError(f"cannot write {path}: something keeps removing it")

    def load(self, path: str) -> tuple[bytes, str] | None:
        """Content and version of a small file, for a put that depends on it; None where there is none."""
        return loaded(self, path)

    def put(self, path: str, data: bytes, version: str | None = None) -> None:
        """Publish under a name, in place of what was there.

        Raises:
            Conflict: a version is given, and is no longer the one that is there.
        """
        for _ in range(5):
            try:
                temporary = _write_temporary(path, data)
                # Looked at as late as can be: the disk has no exchange under a condition.
                if version is not None and ((entry := self.entry(path)) is None or entry.version != version):
                    os.unlink(temporary)
                    raise Conflict(f"{path} was changed by somebody else meanwhile")
                os.replace(temporary, path)
                _sync_folder(os.path.dirname(path))
                return
            except FileNotFoundError:
                continue  # an equal run swept our temporary file away
            except OSError as error:
                raise failure("write", path, error) from error
        raise StoreError(f"cannot write {path}: something keeps removing it")

    def delete(self, paths: Iterable[str]) -> None:
        """Remove files; silent where they are gone already. A folder left empty goes with its last file."""
        for path in paths:
            try:
                os.unlink(path)
                os.rmdir(os.path.dirname(path))
            except OSError:
                pass

    def absolute(self, path: str) -> str:
        return os.path.abspath(path)


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError):  # a name with a zero byte
            return None
        raise failure("look at", path, error) from error


def _is(child: os.DirEntry[str], kind: str, follow: bool = True) -> bool:
    try:
        return child.is_dir(follow_symlinks=follow) if kind == "folder" else child.is_file()
    except OSError:  # a link that leads to itself
        return False


def _first(child: tuple[bytes, os.DirEntry[str]]) -> bytes:
    return child[0]


def _local_entry(path: str, status: os.stat_result) -> Entry:
    return Entry(path, status.st_size, _version(status))


def _version(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns}-{status.st_ino}"


def _all_of(descriptor: int, size: int) -> bytes:
    """What a file of ``size`` bytes holds; of one that has grown, some bytes more than that."""
    content = os.read(descriptor, size + 1)
    while len(content) <= size and (more := os.read(descriptor, size + 1 - len(content))):
        content += more
    return content


def _write_temporary(path: str, data: bytes) -> str:
    """Write the bytes, synced, beside the final name; a failed write leaves nothing behind."""
    folder, name = os.path.split(path)
    try:
        os.makedirs(folder, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is a file, not a folder") from error
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(6)}{TEMPORARY_SUFFIX}")
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
