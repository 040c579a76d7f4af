"""Pass 1: work units to evidence. Only ids leave this step, in packed blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
import orjson
from apache_beam.pvalue import DoOutputsTuple, TaggedOutput
from apache_beam.typehints import with_input_types

from transforms.currents.paths import Unit
from transforms.evidence.unit_evidence import gather
from transforms.messages.elements import KEYS, LINKS, ROWS, UNIT, Keyed, Meter, numbered, tagged
from transforms.settings import Plan, Settings
from transforms.telemetry import progress

_ROWS_AN_ELEMENT = 1_000_000  # whose profiles take four bytes each


@with_input_types(Keyed)
@dataclasses.dataclass
class ReadIds(beam.PTransform):
    """Reads the id columns of work units: who was seen with whom, and which event ids there are.

    In: ``(unit number, Unit.to_bytes())``. Out, tagged: ``LINKS`` (shard; part of what a unit says of ids: the
    distinct ids, and links and deletions between their numbers), ``KEYS`` (shard; a unit's event-id keys), ``UNITS``
    (unit number; the unit with its checksums and counts, or the profiles of its rows by number), ``TALLIES`` (0;
    figures).

    Example: a row with user_id "p1" and external_user_id "ada" becomes one link::

        units = pipeline | beam.Create([(unit.number, unit.to_bytes()) for unit in survey(["export"]).in_order()])
        ids = units | ReadIds(Settings(now=1772323200), Plan.for_input(units=1, files=1, input_bytes=900))
        ids.links | beam.FlatMap(rows_of)
        # {"kind": "link", "a": "user_id:p1", "b": "external_user_id:ada", "time": 1772320000, …}
    """

    settings: Settings
    plan: Plan

    LINKS = "links"
    KEYS = "keys"
    UNITS = "units"
    TALLIES = "tallies"

    def expand(self, units: beam.PCollection[Keyed]) -> DoOutputsTuple:
        read = beam.ParDo(_ReadIds(self.settings, self.plan)).with_output_types(
            Keyed, links=Keyed, keys=Keyed, tallies=Keyed
        )
        return (
            units
            # Deals the units out to workers, as Reshuffle would, which however ships windows and timestamps pickled.
            | "SpreadUnits" >> beam.GroupByKey()  # (unit number, [unit])
            | "ReadIdColumns" >> read.with_outputs(self.LINKS, self.KEYS, self.TALLIES, main=self.UNITS)
        )


class _ReadIds(beam.DoFn):
    def __init__(self, settings: Settings, plan: Plan) -> None:
        self._settings = settings
        self._plan = plan

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Keyed | TaggedOutput]:
        number, units = element
        unit_bytes = next(iter(units))
        unit = Unit.from_bytes(unit_bytes)
        meter = Meter("read_ids")
        plan = self._plan
        found = gather(
            unit, self._settings, plan.id_shards, plan.key_shards, plan.read_concurrency, progress.reading
        )  # fmt: skip
        progress.reading("")
        for shard, part in found.parts:
            yield TaggedOutput(ReadIds.LINKS, (shard, meter.sent(tagged(LINKS, part))))
        for begin in range(0, len(found.profile), _ROWS_AN_ELEMENT):
            profiles = found.profile[begin : begin + _ROWS_AN_ELEMENT].astype("<u4").tobytes()
            yield number, meter.sent(tagged(ROWS, numbered(begin, profiles)))
        for shard, block in found.keys:
            yield TaggedOutput(ReadIds.KEYS, (shard, meter.sent(tagged(KEYS, numbered(number, block)))))
        head = {
            "checksums": found.checksums,
            "told": found.told,
            "externals": found.externals,
            "keys": found.key_count,
            "rows": found.rows,
            "row_count": found.row_count,
        }
        packed = orjson.dumps(head)
        yield number, meter.sent(tagged(UNIT, numbered(len(packed), packed + unit_bytes)))
        yield TaggedOutput(ReadIds.TALLIES, meter.tally({"narrow": {"rows": found.rows, "units": 1}}))
        progress.advance("read_ids", len(unit.files), found.rows)
