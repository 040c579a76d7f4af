"""HMAC-SHA-256 of values: equal values give equal hashes in every run, type and field, and nobody without the key can
try values out.
"""

from __future__ import annotations

import hmac
import math
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

HEX_DIGITS = 32
_KEPT = 100_000


class Hasher:
    """Hashes values under one key. It is made where it is used: it is never pickled."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._kept: dict[str, str] = {}

    def __repr__(self) -> str:
        return "Hasher(…)"

    def __reduce__(self) -> Any:
        raise TypeError("a hash key stays in its process")

    def text(self, value: str) -> str:
        """The first 32 hex digits of a text's HMAC."""
        found = self._kept.get(value)
        if found is None:
            found = hmac.digest(self._key, value.encode("utf-8", "surrogatepass"), "sha256").hex()[:HEX_DIGITS]
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            self._kept[value] = found
        return found

    def leaves(self, value: Any) -> Any:
        """A JSON value with each of its leaves hashed; keys and nulls stay, and what is not finite becomes null."""
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            return None
        if isinstance(value, dict):
            return {key: self.leaves(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.leaves(item) for item in value]
        return self.text(canonical(value))

    def column(self, values: pa.Array) -> pa.Array:
        """A column with each value hashed, lists item by item; strings, each distinct value looked at once."""
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
            return pa.array([self.leaves(row) for row in values.to_pylist()], pa.list_(pa.string()))
        if pa.types.is_null(values.type):
            return values.cast(pa.string())
        encoded = values.dictionary_encode()
        distinct = encoded.dictionary
        # A float of 32 bits is hashed as it is sent: by its shortest text.
        is_short = pa.types.is_float32(distinct.type)
        found = map(float, map(str, distinct.to_numpy())) if is_short else distinct.to_pylist()
        hashed = pa.array([self.leaves(value) for value in found], pa.string())
        return pc.take(hashed, encoded.indices)

    def json_column(self, texts: pa.Array) -> pa.Array:
        """A column of JSON texts with each leaf of each hashed."""
        opened = (None if text is None else orjson.loads(text) for text in texts.to_pylist())
        return pa.array(
            [None if value is None else orjson.dumps(self.leaves(value)).decode() for value in opened], pa.string()
        )


def canonical(value: Any) -> str:
    """A scalar as the text that is hashed: whole numbers without a fraction, whatever their type in the file.

    >>> canonical("5"), canonical(5), canonical(5.0), canonical(3.14), canonical(True)
    ('5', '5', '5', '3.14', 'true')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
