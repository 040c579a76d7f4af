"""Where a local run keeps large blocks until its end: beside a local output, else in the system's temporary folder.

Not in a folder that is memory itself. The blocks hold ids, so the folder is its owner's alone. It is locked while its
run lives: what runs left behind that were killed outright is found by its lock, and removed by the next run.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator

from transforms.messages import blocks_on_disk
from transforms.stores.local import LocalStore
from transforms.stores.store import store_for

PREFIX = ".currents-to-mixpanel-blocks-"
_LOCK = "lock"
_TRIES = 10
_MOUNTS = "/proc/self/mountinfo"
_MEMORY = frozenset({"tmpfs", "ramfs"})


@contextlib.contextmanager
def blocks_kept(output: str, *, verbose: bool = False) -> Iterator[None]:
    """Large blocks are on disk within, for this process and those it starts, where there is a disk for them."""
    made = None
    refused = []
    for parent in _places(output):
        _sweep(parent)
        try:
            if _is_memory(parent):
                refused.append(f"{parent} is memory")
                continue
            made = _make(parent)
            break
        except OSError as error:
            refused.append(f"{parent}: {error.strerror}")
    if made is None:
        if verbose:
            print(f"blocks of ids stay in memory: {'; '.join(refused)}", file=sys.stderr)
        yield
        return
    folder, lock = made
    before = os.environ.get(blocks_on_disk.FOLDER_VARIABLE)
    os.environ[blocks_on_disk.FOLDER_VARIABLE] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ[blocks_on_disk.FOLDER_VARIABLE]
        else:
            os.environ[blocks_on_disk.FOLDER_VARIABLE] = before
        blocks_on_disk.close(folder)
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _places(output: str) -> list[str]:
    beside = [os.path.dirname(os.path.realpath(output))] if isinstance(store_for(output), LocalStore) else []
    return [*beside, os.path.realpath(tempfile.gettempdir())]


def _is_memory(folder: str) -> bool:
    """Whether a folder is on a file system that is kept in memory; only Linux says."""
    device = os.stat(folder).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open(_MOUNTS, encoding="utf-8", errors="replace") as mounts:
            lines = [line.split() for line in mounts]
    except OSError:
        return False
    # … number, root, mount point, options, optional fields, "-", type, …
    return any(fields[2] == number and fields[fields.index("-") + 1] in _MEMORY for fields in lines)


def _make(parent: str) -> tuple[str, int]:
    """A new folder and the open file that locks it.

    Raises:
        OSError: nothing can be made, or locked, there.
    """
    for _ in range(_TRIES):
        folder = tempfile.mkdtemp(prefix=PREFIX, dir=parent)
        path = os.path.join(folder, _LOCK)
        lock = -1
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(path):
                return folder, lock
        except (BlockingIOError, FileNotFoundError):
            pass  # a run that began at the same moment took it for one left behind
        except OSError:
            if lock >= 0:
                os.close(lock)
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if lock >= 0:
            os.close(lock)
    raise OSError(errno.EAGAIN, "cannot be locked")


def _sweep(parent: str) -> None:
    """Remove folders of own runs that have ended."""
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        found = [entry.path for entry in entries if entry.name.startswith(PREFIX)]
        for folder in found:
            with contextlib.suppress(OSError):
                _remove_if_left(folder)


def _remove_if_left(folder: str) -> None:
    about = os.lstat(folder)
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid():
        return
    try:
        lock = os.open(os.path.join(folder, _LOCK), os.O_RDWR)
    except FileNotFoundError:
        os.rmdir(folder)  # raises where it is not empty; the run that is making it makes another
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
