"""Profile updates gathered by person, and their latest values written."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import DoOutputsTuple, TaggedOutput
from apache_beam.typehints import with_input_types

from transforms.evidence.links import unpack
from transforms.messages.elements import FILE, Keyed, Meter, tagged, untagged
from transforms.mixpanel.ndjson import GzipLines
from transforms.mixpanel.profile_updates import engage_lines, latest
from transforms.output.publication import publish_file
from transforms.settings import Settings
from transforms.vocabulary.outputs import OUTPUT_FILES


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
            path = OUTPUT_FILES["profiles"].at(shard)
            yield 0, tagged(FILE, publish_file(self._output, path, lines.finish(), lines.rows).to_bytes())
        yield TaggedOutput(WriteProfiles.TALLIES, meter.tally({"profile_lines": lines.rows}))
