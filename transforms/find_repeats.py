"""Rows whose event type and id came before, by shards of the keys."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam.typehints import with_input_types, with_output_types

from transforms.currents import repeats
from transforms.messages.elements import REPEATS, Keyed, numbered, tagged, unnumbered, untagged
from transforms.messages.told import shares


@with_input_types(Keyed)
@with_output_types(Keyed)
@dataclasses.dataclass
class FindRepeats(beam.PTransform):
    """Finds rows whose event type and id came before.

    In: ``ReadIds.KEYS`` (shard; a unit's event-id keys). Out: (unit number; how many keys are answered for, rows to
    drop, rows that others were dropped for).

    Example: row 1 of the only unit has the id of row 0::

        ids["keys"] | FindRepeats() | beam.FlatMap(rows_of)
        # {"kind": "repeat", "unit": 0, "row": 1, "dropped": True}, {"kind": "repeat", "unit": 0, "row": 0, …}
    """

    def expand(self, keys: beam.PCollection[Keyed]) -> beam.PCollection[Keyed]:
        return (
            keys
            | "GroupKeys" >> beam.GroupByKey()  # (shard, [keys of a unit])
            | "FindEqualKeys" >> beam.ParDo(_FindRepeats()).with_output_types(Keyed)  # (unit, repeats)
        )


class _FindRepeats(beam.DoFn):
    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Keyed]:
        blocks: list[tuple[int, bytes]] = []
        counts: dict[int, int] = {}
        for item in element[1]:
            unit, block = unnumbered(untagged(item)[1])
            blocks.append((unit, block))
            counts[unit] = counts.get(unit, 0) + repeats.count_keys(block)
        answers = dict(repeats.find_repeats(blocks))
        del blocks
        for unit in sorted(counts):
            parts = repeats.split_answer(answers.get(unit, repeats.NO_REPEATS))
            for count, answer in zip(shares(counts[unit], len(parts)), parts, strict=True):
                yield unit, tagged(REPEATS, numbered(count, answer))
