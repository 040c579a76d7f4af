"""A string's hash is its own, whatever stands beside it."""

from __future__ import annotations

import pyarrow as pa
import pytest

from transforms.arrow import hashing
from transforms.arrow.hashing import hash64


def test_hashes_do_not_depend_on_how_many_strings_are_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*(f"{n:024x}" for n in range(50)), "", "ü" * 400, *(f"user-{n}" for n in range(50)), None]
    together = hash64(pa.array(texts), seed=5)
    monkeypatch.setattr(hashing, "_ROWS_AT_ONCE", 7)
    assert hash64(pa.array(texts), seed=5).tolist() == together.tolist()
    assert [int(hash64(pa.array([text], pa.string()), seed=5)[0]) for text in texts] == together.tolist()
    assert len(set(together.tolist())) == len(texts) - 1  # null is as an empty one
