"""Pass 1 in Beam: work units to evidence. Only ids leave this step, in packed blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import apache_beam as beam
import orjson
from apache_beam.pvalue import DoOutputsTuple, TaggedOutput

from transforms.currents.paths import Unit
from transforms.elements import ASKED, DELETED, LINKS, NODES, UNIT, WORKSPACES, Keyed, Meter, tagged, with_numbers
from transforms.identity.evidence import gather
from transforms.run import progress
from transforms.run.accounting import pack
from transforms.settings import Plan, Settings


@dataclasses.dataclass
class ReadIds(beam.PTransform):
    """Reads the id columns of work units.

    In: ``(unit number, Unit.to_bytes())``. Out, tagged: ``LINKS`` (shard, links, lone ids or deleted profiles),
    ``ASKED`` (shard, the profiles a unit must be told about), ``KEYS`` (shard, event-id keys of a unit), ``UNITS``
    (unit number, the unit with its checksums and counts), ``TALLIES`` (figures).

    Example: ``units | ReadIds(Settings(now=1772323200), Plan.for_input(units=1, files=2, input_bytes=9000))``
    """

    settings: Settings
    plan: Plan

    LINKS = "links"
    ASKED = "asked"
    KEYS = "keys"
    UNITS = "units"
    TALLIES = "tallies"

    def expand(self, units: beam.PCollection[Keyed]) -> DoOutputsTuple:
        read = beam.ParDo(_ReadIds(self.settings, self.plan)).with_output_types(
            Keyed, links=Keyed, asked=Keyed, keys=Keyed, tallies=bytes
        )
        return units | "ReadIdColumns" >> read.with_outputs(
            self.LINKS, self.ASKED, self.KEYS, self.TALLIES, main=self.UNITS
        )


class _ReadIds(beam.DoFn):
    def __init__(self, settings: Settings, plan: Plan) -> None:
        self._settings = settings
        self._plan = plan

    def process(self, element: Keyed) -> Iterator[Keyed | TaggedOutput]:
        number, unit_bytes = element
        unit = Unit.from_bytes(unit_bytes)
        meter = Meter("read_ids")
        found = gather(unit, self._settings, self._plan.id_shards, self._plan.key_shards)
        for tag, blocks in ((LINKS, found.links), (NODES, found.nodes), (DELETED, found.deleted)):
            for shard, block in blocks:
                yield TaggedOutput(ReadIds.LINKS, (shard, meter.sent(tagged(tag, block))))
        # Every shard has an element, so that the resolver runs on an export without ids too.
        yield TaggedOutput(ReadIds.LINKS, (0, tagged(WORKSPACES, orjson.dumps(found.workspaces))))
        for shard, block in found.profiles:
            body = tagged(ASKED, with_numbers(number, 0, block))
            yield TaggedOutput(ReadIds.ASKED, (shard, meter.sent(body)))
        for shard, block in found.keys:
            yield TaggedOutput(ReadIds.KEYS, (shard, meter.sent(with_numbers(number, 0, block))))
        head = {
            "checksums": found.checksums,
            "asked": found.asked,
            "keys": found.key_count,
            "rows": found.rows,
            "row_count": found.row_count,
        }
        packed = orjson.dumps(head)
        yield number, meter.sent(tagged(UNIT, with_numbers(len(packed), 0, packed + unit_bytes)))
        tally = meter.tally({"narrow": {"rows": found.rows, "units": 1}})
        yield TaggedOutput(ReadIds.TALLIES, pack(tally))
        progress.advance("read_ids", len(unit.files), found.rows)
