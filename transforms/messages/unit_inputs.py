"""Everything that one unit is sent before pass 2 reads it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from transforms.arrow.columns import array
from transforms.currents.paths import Unit
from transforms.currents.repeats import unpack_answer
from transforms.errors import AccountingError
from transforms.evidence.links import unpack
from transforms.identity.answers import ANSWERS, CROWD_IDS
from transforms.messages.elements import (
    ANSWER,
    DROPPED,
    REPEATS,
    ROWS,
    UNIT,
    Meter,
    unnumbered,
    untagged,
)


@dataclasses.dataclass
class UnitInputs:
    """Everything that one unit was sent: itself, what pass 1 saw, who its profiles are, which rows repeat."""

    unit: Unit
    checksums: list[int]
    row_count: int
    rows: int
    answers: pa.Table
    profile: np.ndarray
    crowd: pa.Array
    suppressed: pa.Array
    drop: np.ndarray
    kept_for: np.ndarray

    @classmethod
    def of(cls, number: int, parts: Iterable[bytes], meter: Meter) -> UnitInputs:
        head, unit_bytes = None, b""
        externals = keys = 0
        answers: list[tuple[int, pa.Table]] = []
        profiles: list[tuple[int, np.ndarray]] = []
        told_externals = [CROWD_IDS.empty_table()]
        drops, kept = [], []
        for element in parts:
            tag, body = untagged(meter.received(element))
            count, block = unnumbered(body)
            if tag == UNIT:
                head, unit_bytes = orjson.loads(block[:count]), block[count:]
            elif tag == ANSWER:
                answers.append((count, unpack(block)))
            elif tag == ROWS:
                profiles.append((count, np.frombuffer(block, "<u4")))
            elif tag == DROPPED:
                externals += count
                if block:
                    told_externals.append(unpack(block))
            elif tag == REPEATS:
                keys += count
                drop, kept_for = unpack_answer(block)
                drops.append(drop)
                kept.append(kept_for)
        told, row_count = _length(answers), _length(profiles)
        if head is None or (told, row_count, externals, keys) != tuple(
            head[name] for name in ("told", "row_count", "externals", "keys")
        ):
            raise AccountingError(
                f"unit [{number}] got answers for {told} profiles, {externals} external ids and {keys} event ids, and "
                f"the profiles of {row_count} rows, where it asked {head}: "
                "the runner lost or doubled elements; run again, or on another runner"
            )
        said = pa.concat_tables(told_externals)
        nothing = np.zeros(0, np.int64)
        return cls(
            unit=Unit.from_bytes(unit_bytes),
            checksums=head["checksums"],
            row_count=head["row_count"],
            rows=head["rows"],
            answers=pa.concat_tables([ANSWERS.empty_table(), *(table for _, table in answers)]).combine_chunks(),
            profile=np.concatenate([np.zeros(0, np.uint32), *(numbers for _, numbers in profiles)]),
            crowd=array(said.filter(pc.invert(said["suppressed"]))["id"]),
            suppressed=array(said.filter(said["suppressed"])["id"]),
            drop=np.concatenate([nothing, *drops]),
            kept_for=np.concatenate([nothing, *kept]),
        )


def _length(parts: list[tuple[int, Any]]) -> int:
    """Put (begin, part) pairs in order; how long they are together, -1 unless each begins where one ends."""
    parts.sort(key=_begin)
    end = 0
    for begin, part in parts:
        if begin != end:
            return -1
        end += len(part)
    return end


def _begin(part: tuple[int, Any]) -> int:
    return part[0]
