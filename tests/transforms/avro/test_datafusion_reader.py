"""The engine's rows are taken also where somebody else still looks at the bytes that they came from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pytest

from tests.transforms.avro.test_decode import avro, make_rows
from transforms.avro import datafusion_reader
from transforms.avro.container import read_container
from transforms.avro.datafusion_reader import decode_blocks
from transforms.avro.encoding_check import is_exact
from transforms.avro.schema import Schema


def test_blocks_decode_while_the_frame_that_checked_their_bytes_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    held = []

    def held_as_by_a_profiler(schema: Schema, octets: np.ndarray, table: pa.Table, starts: Mapping[int, int]) -> bool:
        held.append(octets)
        return is_exact(schema, octets, table, starts)

    monkeypatch.setattr(datafusion_reader, "is_exact", held_as_by_a_profiler)
    for rows in (50, 10):  # the second chunk is written over the first
        container = read_container(avro(make_rows(rows)))
        assert container.schema is not None
        table = decode_blocks(container.schema, container.blocks, list(container.schema.fields))
        assert table.num_rows == rows
    assert len(held) == 2
