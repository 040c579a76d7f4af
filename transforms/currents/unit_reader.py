"""Reading one work unit: its files opened, walked and decoded, as rows of one event type at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
from isal import isal_zlib

from transforms.avro.broken_text import BrokenText, of_columns, of_rows
from transforms.avro.codecs import MAX_BLOCK_BYTES
from transforms.avro.container import Container, Damage, read_container
from transforms.avro.decode import FileDamage, decode
from transforms.currents.column_types import Changes, conform
from transforms.currents.paths import Unit
from transforms.currents.type_names import TypeNames, type_names
from transforms.errors import DataChanged
from transforms.stores.prefetch import read_all

_LONGEST_TYPE = 1_000  # of a name in a schema, which may be of any length


@dataclasses.dataclass(eq=False)
class Rows:
    """Decoded rows of one event type.

    ``table`` has the asked columns as far as the files have them; ``file`` (position in the unit's files), ``row``
    (number in its file) and ``unit_row`` (number in the unit, the same in both passes) have one entry a row.
    ``broken`` says which values of the table had a text that is not UTF-8.
    """

    event_type: str
    table: pa.Table
    file: np.ndarray
    row: np.ndarray
    unit_row: np.ndarray
    broken: BrokenText


class UnitReader:
    """Reads a unit once; what it met on the way stands in its attributes when ``rows`` is through.

    Attributes:
        checksums: CRC-32 of each file, in order: what the second pass holds against the first.
        damages: (position of the file, what it lost), in order of discovery.
        misnamed: (position of the file, its names) where path and schema name different types.
        row_count: rows by the block headers, lost ones included: ``unit_row`` is below it.
        file_starts: the ``unit_row`` at which each file begins.
        changes: what could not be made the catalogue's type, of the columns that were asked for.
    """

    def __init__(
        self,
        unit: Unit,
        expected_checksums: Sequence[int] | None = None,
        read_concurrency: int = 1,
        max_block_bytes: int = MAX_BLOCK_BYTES,
        on_file: Callable[[str], None] | None = None,
    ) -> None:
        self.unit = unit
        self._max_block_bytes = max_block_bytes
        self._on_file = on_file  # told the path of each file before it is looked at
        self._read_concurrency = read_concurrency
        self.checksums: list[int] = []
        self.damages: list[tuple[int, Damage]] = []
        self.misnamed: list[tuple[int, TypeNames]] = []
        self.row_count = 0
        self.file_starts: list[int] = []
        self.changes: Changes = Changes()
        self._expected = expected_checksums
        self._types: list[str] = []

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[Rows]:
        """All rows that can be decoded, in chunks.

        Raises:
            DataChanged: a file is not what was listed, or not what the first pass read.
        """
        for item in decode(self._containers(), columns):
            if isinstance(item, FileDamage):
                self.damages.append((item.file, item.damage))
                continue
            names = sorted({self._types[file] for file in np.unique(item.file).tolist()})
            if len(names) == 1:
                table = conform(names[0], item.table, item.schema, self.changes)
                broken = of_columns(item.broken, table.column_names)
                yield Rows(names[0], table, item.file, item.row, item.unit_row, broken)
                continue
            types = np.array([names.index(kind) if kind in names else -1 for kind in self._types])[item.file]
            for code, name in enumerate(names):
                chosen = types == code
                table = conform(name, item.table.filter(pa.array(chosen)), item.schema, self.changes)
                broken = of_rows(of_columns(item.broken, table.column_names), chosen)
                yield Rows(name, table, item.file[chosen], item.row[chosen], item.unit_row[chosen], broken)

    def _containers(self) -> Iterator[tuple[int, Container]]:
        contents = read_all((file.entry for file in self.unit.files), self._read_concurrency)
        for position, file in enumerate(self.unit.files):
            content = next(contents)
            if self._on_file is not None:
                self._on_file(file.path)
            checksum = isal_zlib.crc32(content)
            if self._expected is not None and self._expected[position] != checksum:
                raise DataChanged(f"{file.path} changed between the two passes: run again once it is complete")
            self.checksums.append(checksum)
            container = read_container(content, self._max_block_bytes)
            del content
            names = type_names(file.event_type, container.schema.name if container.schema else "")
            if container.rows and names.differ:
                self.misnamed.append((position, names))
            if names.taken is None:
                container = _without_type(container)
            self._types.append((names.taken or "")[:_LONGEST_TYPE])
            self.damages.extend((position, damage) for damage in container.damages)
            self.file_starts.append(self.row_count)
            self.row_count += container.rows
            yield position, container


def _without_type(container: Container) -> Container:
    """A file of which nobody can say what its rows are: sent under a tool's name, they could not be taken back."""
    rows = sum(block.rows for block in container.blocks)
    if container.schema is None or not rows:
        return container
    detail = (
        f"the record of the schema is called [{container.schema.name[:_LONGEST_TYPE]}], which is not an event type of "
        "Braze's, and the path has no event_type=: put the file into a folder event_type=TYPE, such as "
        "event_type=users.messages.email.Open, or leave it out with --skip"
    )
    lost = Damage("event_type_unknown", detail, None, 0, rows)
    return dataclasses.replace(container, blocks=(), damages=(*container.damages, lost))
