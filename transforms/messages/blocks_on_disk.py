"""Large bodies of elements on the disk of the one machine that a local run is on, instead of in the runner's memory.

The local runner holds each element that it shuffles several times over until its stage ends. A body that is kept here
travels as its place: the process that wrote it, where, how long it is, and a checksum. Nothing is kept, and all of an
element travels, unless the launcher of a local run names a folder in the environment.
"""

from __future__ import annotations

import os
import struct
import threading

from isal import isal_zlib

from transforms.errors import DiskFull, WrongBlock

FOLDER_VARIABLE = "CURRENTS_TO_MIXPANEL_BLOCKS"
TRAVELS = 4096
"""Bytes of a body that still travels: its place would save next to nothing."""

_PLACE = struct.Struct("<IQII")  # process, offset, bytes, CRC-32


def keep(body: bytes) -> bytes | None:
    """Keep a body on disk; returns its place, or None where it is to travel itself.

    Raises:
        DiskFull: it cannot be written.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder or len(body) <= TRAVELS:
        return None
    return _PLACE.pack(os.getpid(), _files(folder).append(body), len(body), isal_zlib.crc32(body))


def fetch(place: bytes) -> bytes:
    """The body at a place, whichever process of the run wrote it.

    Raises:
        WrongBlock: it is not there, or not what was written.
    """
    process, offset, size, checksum = _PLACE.unpack(place)
    path = _path(os.environ.get(FOLDER_VARIABLE, ""), process)
    try:
        body = _files(os.path.dirname(path)).read(path, offset, size)
    except OSError as error:
        raise WrongBlock(f"cannot read {path}, which the run keeps until its end: {error.strerror}") from error
    if len(body) != size or isal_zlib.crc32(body) != checksum:
        raise WrongBlock(
            f"{size} bytes at {offset} of {path} are not those that the run wrote: the disk is damaged, or another "
            "program changed them; run again"
        )
    return body


def size_of(place: bytes) -> int:
    """Bytes of the body at a place.

    >>> size_of(_PLACE.pack(1, 0, 5000, 0))
    5000
    """
    return int(_PLACE.unpack(place)[2])


class _Files:
    """The files of one run that this process has open: the one it writes, and those it has read in."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._process = os.getpid()
        self._lock = threading.Lock()  # a thread of an interrupted job must not meet another file's number
        self._writing = -1
        self._reading: dict[str, int] = {}
        self._end = 0
        self._closed = False

    @property
    def is_own(self) -> bool:
        """False in a process that was forked off: the file is its parent's."""
        return self._process == os.getpid()

    def append(self, body: bytes) -> int:
        """Write a body at the end of this process's file; returns where."""
        path = _path(self._folder, self._process)
        with self._lock:
            try:
                self._check_open()
                if self._writing < 0:
                    self._writing = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                rest = memoryview(body)
                while rest:
                    rest = rest[os.pwrite(self._writing, rest, self._end + len(body) - len(rest)) :]
            except OSError as error:
                raise DiskFull(
                    f"cannot write {path}, where the run keeps blocks of ids until its end: {error.strerror}: free "
                    "that disk, or choose another --output or TMPDIR"
                ) from error
            at = self._end
            self._end += len(body)
            return at

    def read(self, path: str, offset: int, size: int) -> bytes:
        """Bytes of a file of this run; fewer where it ends before."""
        with self._lock:
            self._check_open()
            if path not in self._reading:
                self._reading[path] = os.open(path, os.O_RDONLY)
            return os.pread(self._reading[path], size, offset)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for descriptor in (self._writing, *self._reading.values()):
                if descriptor >= 0:
                    os.close(descriptor)

    def _check_open(self) -> None:
        if self._closed:
            raise OSError(0, "the run has ended")


_of_folder: dict[str, _Files] = {}
_of_folder_lock = threading.Lock()


def _files(folder: str) -> _Files:
    with _of_folder_lock:
        found = _of_folder.get(folder)
        if found is None or not found.is_own:
            found = _of_folder[folder] = _Files(folder)
        return found


def close(folder: str) -> None:
    """Close what this process has open of a run that has ended, so that its disk is free once the folder is removed."""
    with _of_folder_lock:
        found = _of_folder.pop(folder, None)
    if found is not None:
        found.close()


def _path(folder: str, process: int) -> str:
    return os.path.join(folder, f"{process}.blocks")
