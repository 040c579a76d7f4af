"""Ids in several shards: made unique in each before all meet in one place.

Only a run over much input has several (``Plan.id_shards``); what comes out is the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import DoOutputsTuple, TaggedOutput
from apache_beam.typehints import with_input_types

from transforms.evidence.ids import USER_ID
from transforms.evidence.sources import pack_source
from transforms.identity.gathering import Gathered
from transforms.messages.elements import (
    ASKED,
    ASKED_EXTERNALS,
    LINKS,
    Keyed,
    Meter,
    bodies,
    numbered,
    tagged,
)
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
        asks = self._settings.asks_externals
        gathered = Gathered(bodies(element[1], meter), keep_externals=asks)
        for unit in sorted(gathered.told):
            asked = gathered.numbers[unit][USER_ID][: gathered.told[unit]]
            for at, block in _packed(asked):
                body = numbered(unit, numbered(gathered.begins[unit] + at, block))
                yield TaggedOutput(UniqueLinks.ASKED, (shard, meter.sent(tagged(ASKED, body))))
            for _, block in _packed(gathered.externals_of(unit)) if asks else ():
                body = tagged(ASKED_EXTERNALS, numbered(unit, block))
                yield TaggedOutput(UniqueLinks.ASKED, (shard, meter.sent(body)))
        for part in pack_source(shard, gathered.source()):
            yield 0, meter.sent(tagged(LINKS, part))
        yield TaggedOutput(UniqueLinks.TALLIES, meter.tally({}))


def _packed(numbers: np.ndarray) -> Iterator[tuple[int, bytes]]:
    """(Where they begin, bytes) of numbers, of four bytes each."""
    for at in range(0, len(numbers), _NUMBERS_AN_ELEMENT):
        yield at, numbers[at : at + _NUMBERS_AN_ELEMENT].astype("<u4").tobytes()
