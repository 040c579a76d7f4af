"""Pass 2: each unit, with its answers, read whole and written as one shard of every kind of line."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import DoOutputsTuple, TaggedOutput
from apache_beam.typehints import with_input_types

from transforms.arrow.columns import array
from transforms.avro.container import Damage
from transforms.currents.broken_fields import broken_names
from transforms.currents.unit_reader import UnitReader
from transforms.errors import DamagedEvidence, UnreadableRepeat
from transforms.evidence.unit_evidence import dealt, sharded
from transforms.messages.elements import (
    ATTRIBUTES,
    FILE,
    PERSON_MONTHS,
    Keyed,
    Meter,
    tagged,
)
from transforms.messages.unit_inputs import UnitInputs
from transforms.mixpanel.monthly_users import event_counts
from transforms.mixpanel.unit_writer import UnitFormatter, UnitOutput
from transforms.output.publication import publish_file
from transforms.settings import Plan, Settings
from transforms.telemetry import progress
from transforms.telemetry.tally import Tally, merge
from transforms.vocabulary.outputs import OUTPUT_FILES


@with_input_types(Keyed)
@dataclasses.dataclass
class FormatEvents(beam.PTransform):
    """Formats work units and writes their shards of ``events/``, ``rejects/`` and ``deletions/``.

    In: (unit number; the unit, answers or repeats), flattened. Out, tagged: ``FILES`` (0; manifest entries),
    ``ATTRIBUTES`` (shard; profile attributes), ``PERSONS`` (shard; persons by month), ``TALLIES`` (0; figures).

    Raises:
        AccountingError: a unit did not get all of its answers.
        UnreadableRepeat: a row that repeats were dropped for cannot be read.
        DataChanged: a file is not what the first pass read.

    Example: a unit of two rows, both sent::

        answered = (ids.units, answers, repeats) | beam.Flatten()
        written = answered | FormatEvents(settings, plan, output="out")
        written.files | beam.FlatMap(rows_of)  # {"kind": "file", "path": "events/part-00000.ndjson.gz", "rows": 2, …}
    """

    settings: Settings
    plan: Plan
    output: str

    FILES = "files"
    ATTRIBUTES = "attributes"
    PERSONS = "persons"
    TALLIES = "tallies"

    def expand(self, answered: beam.PCollection[Keyed]) -> DoOutputsTuple:
        write = beam.ParDo(_FormatUnit(self.settings, self.plan, self.output)).with_output_types(
            Keyed, attributes=Keyed, persons=Keyed, tallies=Keyed
        )
        return (
            answered
            | "GroupByUnit" >> beam.GroupByKey()  # (unit, [unit, answers, repeats])
            | "WriteUnit" >> write.with_outputs(self.ATTRIBUTES, self.PERSONS, self.TALLIES, main=self.FILES)
        )


class _FormatUnit(beam.DoFn):
    def __init__(self, settings: Settings, plan: Plan, output: str) -> None:
        self._settings = settings
        self._plan = plan
        self._output = output

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Keyed | TaggedOutput]:
        number, parts = element
        meter = Meter("write_events")
        inputs = UnitInputs.of(number, parts, meter)
        largest = self._settings.max_block_mb << 20
        reader = UnitReader(inputs.unit, inputs.checksums, self._plan.read_concurrency, largest, progress.reading)
        names = [file.name for file in inputs.unit.files]
        formatter = UnitFormatter(names, inputs.answers, self._settings, inputs.crowd, inputs.suppressed)
        seen = np.zeros(inputs.row_count, bool)
        repeats = np.zeros(inputs.row_count, bool)
        repeats[inputs.drop] = True
        nameless: list[np.ndarray] = []
        for rows in reader.rows():
            seen[rows.unit_row] = True
            profile = inputs.profile[rows.unit_row]
            formatter.add(
                rows.event_type, rows.table, rows.file, rows.row, repeats[rows.unit_row], rows.broken, profile
            )
            nameless.append(rows.unit_row[broken_names(rows.event_type, rows.broken, len(rows.row))])
            progress.advance("write_events", 0, len(rows.row))
        progress.reading("")
        _check_kept(inputs, reader, seen)
        if int(seen.sum()) < inputs.rows and not self._settings.read_whole_rows:
            raise DamagedEvidence(
                f"unit [{number}] has {inputs.rows - int(seen.sum())} row(s) that pass 1 took for whole, by the "
                "columns it reads, and pass 2 found broken: what they say of persons must not count"
            )
        if np.isin(inputs.kept_for, np.concatenate([inputs.kept_for[:0], *nameless])).any():
            raise DamagedEvidence(
                f"unit [{number}] has a row that is a reject, its event's name not being UTF-8, and rows that pass 1, "
                "which does not read names, took for repeats of it: they must not be left out"
            )
        for position, damage in reader.damages:
            formatter.add_damage(position, dataclasses.asdict(damage), inputs.unit.files[position].size)
        output = formatter.finish()
        for kind, lines in output.lines.items():
            if lines.rows:
                path = OUTPUT_FILES[kind].at(number)
                written = publish_file(self._output, path, lines.finish(), lines.rows)
                yield 0, tagged(FILE, written.to_bytes())
        if output.attributes:
            table = pa.concat_tables(output.attributes)
            for shard, block in sharded(table, "distinct_id", self._plan.person_shards):
                yield TaggedOutput(FormatEvents.ATTRIBUTES, (shard, meter.sent(tagged(ATTRIBUTES, block))))
        for shard, block in _by_person(output, self._plan.person_shards):
            yield TaggedOutput(FormatEvents.PERSONS, (shard, meter.sent(tagged(PERSON_MONTHS, block))))
        formatter.add_changes(reader.changes)
        for position, types in reader.misnamed:
            formatter.add_misnamed(position, types)
        damaged = sorted({position for position, _ in reader.damages})
        figures = _unit_figures(inputs, len(damaged), output.tally)
        yield TaggedOutput(FormatEvents.TALLIES, meter.tally(figures))
        progress.advance("write_events", len(inputs.unit.files), 0)


def _check_kept(inputs: UnitInputs, reader: UnitReader, seen: np.ndarray) -> None:
    lost = inputs.kept_for[~seen[inputs.kept_for]]
    if not lost.size:
        return
    position = int(np.searchsorted(reader.file_starts, lost[0], side="right")) - 1
    row = int(lost[0]) - reader.file_starts[position]
    name = inputs.unit.files[position].name
    why = next((damage.detail for file, damage in reader.damages if file == position and _has(damage, row)), "unread")
    raise UnreadableRepeat(
        f"row {row} of {name} cannot be read ({why}), and rows in other places were left out as repeats of it: so that "
        f"those are sent, leave this file out with --skip {shlex.quote(name)}"
    )


def _has(damage: Damage, row: int) -> bool:
    return damage.first_row is not None and damage.first_row <= row < damage.first_row + (damage.rows_lost or 0)


def _by_person(output: UnitOutput, count: int) -> Iterator[tuple[int, bytes]]:
    """``PERSON_MONTHS`` of a unit in packed blocks, by the shard of the person; its events by type to every shard."""
    if not output.person_months:
        return
    events = {kind: rows["events"] for kind, rows in output.tally.get("rows_by_type", {}).items()}
    counts, of_counts = event_counts(events, count)
    table = pa.concat_tables([*output.person_months, counts]).unify_dictionaries()
    shard = (array(table["person"]).to_numpy() % np.uint64(count)).astype(np.int64)
    shard[table.num_rows - counts.num_rows :] = of_counts
    yield from dealt(table, shard, count)


def _unit_figures(inputs: UnitInputs, damaged_files: int, tally: Tally) -> Tally:
    rows = sum(outcomes["read"] for outcomes in tally.get("rows_by_type", {}).values())
    figures: Tally = {
        "units": 1,
        "wide": {"rows": rows},
        "files": {"read": len(inputs.unit.files), "bytes": sum(file.size for file in inputs.unit.files)},
    }
    if damaged_files:
        figures["damaged"] = {"files": damaged_files}
    return merge(tally, figures)
