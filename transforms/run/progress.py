"""How far a run is, told by the processes that do the work to the one that shows it: a small file each.

The folder's name travels in an environment variable, which worker processes of this machine inherit; where it is not
set (on a cluster), nothing is told.
"""

from __future__ import annotations

import os
import struct

FOLDER_VARIABLE = "CURRENTS_TO_MIXPANEL_PROGRESS"
STAGES = ("read_ids", "resolve", "write_events", "publish")

_ENTRY = struct.Struct("<QQ")
_counts = [[0, 0] for _ in STAGES]
_told_in = ""


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


def totals(folder: str) -> dict[str, tuple[int, int]]:
    """(Files, rows) done by stage, over all processes."""
    sums = [[0, 0] for _ in STAGES]
    for name in os.listdir(folder):
        try:
            with open(os.path.join(folder, name), "rb") as file:
                data = file.read()
        except OSError:
            continue
        for number, (files, rows) in enumerate(_ENTRY.iter_unpack(data[: len(data) // _ENTRY.size * _ENTRY.size])):
            sums[number][0] += files
            sums[number][1] += rows
    return {stage: (files, rows) for stage, (files, rows) in zip(STAGES, sums, strict=True)}
