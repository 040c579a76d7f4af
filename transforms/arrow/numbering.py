"""Strings as numbers: each distinct one is held once, and numbered by its first appearance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.arrow.columns import array, plain

_LARGE_BYTES = 1 << 30  # from here on offsets of 32 bits may not do


class Numbering:
    """Distinct strings, each under the number of its first appearance, whatever is added later."""

    def __init__(self) -> None:
        self.names: pa.Array = pa.array([], pa.string())

    def __len__(self) -> int:
        return len(self.names)

    def number(self, columns: Sequence[Any]) -> list[np.ndarray]:
        """The number (int32, -1 for null) of each string of each column; new strings get the next numbers.

        Hashes the strings known so far once more, so it is made for many columns at a time.
        """
        columns = [plain(column) for column in columns]
        parts = [column for column in (self.names, *columns) if len(column)]  # Arrow drops empty chunks
        if not parts:
            return [np.zeros(0, np.int32) for _ in columns]
        encoded = pa.chunked_array([part.cast(_string_type(parts)) for part in parts]).dictionary_encode()
        known = len(self.names) > 0
        self.names = array(encoded.chunk(0).dictionary)
        numbers = (np.asarray(pc.fill_null(chunk.indices, -1)) for chunk in encoded.chunks[int(known) :])
        return [next(numbers) if len(column) else np.zeros(0, np.int32) for column in columns]


def _string_type(parts: Sequence[pa.Array]) -> pa.DataType:
    large = sum(part.nbytes for part in parts) > _LARGE_BYTES or any(pa.types.is_large_string(p.type) for p in parts)
    return pa.large_string() if large else pa.string()
