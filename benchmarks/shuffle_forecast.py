"""What each shuffle of a run will carry, told from its plan: to size a cluster, and to see that shards suffice.

The figures a row were measured on two exports of the sample generator (42,190 files of 310,134 rows, and 2,242 files of
3,104,702 rows), and tests hold the forecast against other runs. Sizes of other exports differ: take it as a magnitude.
"""

from __future__ import annotations

import dataclasses
import math

from transforms.settings import Plan

BYTES_A_ROW = 372
"""Of uncompressed Avro; a file has ``BYTES_A_FILE`` besides, for the most part its schema."""
BYTES_A_FILE = 1_470

_ROWS_A_PROFILE = 86
# A unit has some hours of a few types: of very many profiles it meets one in about two rows, of few not all.
_MET_A_ROW, _MET_AT_MOST = 0.44, 0.8
_BLOCK_BYTES = 4_000_000
_ROWS_AN_ELEMENT = 1_000_000

_KEY, _REPEATED, _NUMBER = 16.4, 0.04, 4  # bytes a row
_ATTRIBUTES = 1.1
_LINKS, _ASKED, _ANSWERED, _PERSON_MONTHS = 80.0, 4.0, 13.5, 20.0  # bytes a profile of a unit
_UNIQUE_LINKS, _RESOLVED = 120.0, 13.5  # bytes a profile
_UNIT, _UNIT_FILE, _CHECKSUM = 400, 24, 10
_FILES_A_UNIT, _OTHER_FILES, _FILE = 1.6, 2, 141
_TALLY, _TOTAL = 14_000, 130_000
_HEADS = {"links": 1_880, "asked": 10, "answers": 500, "keys": 30, "repeats": 20, "persons": 1_100, "attributes": 1_000}


@dataclasses.dataclass(frozen=True)
class Shuffle:
    """What one grouping carries: its step, elements, their bytes, and how many groups they fall into."""

    step: str
    elements: int
    bytes: int
    groups: int

    @property
    def group_bytes(self) -> int:
        """Of the largest group: keys are spread by hash, so that it is hardly above the mean."""
        return self.bytes // max(1, self.groups)

    @property
    def group_elements(self) -> int:
        return self.elements // max(1, self.groups)


def estimated_rows(plan: Plan) -> int:
    """Rows of uncompressed input; of compressed exports there are more."""
    return max(plan.files, (plan.input_bytes - BYTES_A_FILE * plan.files) // BYTES_A_ROW)


def forecast(plan: Plan, rows: int | None = None, profiles: int | None = None) -> list[Shuffle]:
    """Each grouping of the graph, in its order. ``profiles`` is how many there are in the whole export."""
    rows = estimated_rows(plan) if rows is None else rows
    profiles = max(1, rows // _ROWS_A_PROFILE) if profiles is None else profiles
    met = _met_in_a_unit(rows / max(1, plan.units), profiles)

    def blocks(kind: str, payload: float, shards: int, things: float) -> tuple[int, float]:
        """(Elements, bytes) of what each unit sends to each shard: ``things`` that take ``payload`` bytes in all."""
        a_shard = payload / shards
        elements = plan.units * shards * _share_with_any(things / shards) * max(1, math.ceil(a_shard / _BLOCK_BYTES))
        return round(elements), plan.units * payload + elements * _HEADS[kind]

    a_unit = rows / max(1, plan.units)
    links = blocks("links", met * _LINKS, plan.id_shards, met)
    asked = blocks("asked", met * _ASKED, plan.id_shards, met)
    answers = asked[0], plan.units * met * _ANSWERED + asked[0] * _HEADS["answers"]
    keys = blocks("keys", a_unit * _KEY, plan.key_shards, a_unit)
    repeats = keys[0], rows * _REPEATED + keys[0] * _HEADS["repeats"]
    persons = blocks("persons", met * _PERSON_MONTHS, plan.person_shards, met)
    # Updates are a type of their own, in few units.
    of_updates = 2 * max(1, round(plan.units * 0.01)) * plan.person_shards
    attributes = of_updates, rows * _ATTRIBUTES + of_updates * _HEADS["attributes"]
    units = plan.units, plan.units * _UNIT + plan.files * _UNIT_FILE
    written = plan.units * _FILES_A_UNIT + plan.person_shards + _OTHER_FILES
    files = written + 1, written * _FILE + _TOTAL
    numbers = plan.units * math.ceil(a_unit / _ROWS_AN_ELEMENT), rows * _NUMBER
    gathered = profiles * _UNIQUE_LINKS
    resolved = plan.id_shards, profiles * _RESOLVED + plan.id_shards * _HEADS["answers"]

    found = [_shuffle("SpreadUnits", plan.units, units)]
    if plan.id_shards > 1:
        found.append(_shuffle("GroupLinks", plan.id_shards, links))
        parts = plan.id_shards * max(1, math.ceil(gathered / plan.id_shards / _BLOCK_BYTES))
        found.append(_shuffle("GatherLinks", 1, (parts, gathered + parts * _HEADS["links"])))
        found.append(_shuffle("GroupByShard", plan.id_shards, asked, resolved))
    else:
        found.append(_shuffle("GatherLinks", 1, links))
    return [
        *found,
        _shuffle("GroupKeys", plan.key_shards, keys),
        _shuffle("GroupByUnit", plan.units, units, (0, plan.files * _CHECKSUM), numbers, answers, repeats),
        _shuffle("GroupAttributes", plan.person_shards, attributes),
        _shuffle("GroupPersons", plan.person_shards, persons),
        # Sums are made before they are sent, a worker at a time; this is what comes where none is.
        _shuffle("SumTallies", 1, (2 * plan.units, 2 * plan.units * _TALLY)),
        _shuffle("GatherFiles", 1, files),
    ]


def lines(shuffles: list[Shuffle]) -> list[str]:
    """The forecast as a table in Markdown."""
    head = "| grouping | elements | bytes | groups | elements a group | bytes a group |"
    return [
        head,
        "|---|---:|---:|---:|---:|---:|",
        *(
            f"| {s.step} | {s.elements:,} | {_size(s.bytes)} | {s.groups:,} | {s.group_elements:,} | "
            f"{_size(s.group_bytes)} |"
            for s in shuffles
        ),
    ]


def _met_in_a_unit(rows: float, profiles: int) -> float:
    """How many profiles a unit's rows are of."""
    most = _MET_AT_MOST * profiles
    return most * -math.expm1(-_MET_A_ROW * rows / most)


def _share_with_any(things: float) -> float:
    """Of shards that get ``things`` each on average, by chance, how many get any."""
    return -math.expm1(-things)


def _shuffle(step: str, groups: int, *parts: tuple[float, float]) -> Shuffle:
    return Shuffle(step, round(sum(part[0] for part in parts)), round(sum(part[1] for part in parts)), groups)


def _size(count: float) -> str:
    """
    >>> _size(1500), _size(2_500_000)
    ('1.5 KB', '2.5 MB')
    """
    unit = 0
    while count >= 1000 and unit < 4:
        count, unit = count / 1000, unit + 1
    return f"{count:.1f} {('B', 'KB', 'MB', 'GB', 'TB')[unit]}" if unit else f"{round(count)} B"
