"""The end of the graph: profiles and persons gathered, figures summed and checked, the run published."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
import orjson
import pyarrow as pa
from apache_beam.pvalue import DoOutputsTuple, TaggedOutput
from apache_beam.typehints import with_input_types, with_output_types

from transforms.accounting import Tally, merge, pack, pack_bounded
from transforms.elements import FILE, MAXIMUM_BYTES, TALLY, Keyed, Meter, tagged, untagged
from transforms.identity.links import unpack
from transforms.identity.months import count_persons
from transforms.mixpanel.gzip_lines import GzipLines
from transforms.mixpanel.profiles import engage_lines, latest
from transforms.run import progress
from transforms.run.publication import Written, publish_file
from transforms.run.report import RunContext, publish_run
from transforms.settings import Settings


@with_input_types(Keyed)
@dataclasses.dataclass
class WriteProfiles(beam.PTransform):
    """Writes ``profiles/``: at most two /engage updates a person, each attribute with its latest value.

    In: ``FormatEvents.ATTRIBUTES`` (shard; profile attributes), all of a person in one shard. Out, tagged: ``FILES``
    (0; manifest entries), ``TALLIES`` (0; figures).

    Example: two updates of one person become one line, which counts as one row::

        profiles = written.attributes | WriteProfiles(settings, output="out")
        profiles.files | beam.FlatMap(rows_of)
        # {"kind": "file", "path": "profiles/part-00000.ndjson.gz", "rows": 1, …}
    """

    settings: Settings
    output: str

    FILES = "files"
    TALLIES = "tallies"

    def expand(self, attributes: beam.PCollection[Keyed]) -> DoOutputsTuple:
        write = beam.ParDo(_WriteProfiles(self.settings, self.output)).with_output_types(Keyed, tallies=Keyed)
        return (
            attributes
            | "GroupAttributes" >> beam.GroupByKey()  # (shard, [attributes])
            | "WriteProfileShard" >> write.with_outputs(self.TALLIES, main=self.FILES)
        )


class _WriteProfiles(beam.DoFn):
    def __init__(self, settings: Settings, output: str) -> None:
        self._settings = settings
        self._output = output

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Keyed | TaggedOutput]:
        shard, blocks = element
        meter = Meter("write_profiles")
        table = latest(pa.concat_tables([unpack(untagged(meter.received(block))[1]) for block in blocks]))
        lines = GzipLines()
        for line in engage_lines(table, self._settings.profile_updates):
            lines.add(line, 1)
        if lines.rows:
            path = f"profiles/part-{shard:05d}.ndjson.gz"
            yield 0, tagged(FILE, publish_file(self._output, path, lines.finish(), lines.rows).to_bytes())
        yield TaggedOutput(WriteProfiles.TALLIES, meter.tally({"profile_lines": lines.rows}))


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


@with_input_types(bytes)
@with_output_types(bytes)
class MergeTallies(beam.CombineFn):
    """Sums TALLY elements; accumulators are such elements too, so that no runner needs to pickle one."""

    def create_accumulator(self) -> bytes:
        return tagged(TALLY, pack({}))

    def add_input(self, accumulator: bytes, element: bytes) -> bytes:
        return self.merge_accumulators([accumulator, element])

    def merge_accumulators(self, accumulators: Iterable[bytes]) -> bytes:
        total: Tally = {}
        for accumulator in accumulators:
            merge(total, orjson.loads(untagged(accumulator)[1]))
            merge(total, {"max_element_bytes": len(accumulator)})
        return tagged(TALLY, pack_bounded(total))

    def extract_output(self, accumulator: bytes) -> bytes:
        return accumulator

    def get_accumulator_coder(self) -> beam.coders.Coder:
        return beam.coders.BytesCoder()


@with_input_types(files=Keyed, tallies=Keyed)
@with_output_types(bytes)
@dataclasses.dataclass
class Publish(beam.PTransform):
    """Checks that everything adds up, then writes reports and manifest: the run's last act.

    In: a dict of ``files`` (0; manifest entries) and ``tallies`` (0; figures). Out: ``report.json``, as bytes.

    Raises:
        AccountingError: figures that must agree do not; nothing is published.
        TooManyRejects: more rows are unfit than allowed; nothing is published.

    Example::

        {"files": files, "tallies": tallies} | Publish(context)  # b'{"status": "published", "rows": {"read": 2, …}}'
    """

    context: RunContext

    def expand(self, inputs: dict[str, beam.PCollection[Keyed]]) -> beam.PCollection[bytes]:
        total = inputs["tallies"] | "SumTallies" >> beam.CombinePerKey(MergeTallies())  # (0, tally)
        return (
            (inputs["files"], total)
            | "FilesAndTotal" >> beam.Flatten()
            | "GatherFiles" >> beam.GroupByKey()  # (0, [manifest entry or tally])
            | "PublishRun" >> beam.ParDo(_Publish(self.context)).with_output_types(bytes)
        )


class _Publish(beam.DoFn):
    def __init__(self, context: RunContext) -> None:
        self._context = context

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[bytes]:
        meter = Meter("publish")
        files: list[Written] = []
        total: Tally = {}
        for item in element[1]:
            tag, body = untagged(meter.received(item))
            if tag == FILE:
                files.append(Written.from_bytes(body))
            else:
                merge(total, orjson.loads(body))
        report = publish_run(self._context, files, meter.add_to(total))
        # Of very many files it is in the folder only.
        yield report if len(report) < MAXIMUM_BYTES else orjson.dumps({"status": orjson.loads(report)["status"]})
        progress.advance("publish", 1, 0)
