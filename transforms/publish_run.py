"""The end of the graph: figures summed and checked, reports and manifest written."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
import orjson
from apache_beam.typehints import with_input_types, with_output_types

from transforms.messages.elements import FILE, MAXIMUM_BYTES, TALLY, Keyed, Meter, tagged, untagged
from transforms.output.publication import Written
from transforms.report.figures import RunContext, publish_run
from transforms.telemetry import progress
from transforms.telemetry.tally import Tally, merge, no_figures, pack, pack_bounded


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
        total = no_figures()
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
