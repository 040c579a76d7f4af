"""Mutants of small Avro files read by the program and by the letter: ``python -m tests.exports.fuzzing FIRST COUNT``.

For every row that the program reads, the letter says the same; what it does not read is counted as damage. Prints the
number of the mutant that it is at, so that one which ends the process is known, and figures at the end.
"""

from __future__ import annotations

import base64
import json
import math
import resource
import signal
import sys
from collections import Counter
from typing import Any

from tests.exports.mutants import mutant
from tests.oracle import letter_reader
from tests.oracle.letter_reader import Beyond, NotAvro
from transforms.avro.container import read_container
from transforms.avro.decode import Chunk, decode

MOST_CPU_SECONDS = 20  # for one mutant; they take thousandths
MOST_BYTES = 6 << 30  # of address space, most of which the engine's threads only reserve


class Different(AssertionError):
    """The program reads what does not stand there, or loses it without a word."""


def check(content: bytes, seen: Counter[str]) -> None:
    """Holds the program against the letter.

    Raises:
        Different: They differ.
    """
    container = read_container(content)
    lost = {damage.block for damage in container.damages}
    rows: dict[int, Any] = {}
    columns: dict[str, bool] = {}  # name to whether its values are JSON
    for item in decode([(0, container)]):
        if isinstance(item, Chunk):
            columns = {field.name: bool(field.metadata) for field in item.table.schema}
            rows |= dict(zip(item.row.tolist(), item.table.to_pylist(), strict=True))
        else:
            lost.add(item.damage.block)
    try:
        told = letter_reader.read_file(content)
    except NotAvro:
        told = None
    kept = {block.offset: block for block in container.blocks if block.index not in lost}
    for offset, block in kept.items():
        if told is None:
            raise Different(f"the program reads a file whose header is not Avro, block at {offset}")
        try:
            expected = told.blocks.get(offset)
            if expected is None:
                expected = letter_reader.read_block_at(content, offset, told.schema)
        except Beyond:
            seen["blocks beyond the letter reader"] += 1
            continue
        except NotAvro as error:
            raise Different(f"the program reads the block at {offset}, which is not Avro: {error}") from error
        actual = [rows.get(block.first_row + number) for number in range(block.rows)]
        wanted = [{name: _shown(value, columns.get(name, False)) for name, value in row.items()} for row in expected]
        found = [row and {name: _read(value, columns[name]) for name, value in row.items()} for row in actual]
        if repr(found) != repr(wanted):
            raise Different(f"block at {offset}: {found} where the letter says {wanted}")
        seen["rows equal"] += block.rows
        seen["blocks equal"] += 1
    if told is not None:
        missed = [offset for offset, block_rows in told.blocks.items() if block_rows and offset not in kept]
        if (missed or (told.stopped_at is not None and not told.beyond)) and not lost:
            raise Different(f"the program says nothing of the blocks at {missed}, or of {told.stopped_at}")
        seen["blocks the letter reads, counted as damage"] += len(missed)
    elif not lost:
        raise Different("the program says nothing of a file that is not Avro")
    seen["files whole" if not lost else "files with damage"] += 1


def _shown(value: Any, as_json: bool) -> Any:
    """A value as the program's tables have it."""
    if not as_json or value is None:
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [_shown(item, True) for item in value]
    if isinstance(value, dict):
        return {key: _shown(item, True) for key, item in value.items()}
    return value


def _read(value: Any, as_json: bool) -> Any:
    return json.loads(value) if as_json and value is not None else value


def main(first: int, count: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    seen: Counter[str] = Counter()
    check(mutant(first), Counter())  # what is loaded and made once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    different = []
    for number in range(first, first + count):
        content = mutant(number)
        print(f"mutant {number}", flush=True)
        signal.setitimer(signal.ITIMER_PROF, MOST_CPU_SECONDS)  # ends the process, in whatever it is
        try:
            check(content, seen)
        except Different as error:
            different.append(number)
            print(f"different {number}: {error}"[:2000], flush=True)
        signal.setitimer(signal.ITIMER_PROF, 0)
        if (number - first) % 1000 == 999 or number == first + count - 1:
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
            figures = {"mutants": number - first + 1, "different": different, "peak_grown_mb": grown, **seen}
            print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
