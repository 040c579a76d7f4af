"""The units on their way into the job: in the graph itself while they are few, in files of the output folder if not.

A managed runner takes a graph of some megabytes, and a year of a large customer is more units than that. The files of
``_plan/`` are equal for equal runs, are written after the claim, and go before the manifest comes.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator, Sequence

from transforms.currents.listing import Export
from transforms.currents.paths import Unit
from transforms.errors import StoreError
from transforms.stores.store import join, store_for

FOLDER = "_plan"
INLINE_BYTES = 1_000_000
"""Of units that travel in the graph, all together."""

_FILE_BYTES = 4_000_000
_HEAD = struct.Struct("<II")


@dataclasses.dataclass(frozen=True)
class PlanFiles:
    """Where the units stand: whole paths, and how many units there are in all."""

    paths: tuple[str, ...]
    units: int

    def __len__(self) -> int:
        return self.units


Work = Sequence[Unit] | PlanFiles
"""What the job begins with."""


def is_swept(work: Work) -> bool:
    """Whether the plan is gone: somebody has finished in the folder, or is about to, or has taken it."""
    return isinstance(work, PlanFiles) and any(store_for(path).entry(path) is None for path in work.paths)


def paths_below(work: Work, output: str) -> list[str]:
    """The plan's files relative to the output."""
    return [path[len(join(output, "")) :] for path in work.paths] if isinstance(work, PlanFiles) else []


def hand_out(export: Export, output: str) -> Work:
    """The units, largest first, or the files of the output that they were written to.

    Raises:
        Conflict: a different run writes into the folder.
    """
    if export.packed_bytes <= INLINE_BYTES:
        return [Unit.from_bytes(packed) for _, packed in export.largest_first()]
    output = store_for(output).absolute(output)
    paths = []
    for number, data in enumerate(_contents(export)):
        paths.append(join(output, FOLDER, f"part-{number:05d}.units"))
        store_for(output).put_if_absent(paths[-1], data)
    return PlanFiles(tuple(paths), export.units)


def read_units(path: str) -> Iterator[tuple[int, bytes]]:
    """(Number, ``Unit.to_bytes``) of the units of one file.

    Raises:
        StoreError: it is gone.
    """
    data = store_for(path).get(path)
    if data is None:
        raise StoreError(
            f"{path} is gone: another run has taken the folder, or an equal one has just finished in it; look at the "
            "folder, and run again if it holds no _manifest.json"
        )
    at = 0
    while at < len(data):
        number, size = _HEAD.unpack_from(data, at)
        at += _HEAD.size + size
        yield number, data[at - size : at]


def _contents(export: Export) -> Iterator[bytes]:
    parts: list[bytes] = []
    size = 0
    for number, packed in export.largest_first():
        parts += (_HEAD.pack(number, len(packed)), packed)
        size += len(packed)
        if size >= _FILE_BYTES:
            yield b"".join(parts)
            parts, size = [], 0
    if parts:
        yield b"".join(parts)
