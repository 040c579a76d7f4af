"""The elements that travel: bytes behind a one-byte tag, keyed by a shard's or a unit's number.

``bytes`` is the cheapest coder of all and equal on every runner; no element is above ``MAXIMUM_BYTES``, since Flink
refuses records of ten megabytes.
"""

from __future__ import annotations

import os
import resource
import struct
import sys
import time

from transforms.run.accounting import Tally, merge

Keyed = tuple[int, bytes]

MAXIMUM_BYTES = 8_000_000

LINKS, NODES, DELETED, WORKSPACES = b"L", b"N", b"D", b"W"
UNIT, ASKED, ANSWER, REPEATS = b"U", b"Q", b"A", b"R"
RESOLVED, FILE, TALLY = b"P", b"F", b"T"

_NUMBERS = struct.Struct("<II")


class OversizedElement(Exception):
    """An element would be too large for some runner: a fault of this program, not of the data."""


def tagged(tag: bytes, body: bytes = b"") -> bytes:
    """An element's bytes."""
    if len(body) >= MAXIMUM_BYTES:
        raise OversizedElement(f"an element [{tag.decode()}] of {len(body)} bytes: at most {MAXIMUM_BYTES} can travel")
    return tag + body


def untagged(element: bytes) -> tuple[bytes, bytes]:
    """(Tag, body) of an element."""
    return element[:1], element[1:]


def with_numbers(first: int, second: int, body: bytes) -> bytes:
    """Two numbers before a body: a unit and a count, or the like."""
    return _NUMBERS.pack(first, second) + body


def numbers(body: bytes) -> tuple[int, int, bytes]:
    """What ``with_numbers`` put together."""
    first, second = _NUMBERS.unpack_from(body)
    return first, second, body[_NUMBERS.size :]


class Meter:
    """What a step uses and sends: its seconds, its process's peak memory, its largest element; all for the report."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._started = time.perf_counter()
        self._largest = 0

    def sent(self, element: bytes) -> bytes:
        self._largest = max(self._largest, len(element))
        return element

    def tally(self, figures: Tally | None = None) -> Tally:
        """The figures with this step's own added."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return merge(
            figures if figures is not None else {},
            {
                "seconds": {self._stage: time.perf_counter() - self._started},
                "max_element_bytes": self._largest,
                "memory": {f"max_{os.getpid()}": peak},
            },
        )
