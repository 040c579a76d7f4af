"""The units of a large plan, out of the files that the launcher wrote them to."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam.typehints import with_input_types, with_output_types

from transforms.messages.elements import Keyed
from transforms.output.plan_files import read_units


@with_input_types(Keyed)
@with_output_types(Keyed)
@dataclasses.dataclass
class ReadPlan(beam.PTransform):
    """Reads units that were too many for the graph out of the files that the launcher wrote them to.

    In: (file number; path). Out: ``(unit number, Unit.to_bytes())``.

    Example::

        units = pipeline | beam.Create([(0, b"out/_plan/part-00000.units")]) | ReadPlan()
    """

    def expand(self, paths: beam.PCollection[Keyed]) -> beam.PCollection[Keyed]:
        return (
            paths
            | "SpreadPlan" >> beam.GroupByKey()  # (file number, [path])
            | "ReadPlanFile" >> beam.ParDo(_ReadPlan()).with_output_types(Keyed)
        )


class _ReadPlan(beam.DoFn):
    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Keyed]:
        for path in element[1]:
            yield from read_units(path.decode())
