"""Lines over Mixpanel's limit are found wherever they stand, and chunks are measured before they are too large."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest

from transforms.avro.decode import _most_bytes
from transforms.mixpanel.events import drop_too_large
from transforms.mixpanel.limits import EVENT_BYTES


@pytest.mark.parametrize("seed", range(20))
def test_lines_too_large_are_dropped_wherever_they_stand(seed: int) -> None:
    chance = random.Random(seed)
    sizes = [chance.choice([1, 500, EVENT_BYTES // 2, EVENT_BYTES // 2 + 1]) for _ in range(8)]
    sizes += [EVENT_BYTES - 2, EVENT_BYTES - 1, EVENT_BYTES, EVENT_BYTES + 1][: chance.randint(0, 4)]
    chance.shuffle(sizes)
    lines = [b"x" * (size - 1) + b"\n" for size in sizes]
    data, dropped = drop_too_large(memoryview(b"".join(lines)))
    assert dropped == [at for at, size in enumerate(sizes) if size - 1 >= EVENT_BYTES]
    assert bytes(data) == b"".join(line for at, line in enumerate(lines) if at not in dropped)


def test_columns_take_no_more_in_arrow_than_is_reckoned() -> None:
    rows = 1000
    texts = pa.array(["" if row % 2 else "é" * (row % 7) for row in range(rows)])
    numbers = pa.array(np.arange(rows, dtype=np.int64))
    flags = pa.array([row % 3 == 0 for row in range(rows)])
    items = pa.array([["a"] * (row % 5) for row in range(rows)])
    table = pa.table({"texts": texts, "numbers": numbers, "flags": flags, "items": items})
    encoded = sum(1 + len((text or "").encode()) for text in texts.to_pylist()) + rows + rows
    encoded += sum(1 + 2 * len(each) for each in items.to_pylist())
    assert table.nbytes <= _most_bytes(encoded, rows, table.num_columns)
