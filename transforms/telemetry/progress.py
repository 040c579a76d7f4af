"""How far a run is, told by the processes that do the work to the one that shows it: a small file each.

The folder's name travels in an environment variable, which worker processes of this machine inherit; where it is not
set (on a cluster), nothing is told.
"""

from __future__ import annotations

import os
import struct

FOLDER_VARIABLE = "CURRENTS_TO_MIXPANEL_PROGRESS"
STAGES = ("read_ids", "resolve", "write_events", "publish")

_FILE_SUFFIX = ".file"
_PATH_BYTES = 4096
_ENTRY = struct.Struct("<QQ")
_counts = [[0, 0] for _ in STAGES]
_told_in = ""
_told_file = ("", 0, -1)  # folder, process, and the descriptor kept open: there may be tens of thousands of files


def advance(stage: str, files: int, rows: int) -> None:
    """Add files and rows to what this process has done of a stage."""
    folder = os.environ.get(FOLDER_VARIABLE)
    global _told_in
    if not folder:
        return
    if folder != _told_in:  # another run in the same process
        _told_in = folder
        _counts[:] = [[0, 0] for _ in STAGES]
    entry = _counts[STAGES.index(stage)]
    entry[0] += files
    entry[1] += rows
    try:
        # One write over the old counts, of under a page and without emptying the file first: a reader sees the old
        # ones or the new ones.
        file = os.open(os.path.join(folder, str(os.getpid())), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.write(file, b"".join(_ENTRY.pack(*counts) for counts in _counts))
        finally:
            os.close(file)
    except OSError:
        return  # a progress line is worth no run


def reading(path: str) -> None:
    """Tell the input file that this process is reading, "" for none: should it be killed, nobody else knows."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return
    global _told_file
    try:
        if _told_file[:2] != (folder, os.getpid()):
            if _told_file[2] >= 0:
                os.close(_told_file[2])
            name = os.path.join(folder, f"{os.getpid()}{_FILE_SUFFIX}")
            _told_file = (folder, os.getpid(), os.open(name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        # One write, with a line's end in front of what is left of a longer path.
        os.pwrite(_told_file[2], path.encode("utf-8", "replace")[:_PATH_BYTES] + b"\n", 0)
    except OSError:
        return


def files_read(folder: str) -> dict[int, str]:
    """Process id to the input file that it is reading, or was when it ended; of those that are at one."""
    found = {}
    for name in os.listdir(folder):
        if name.endswith(_FILE_SUFFIX):
            with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
                path = file.readline().rstrip("\n")
            if path:
                found[int(name.removesuffix(_FILE_SUFFIX))] = path
    return found


def totals(folder: str) -> dict[str, tuple[int, int]]:
    """(Files, rows) done by stage, over all processes."""
    sums = [[0, 0] for _ in STAGES]
    for name in os.listdir(folder):
        if name.endswith(_FILE_SUFFIX):
            continue
        try:
            with open(os.path.join(folder, name), "rb") as file:
                data = file.read()
        except OSError:
            continue
        for number, (files, rows) in enumerate(_ENTRY.iter_unpack(data[: len(data) // _ENTRY.size * _ENTRY.size])):
            sums[number][0] += files
            sums[number][1] += rows
    return {stage: (files, rows) for stage, (files, rows) in zip(STAGES, sums, strict=True)}
