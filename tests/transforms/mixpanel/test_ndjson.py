"""Equal lines are equal bytes, also where the library once gives others."""

from __future__ import annotations

import zlib
from typing import Any

import pytest

from transforms.mixpanel import ndjson
from transforms.mixpanel.ndjson import GzipLines, decompress

PIECES = [b'{"a":1}\n' * 40, b"", b'{"b":"%s"}\n' % (b"xyz" * 3000), b'{"a":1}\n' * 3]


def member() -> bytes:
    lines = GzipLines()
    for piece in PIECES:
        lines.add(memoryview(piece), piece.count(b"\n"))
    return lines.finish()


class _Odd:
    """A compressor that gives a valid stream, and not the usual one."""

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(9, wbits=31)

    def compress(self, lines: Any) -> bytes:
        return self._compressor.compress(lines)

    def flush(self) -> bytes:
        return self._compressor.flush()


@pytest.mark.parametrize("odd", [(), (0,), (1,), (0, 3), (1, 4)])
def test_one_stream_that_is_not_the_usual_one_changes_nothing(
    odd: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = member()
    assert decompress(expected) == b"".join(PIECES)
    usual, made = ndjson.isal_zlib.compressobj, 0

    def made_now(*arguments: Any, **named: Any) -> Any:
        nonlocal made
        made += 1
        return _Odd() if made - 1 in odd else usual(*arguments, **named)

    monkeypatch.setattr(ndjson.isal_zlib, "compressobj", made_now)
    assert member() == expected
    assert made == (3 if 0 in odd or 1 in odd else 2)
