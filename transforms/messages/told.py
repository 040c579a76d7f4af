"""What units, and shards of them, are told of their ids, as elements."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from transforms.evidence.links import split, unpack
from transforms.messages.elements import ANSWER, CROWD, DROPPED, RESOLVED, numbered, tagged


def cut(table: pa.Table) -> Iterator[tuple[int, bytes]]:
    """(How many rows come before, block) of a table in blocks."""
    blocks, at = split(table), 0
    for block in blocks:
        yield at, block
        at += unpack(block).num_rows if len(blocks) > 1 else 0


def to_unit(answers: list[tuple[int, bytes]], dropped: pa.Table | None, externals: int) -> Iterator[bytes]:
    """What a unit is told: lines of its profiles, each block by the first one's number; its dropped external ids."""
    for begin, block in answers:
        yield tagged(ANSWER, numbered(begin, block))
    if dropped is not None:
        blocks = split(dropped) or [b""]
        for count, block in zip(shares(externals, len(blocks)), blocks, strict=True):
            yield tagged(DROPPED, numbered(count, block))


def to_shard(answers: list[tuple[int, bytes]], dropped: pa.Table | None, _: int) -> Iterator[bytes]:
    """What a shard is told, the same; each element says how many there are, one at least: none may be lost unseen."""
    bodies = [(RESOLVED, numbered(begin, block)) for begin, block in answers or [(0, b"")]]
    bodies += [(CROWD, block) for block in (split(dropped) if dropped is not None else ())]
    for tag, body in bodies:
        yield tagged(tag, numbered(len(bodies), body))


def shares(total: int, parts: int) -> list[int]:
    """What each part of an answer counts for, one at least, so that none is lost or doubled unseen; ``total`` in all.

    >>> shares(10, 3)
    [8, 1, 1]
    """
    return [total - parts + 1, *[1] * (parts - 1)]
