"""The elements that travel: bytes behind a one-byte tag, keyed by a shard's or a unit's number.

Every collection of the job is of this one type, ``Keyed``: any two can be flattened, and no runner needs to pickle.
No element is above ``MAXIMUM_BYTES``, since Flink refuses records of ten megabytes. In a local run a large body stays
on disk and only its place travels (``blocks_on_disk``): who calls ``tagged`` and ``untagged`` does not notice.
``inspecting`` shows what an element has.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pathlib
import resource
import socket
import struct
import sys
import time
from collections.abc import Iterable, Iterator

from transforms.errors import OversizedElement
from transforms.messages import blocks_on_disk
from transforms.telemetry.tally import Tally, merge, pack_bounded

Keyed = tuple[int, bytes]

MAXIMUM_BYTES = 8_000_000

LINKS, UNIT, ROWS, ANSWER, KEYS, REPEATS = b"L", b"U", b"O", b"A", b"K", b"R"
ASKED, ASKED_EXTERNALS, CROWD, DROPPED = b"Q", b"E", b"C", b"X"
RESOLVED, ATTRIBUTES, PERSON_MONTHS, FILE, TALLY = b"P", b"V", b"M", b"F", b"T"

KINDS = {
    LINKS: "links",
    UNIT: "units",
    ROWS: "profiles of rows",
    ASKED: "profiles asked for",
    ASKED_EXTERNALS: "external ids asked for",
    ANSWER: "answers",
    CROWD: "crowd ids",
    DROPPED: "answers on crowd ids",
    KEYS: "event ids",
    REPEATS: "repeats",
    RESOLVED: "resolved profiles",
    ATTRIBUTES: "profile attributes",
    PERSON_MONTHS: "persons by month",
    FILE: "files",
    TALLY: "figures",
}
"""What an element's tag stands for, in the report."""

_NUMBER = struct.Struct("<I")
_ON_DISK = b"@"  # before the tag of an element whose body is on disk; no tag itself


def tagged(tag: bytes, body: bytes = b"") -> bytes:
    """An element's bytes."""
    if len(body) >= MAXIMUM_BYTES:
        raise OversizedElement(f"an element [{tag.decode()}] of {len(body)} bytes: at most {MAXIMUM_BYTES} can travel")
    # Figures are merged, again and again, before they travel.
    place = None if tag == TALLY else blocks_on_disk.keep(body)
    return tag + body if place is None else _ON_DISK + tag + place


def untagged(element: bytes) -> tuple[bytes, bytes]:
    """(Tag, body) of an element."""
    if element[:1] == _ON_DISK:
        return element[1:2], blocks_on_disk.fetch(element[2:])
    return element[:1], element[1:]


def tag_and_size(element: bytes) -> tuple[bytes, int]:
    """(Tag, bytes) of an element, those of a body that is on disk counted as if they travelled."""
    if element[:1] == _ON_DISK:
        return element[1:2], 1 + blocks_on_disk.size_of(element[2:])
    return element[:1], len(element)


def numbered(number: int, body: bytes) -> bytes:
    """A number before a body: the unit that asks, or how many an answer is for."""
    return _NUMBER.pack(number) + body


def unnumbered(body: bytes) -> tuple[int, bytes]:
    """(Number, body) of what ``numbered`` put together."""
    (number,) = _NUMBER.unpack_from(body)
    return number, body[_NUMBER.size :]


def process_key(process: int) -> str:
    """A tally's key for the peak memory of a process of this machine: numbers of other machines', or of other
    containers on it, are not taken for the same.
    """
    return f"max_{_machine()}_{process}"


@functools.cache
def _machine() -> str:
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):  # where there is no /proc, the name must do
        parts.append(pathlib.Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


class Traffic:
    """How many elements of which kind, and how many bytes, came to a step and left it."""

    def __init__(self) -> None:
        self.figures: Tally = {"max_element_bytes": 0, "sent": {}, "received": {}}

    def sent(self, element: bytes) -> bytes:
        """Count an element that leaves; returns it."""
        return self._count("sent", element)

    def received(self, element: bytes) -> bytes:
        """Count an element that came; returns it."""
        return self._count("received", element)

    def _count(self, way: str, element: bytes) -> bytes:
        tag, size = tag_and_size(element)
        self.figures["max_element_bytes"] = max(self.figures["max_element_bytes"], size)
        kind = self.figures[way].setdefault(KINDS[tag], {"elements": 0, "bytes": 0})
        kind["elements"] += 1
        kind["bytes"] += size
        return element


def bodies(elements: Iterable[bytes], traffic: Traffic) -> Iterator[bytes]:
    """The bodies of elements of one kind that came, counted."""
    for element in elements:
        yield untagged(traffic.received(element))[1]


class Meter(Traffic):
    """What a step uses, sends and receives, its seconds and its process's peak memory; all for the report."""

    def __init__(self, stage: str) -> None:
        super().__init__()
        self._stage = stage
        self._started = time.perf_counter()

    def tally(self, figures: Tally) -> Keyed:
        """The figures with this step's own added, as an element; all tallies meet under one key."""
        return 0, tagged(TALLY, pack_bounded(self.add_to(figures)))

    def add_to(self, figures: Tally) -> Tally:
        """The figures with this step's own added, in place."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        seconds = time.perf_counter() - self._started
        used = {"seconds": {self._stage: seconds}, "memory": {process_key(os.getpid()): peak}}
        return merge(merge(figures, self.figures), used)
