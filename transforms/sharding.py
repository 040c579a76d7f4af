"""Ids in several shards, in Beam: made unique in each before all meet in one place, and units told from each.

Only a run over much input has several (``Plan.id_shards``); what comes out is the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import DoOutputsTuple, TaggedOutput
from apache_beam.typehints import with_input_types, with_output_types

from transforms.accounting import AccountingError
from transforms.elements import (
    ANSWER,
    ASKED,
    ASKED_EXTERNALS,
    CROWD,
    LINKS,
    Keyed,
    Meter,
    bodies,
    numbered,
    tagged,
    unnumbered,
    untagged,
)  # fmt: skip
from transforms.identity.answers import CROWD_IDS
from transforms.identity.columns import array
from transforms.identity.crowd import DROP
from transforms.identity.gathering import Gathered
from transforms.identity.ids import USER_ID
from transforms.identity.links import unpack
from transforms.identity.persons import ANSWERS
from transforms.identity.sources import pack_source
from transforms.identity.told import cut, to_unit
from transforms.settings import Settings

_NUMBERS_AN_ELEMENT = 1_000_000


@with_input_types(Keyed)
@dataclasses.dataclass
class UniqueLinks(beam.PTransform):
    """Makes each shard's ids and links unique before they all meet in one place: only where there are several shards.

    In: ``ReadIds.LINKS`` (shard; part of what a unit says of ids). Out, tagged: ``LINKS`` (0; part of what the shard
    says), ``ASKED`` (shard; the profiles that a unit must be told about, by their numbers in the shard), ``TALLIES``
    (0; figures).

    Example: two units of shard 3 name profile p1, which is number 0 in both::

        unique = ids.links | UniqueLinks(settings)
        unique.asked | beam.FlatMap(rows_of)
        # {"kind": "asked", "unit": 0, "profile": 0}, {"kind": "asked", "unit": 1, "profile": 0}
    """

    settings: Settings

    LINKS = "links"
    ASKED = "asked"
    TALLIES = "tallies"

    def expand(self, links: beam.PCollection[Keyed]) -> DoOutputsTuple:
        unique = beam.ParDo(_UniqueLinks(self.settings)).with_output_types(Keyed, asked=Keyed, tallies=Keyed)
        return (
            links
            | "GroupLinks" >> beam.GroupByKey()  # (shard, [part of what a unit says])
            | "MakeLinksUnique" >> unique.with_outputs(self.ASKED, self.TALLIES, main=self.LINKS)
        )


class _UniqueLinks(beam.DoFn):
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Keyed | TaggedOutput]:
        shard, meter = element[0], Meter("unique_links")
        drops = self._settings.crowd_ids == DROP
        gathered = Gathered(bodies(element[1], meter), keep_externals=drops)
        for unit in sorted(gathered.told):
            asked = gathered.numbers[unit][USER_ID][: gathered.told[unit]]
            for at, block in _packed(asked):
                body = numbered(unit, numbered(gathered.begins[unit] + at, block))
                yield TaggedOutput(UniqueLinks.ASKED, (shard, meter.sent(tagged(ASKED, body))))
            for _, block in _packed(gathered.externals_of(unit)) if drops else ():
                body = tagged(ASKED_EXTERNALS, numbered(unit, block))
                yield TaggedOutput(UniqueLinks.ASKED, (shard, meter.sent(body)))
        for part in pack_source(shard, gathered.source()):
            yield 0, meter.sent(tagged(LINKS, part))
        yield TaggedOutput(UniqueLinks.TALLIES, meter.tally({}))


def _packed(numbers: np.ndarray) -> Iterator[tuple[int, bytes]]:
    """(Where they begin, bytes) of numbers, of four bytes each."""
    for at in range(0, len(numbers), _NUMBERS_AN_ELEMENT):
        yield at, numbers[at : at + _NUMBERS_AN_ELEMENT].astype("<u4").tobytes()


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
