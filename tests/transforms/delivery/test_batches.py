"""Batches are whole lines within two limits, and the same whatever the pieces in which a file is read."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.delivery.batches import Cut, cut, engage_body, middle, pieces
from transforms.errors import DamagedRunFile


def batches(content: bytes, rows: int, size: int, step: int | None = None) -> list[Cut]:
    step = step or max(len(content), 1)
    return list(cut((content[at : at + step] for at in range(0, len(content), step)), "a", rows, size))


def by_hand(content: bytes, most_rows: int, most_bytes: int) -> list[bytes]:
    made: list[list[bytes]] = []
    for line in content.splitlines(keepends=True):
        if made and len(made[-1]) < most_rows and sum(map(len, made[-1])) + len(line) <= most_bytes:
            made[-1].append(line)
        else:
            made.append([line])
    return [b"".join(lines) for lines in made]


@given(st.lists(st.integers(0, 40), max_size=60), st.integers(1, 7), st.integers(1, 90), st.integers(1, 50))
def test_batches_are_those_that_a_loop_over_lines_makes(widths: list[int], rows: int, size: int, step: int) -> None:
    content = b"".join(b"x" * width + b"\n" for width in widths)
    found = batches(content, rows, size, step)
    assert [batch.lines for batch in found] == by_hand(content, rows, size)
    assert [batch.ordinal for batch in found] == list(range(len(found)))
    line = 1
    for batch in found:
        assert (batch.first_line, batch.rows) == (line, batch.lines.count(b"\n"))
        line += batch.rows


def test_a_file_is_opened_in_pieces_and_joined_gzip_members_are_one_file() -> None:
    content = b"".join(b'{"n":%d}\n' % n for n in range(200_000))
    data = gzip.compress(content[:1_000_000]) + gzip.compress(content[1_000_000:])
    assert b"".join(pieces([data], "a")) == content
    assert b"".join(pieces([b""], "a")) == b""


def test_what_compresses_a_thousandfold_is_opened_bit_by_bit() -> None:
    content = (b"x" * 1_000_000 + b"\n") * 20
    found = list(pieces([gzip.compress(content)], "a"))
    assert b"".join(found) == content
    assert max(map(len, found)) <= 1 << 20


def _another_checksum(data: bytes) -> bytes:
    return data[:-8] + bytes([data[-8] ^ 1]) + data[-7:]


@pytest.mark.parametrize("spoil", [lambda data: data[:-9], lambda data: b"no gzip" + data, _another_checksum])
def test_a_damaged_file_is_named(spoil: Callable[[bytes], bytes]) -> None:
    data = spoil(gzip.compress(b'{"n":1}\n' * 5000))
    with pytest.raises(DamagedRunFile, match=r"part-00000"):
        list(pieces([data], "events/part-00000.ndjson.gz"))


def test_a_last_line_without_a_newline_is_damage_and_is_not_sent() -> None:
    with pytest.raises(DamagedRunFile, match="middle of a line"):
        batches(b"{}\n{}", 1, 100)


def test_halves_are_whole_lines() -> None:
    lines = b"a\nbbbb\nc\n"
    at = middle(lines)
    assert (lines[:at], lines[at:]) == (b"a\n", b"bbbb\nc\n")
    assert middle(b"a\nb\n") == 2


def test_updates_become_an_array_with_the_token_in_each() -> None:
    updates: list[dict[str, Any]] = [
        {"$distinct_id": "a\n{", "$set": {"x": "\n{"}},
        {"$distinct_id": "b", "$unset": ["y"]},
    ]
    lines = b"".join(json.dumps(update).encode() + b"\n" for update in updates)
    assert json.loads(engage_body(lines, "t0k")) == [{"$token": "t0k", **update} for update in updates]
