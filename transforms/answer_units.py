"""Ids in several shards: units told from the shards that their ids were gathered in."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.typehints import with_input_types, with_output_types

from transforms.arrow.columns import array
from transforms.errors import AccountingError
from transforms.evidence.links import unpack
from transforms.identity.answers import ANSWERS, CROWD_IDS
from transforms.messages.elements import (
    ANSWER,
    ASKED,
    ASKED_EXTERNALS,
    CROWD,
    Keyed,
    numbered,
    tagged,
    unnumbered,
    untagged,
)
from transforms.messages.told import cut, to_unit


@with_input_types(asked=Keyed, resolved=Keyed)
@with_output_types(Keyed)
@dataclasses.dataclass
class AnswerUnits(beam.PTransform):
    """Tells each unit who its profiles are: only where ids were gathered in several shards.

    In: a dict of ``asked`` (``UniqueLinks.ASKED``) and ``resolved`` (``ResolveIdentities.RESOLVED``), both keyed by
    shard. Out: (unit number; a line for each of its profiles, or its dropped external ids).

    Raises:
        AccountingError: a shard did not get all that was resolved for it.

    Example::

        {"asked": unique.asked, "resolved": identities.resolved} | AnswerUnits() | beam.FlatMap(rows_of)
        # {"kind": "answer", "unit": 0, "profile": 0, "known_user": "ada", "via": "own", "deleted": False, …}
    """

    def expand(self, inputs: dict[str, beam.PCollection[Keyed]]) -> beam.PCollection[Keyed]:
        return (
            (inputs["asked"], inputs["resolved"])
            | "AskedAndResolved" >> beam.Flatten()
            | "GroupByShard" >> beam.GroupByKey()  # (shard, [asked or resolved block])
            | "Answer" >> beam.ParDo(_Answer()).with_output_types(Keyed)  # (unit, answer)
        )


class _Answer(beam.DoFn):
    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Keyed]:
        asked: list[bytes] = []
        externals: list[bytes] = []
        lines: dict[int, pa.Table] = {}
        crowd = [CROWD_IDS.empty_table()]
        resolved, expected = 0, 1
        for item in element[1]:
            tag, body = untagged(item)
            if tag in (ASKED, ASKED_EXTERNALS):
                (asked if tag == ASKED else externals).append(body)
                continue
            expected, body = unnumbered(body)
            resolved += 1
            if tag == CROWD:
                crowd.append(unpack(body))
                continue
            begin, block = unnumbered(body)
            lines[begin] = unpack(block) if block else ANSWERS.empty_table()
        if resolved != expected:
            raise AccountingError(
                f"shard [{element[0]}] got {resolved} elements of resolved profiles, and there must be [{expected}]: "
                "the runner lost or doubled elements; run again, or on another runner"
            )
        table = pa.concat_tables([lines[begin] for begin in sorted(lines)]).combine_chunks()
        for body in asked:
            unit, rest = unnumbered(body)
            begin, numbers = unnumbered(rest)
            for at, block in cut(table.take(pa.array(np.frombuffer(numbers, "<u4")))):
                yield unit, tagged(ANSWER, numbered(begin + at, block))
        dropped = pa.concat_tables(crowd).combine_chunks()
        for body in externals:
            unit, numbers = unnumbered(body)
            of_unit = np.frombuffer(numbers, "<u4")
            chosen = np.isin(np.asarray(array(dropped["number"])), of_unit)
            for packed in to_unit([], dropped.filter(pa.array(chosen)), len(of_unit)):
                yield unit, packed
