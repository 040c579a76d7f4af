"""Distinct persons, by month and by event type."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints import with_input_types, with_output_types

from transforms.evidence.links import unpack
from transforms.messages.elements import Keyed, Meter, untagged
from transforms.mixpanel.monthly_users import count_persons


@with_input_types(Keyed)
@with_output_types(Keyed)
@dataclasses.dataclass
class CountPersons(beam.PTransform):
    """Counts distinct persons by month and by event type.

    In: ``FormatEvents.PERSONS`` (shard; persons by month), all of a person in one shard. Out: (0; figures).

    Example::

        written.persons | CountPersons() | beam.FlatMap(rows_of)
        # {"kind": "tally", "persons": {"by_month": {"2026-03": {"known": 1, "anonymous": 0}}, …}, …}
    """

    def expand(self, persons: beam.PCollection[Keyed]) -> beam.PCollection[Keyed]:
        return (
            persons
            | "GroupPersons" >> beam.GroupByKey()  # (shard, [person months])
            | "CountDistinct" >> beam.ParDo(_CountPersons()).with_output_types(Keyed)  # (0, tally)
        )


class _CountPersons(beam.DoFn):
    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Keyed]:
        meter = Meter("count_persons")
        table = pa.concat_tables([unpack(untagged(meter.received(block))[1]) for block in element[1]])
        yield meter.tally(count_persons(table))
