"""Blocks of many files to Arrow tables, each row with its file and its number there.

Blocks of equal schema are decoded together whatever file they are from: a query costs as much as 500 rows, and real
exports are thousands of files of a few dozen rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from transforms.avro.bounds import Allowance
from transforms.avro.broken_text import BrokenText, as_masks, of_rows
from transforms.avro.container import Block, Container, Damage, Schema
from transforms.avro.datafusion_reader import DataFusionError, decode_blocks
from transforms.avro.fastavro_reader import BlockDecodeError, read_table

__all__ = ["Chunk", "FileDamage", "decode"]

_PART_ROWS = 1 << 17
_PART_BYTES = 64 << 20  # of rows as they are in Arrow


@dataclass(eq=False)
class Chunk:
    """Rows of one schema, in the order of their files and blocks.

    Attributes:
        schema: The schema that all of them were written with.
        table: The asked columns, as far as the schema has them.
        file: int32, the caller's number of each row's file.
        row: int64, the row's number in its file, lost rows counted where their block header tells.
        unit_row: int64, the row's number over all files of the call, counted likewise: the same for every choice of
            columns.
        broken: Which values of the table's columns had a text that is not UTF-8, and has U+FFFD now.
    """

    schema: Schema
    table: pa.Table
    file: np.ndarray
    row: np.ndarray
    unit_row: np.ndarray
    broken: BrokenText


class FileDamage(NamedTuple):
    """A block that turned out broken only when it was decoded."""

    file: int
    damage: Damage


class _Decoded(NamedTuple):
    """Rows of neighbouring blocks, and where a text of theirs was repaired: positions of rows, by column."""

    table: pa.Table
    broken: dict[str, list[int]]


class _Piece(NamedTuple):
    """A block on its way: its file's number, the unit row at which that file begins, and what it may still hold."""

    file: int
    file_start: int
    block: Block
    allowance: Allowance


@dataclass
class _Pending:
    schema: Schema
    pieces: list[_Piece] = dataclasses.field(default_factory=list)
    rows: int = 0
    bytes: int = 0


def decode(
    files: Iterable[tuple[int, Container]],
    columns: Sequence[str] | None = None,
    chunk_rows: int = 32768,
    chunk_bytes: int = 16 << 20,
) -> Iterator[Chunk | FileDamage]:
    """Decodes the files' blocks, grouped by schema, in chunks.

    Args:
        files: The caller's number of each file, and its container, in order.
        columns: Columns wanted, in this order (None: all); one that a schema lacks is absent from its tables. Damage
            that shows only in columns left out may go unseen.
        chunk_rows, chunk_bytes: A chunk stays below them unless a single block is larger. Of all schemas together no
            more than twice ``chunk_bytes`` is held back.

    Yields:
        Chunks, and a FileDamage for each broken block, before the chunk that its neighbours are in. Damages that the
        containers name already are not repeated.
    """
    pending: dict[Schema, _Pending] = {}
    held_bytes = 0
    file_start = 0
    for file, container in files:
        allowance = Allowance(container.size)
        for block in container.blocks:
            if not block.rows or container.schema is None:
                continue
            group = pending.get(container.schema)
            if group is None:
                group = pending[container.schema] = _Pending(container.schema)
            if group.pieces and (group.rows + block.rows > chunk_rows or group.bytes + block.size > chunk_bytes):
                held_bytes -= group.bytes
                yield from _flush(group, columns)
            group.pieces.append(_Piece(file, file_start, block, allowance))
            group.rows += block.rows
            group.bytes += block.size
            held_bytes += block.size
            if group.rows >= chunk_rows or group.bytes >= chunk_bytes:
                held_bytes -= group.bytes
                yield from _flush(group, columns)
            while held_bytes > 2 * chunk_bytes:
                largest = max(pending.values(), key=_held)
                held_bytes -= largest.bytes
                yield from _flush(largest, columns)
        file_start += container.rows
    for group in pending.values():
        yield from _flush(group, columns)


def _held(group: _Pending) -> int:
    return group.bytes


def _flush(group: _Pending, columns: Sequence[str] | None) -> Iterator[Chunk | FileDamage]:
    """Decodes and empties a group; goes on with a new chunk where the rows have become much larger than their bytes."""
    pieces = group.pieces
    schema = group.schema
    group.pieces, group.rows, group.bytes = [], 0, 0
    if not pieces:
        return
    wanted = [name for name in columns if name in schema.fields] if columns is not None else list(schema.fields)
    # Something must be decoded to see the rows at all; ``id`` is in every schema.
    decoded = wanted or ["id"]
    good: list[_Piece] = []
    tables: list[pa.Table] = []
    broken: dict[str, list[int]] = {}
    rows = encoded = size = measured = 0
    for part, outcome in _decode_pieces(schema, pieces, decoded):
        if isinstance(outcome, Damage):
            yield FileDamage(part[0].file, outcome)
        else:
            good.extend(part)
            tables.append(outcome.table)
            for column in outcome.broken.keys() & set(wanted):
                broken.setdefault(column, []).extend(rows + position for position in outcome.broken[column])
            rows += outcome.table.num_rows
            encoded += sum(piece.block.size for piece in part)
            if schema.simple and _most_bytes(encoded, rows, len(decoded)) < _PART_BYTES:
                continue
            size += sum(table.nbytes for table in tables[measured:])
            measured = len(tables)
            if size >= _PART_BYTES:
                yield from _parts(_whole(schema, good, tables, wanted, broken), rows)
                good, tables, broken, rows, encoded, size, measured = [], [], {}, 0, 0, 0, 0
    if good:
        yield from _parts(_whole(schema, good, tables, wanted, broken), rows)


def _most_bytes(encoded: int, rows: int, columns: int) -> int:
    """No simple columns of so many encoded bytes take more in Arrow, which takes long to say what they do take.

    A text, or an item of an array, has its bytes and an offset of four; a value at most eight bytes and a bit.
    """
    return 6 * encoded + 9 * (rows + 2) * columns


def _whole(
    schema: Schema, good: list[_Piece], tables: list[pa.Table], wanted: list[str], broken: dict[str, list[int]]
) -> Chunk:
    table = pa.concat_tables(tables) if len(tables) > 1 else tables[0]
    rows = table.num_rows
    return Chunk(schema, table if wanted else table.select([]), *_row_numbers(good), as_masks(broken, rows))


def _parts(chunk: Chunk, rows: int) -> Iterator[Chunk]:
    """The chunk, in parts where one block has made it much larger than what comes behind expects."""
    if rows <= 2 * _PART_ROWS:
        yield chunk
        return
    for start in range(0, rows, _PART_ROWS):
        part = slice(start, min(start + _PART_ROWS, rows))
        table = chunk.table.slice(start, _PART_ROWS)
        broken = of_rows(chunk.broken, part)
        yield Chunk(chunk.schema, table, chunk.file[part], chunk.row[part], chunk.unit_row[part], broken)


def _decode_pieces(
    schema: Schema, pieces: list[_Piece], columns: list[str]
) -> Iterator[tuple[list[_Piece], _Decoded | Damage]]:
    """Tables of runs of good blocks and the damage of each bad one, in order; the bad are found by halving."""
    if schema.simple:
        try:
            yield pieces, _Decoded(decode_blocks(schema, [piece.block for piece in pieces], columns), {})
            return
        except DataFusionError:
            if len(pieces) > 1:
                half = len(pieces) // 2
                yield from _decode_pieces(schema, pieces[:half], columns)
                yield from _decode_pieces(schema, pieces[half:], columns)
                return
    for piece in pieces:
        block = piece.block
        try:
            yield [piece], _Decoded(*read_table(schema, block, columns, piece.allowance))
        except BlockDecodeError as error:
            yield (
                [piece],
                Damage(
                    error.reason,
                    f"the rows of the block at byte {block.offset} do not decode ({error}): upload the file again",
                    block.index,
                    block.first_row,
                    block.rows,
                ),
            )


def _row_numbers(pieces: list[_Piece]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """File, row in the file and row in the unit for each row of the blocks."""
    counts = np.array([piece.block.rows for piece in pieces], np.int64)
    first_rows = np.array([piece.block.first_row for piece in pieces], np.int64)
    file_starts = np.array([piece.file_start for piece in pieces], np.int64)
    before = np.cumsum(counts) - counts
    row = np.arange(counts.sum(), dtype=np.int64) + np.repeat(first_rows - before, counts)
    file = np.repeat(np.array([piece.file for piece in pieces], np.int32), counts)
    return file, row, row + np.repeat(file_starts, counts)
