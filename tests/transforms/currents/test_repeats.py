"""The search for repeats against a plain dict."""

from __future__ import annotations

import uuid

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.currents.repeats import (
    NO_REPEATS,
    find_repeats,
    keys,
    pack_answer,
    pack_keys,
    split_answer,
    unpack_answer,
    unpack_keys,
)

UUID = "0a8f8e4c-1234-4ABC-9def-00112233445F"
ODD = [
    *(UUID.replace("-", ""), UUID[:-1] + "g", UUID[:8] + "_" + UUID[9:], "", "id-1", "é" * 18, UUID + " ", "0" * 36),
]


def key_of(event_type: str, text: str) -> bytes:
    return keys(event_type, pa.array([text]))[0].tobytes()


def test_uuids_compare_by_their_bytes() -> None:
    assert key_of("t", UUID.lower()) == key_of("t", UUID.upper()) == key_of("t", UUID)
    difference = np.frombuffer(key_of("t", UUID), dtype=np.uint8) ^ np.frombuffer(uuid.UUID(UUID).bytes, dtype=np.uint8)
    zero = np.frombuffer(key_of("t", str(uuid.UUID(int=0))), dtype=np.uint8)
    assert (difference == zero).all()


def test_other_ids_compare_as_strings() -> None:
    assert key_of("t", "ID") != key_of("t", "id")
    assert len({key_of("t", text) for text in [*ODD, UUID]}) == len(ODD) + 1
    assert key_of("t", UUID[:-2] + "4g") != key_of("t", UUID[:-2] + "ff")


def test_the_event_type_is_part_of_the_key() -> None:
    for text in [UUID, *ODD]:
        assert key_of("users.a", text) != key_of("users.b", text)


def test_mixed_columns_and_slices_give_each_id_its_own_key() -> None:
    texts = [UUID, None, *ODD, None, UUID.lower(), "é" + UUID[2:], UUID]
    for column in (pa.array(texts), pa.array(["x" * 7, *texts])[1:], pa.chunked_array([texts[:3], texts[3:]])):
        found, valid = keys("t", column)
        assert valid.tolist() == [text is not None for text in texts]
        for text, key in zip(texts, found, strict=True):
            assert key.tobytes() == (bytes(16) if text is None else key_of("t", text))


def test_blocks_are_small_and_name_their_rows() -> None:
    pairs = np.random.default_rng(1).integers(0, 2**63, (5000, 2)).astype(np.uint64)
    valid = np.arange(5000) % 7 > 0
    for shards, max_bytes in ((1, 1000), (3, 10_000), (512, 4_000_000)):
        seen = np.zeros_like(valid)
        shard_of: dict[bytes, int] = {}
        for shard, block in pack_keys(pairs, valid, shards, max_bytes):
            assert len(block) <= max_bytes
            found, rows = unpack_keys(block)
            assert (found == pairs[rows]).all()
            assert not seen[rows].any()
            seen[rows] = True
            shard_of |= dict.fromkeys(map(bytes, found), shard)
        assert (seen == valid).all()
        again = list(pack_keys(pairs[::-1], valid[::-1], shards, max_bytes))
        assert all(shard_of[bytes(key)] == shard for shard, block in again for key in unpack_keys(block)[0])


def test_sequential_uuids_spread_over_the_shards() -> None:
    texts = [str(uuid.UUID(int=(0x018F << 112) | number)) for number in range(4000)]
    found, valid = keys("t", pa.array(texts))
    counts = np.bincount([shard for shard, block in pack_keys(found, valid, 8) for _ in unpack_keys(block)[1]])
    assert counts.min() > 300


IDS = st.sampled_from([None, "a", "b", "c", UUID, UUID.lower(), UUID.upper(), str(uuid.UUID(int=1)), ""])


@settings(max_examples=80, deadline=None)
@given(st.lists(st.lists(IDS, max_size=12), max_size=5), st.integers(1, 3), st.randoms(use_true_random=False))
def test_the_first_of_equal_ids_stays(units: list[list[str | None]], shards: int, chance: object) -> None:
    first: dict[str, tuple[int, int]] = {}
    expected: dict[int, tuple[set[int], set[int]]] = {unit: (set(), set()) for unit in range(len(units))}
    blocks: list[tuple[int, int, bytes]] = []
    for unit, texts in enumerate(units):
        found, valid = keys("t", pa.array(texts, pa.string()))
        blocks += [(shard, unit, block) for shard, block in pack_keys(found, valid, shards, max_bytes=70)]
        for row, text in enumerate(texts):
            if text is not None:
                same = text.lower() if len(text) == 36 else text
                if same in first:
                    expected[unit][0].add(row)
                    expected[first[same][0]][1].add(first[same][1])
                else:
                    first[same] = (unit, row)
    chance.shuffle(blocks)  # type: ignore[attr-defined]
    answers: dict[int, tuple[set[int], set[int]]] = {unit: (set(), set()) for unit in range(len(units))}
    for shard in range(shards):
        for unit, answer in find_repeats((of, block) for number, of, block in blocks if number == shard):
            drop, kept_for = unpack_answer(answer)
            assert len(drop) + len(kept_for)
            assert (np.diff(drop) > 0).all()
            assert (np.diff(kept_for) > 0).all()
            answers[unit][0].update(drop.tolist())
            answers[unit][1].update(kept_for.tolist())
    assert answers == expected


def test_keys_that_share_one_half_are_no_repeats() -> None:
    pairs = np.array([[1, 1], [1, 2], [2, 1], [1, 2], [1, 1]], dtype=np.uint64)
    blocks = [(5, block) for _, block in pack_keys(pairs, np.ones(5, dtype=bool), 1)]
    ((unit, answer),) = find_repeats(blocks)
    drop, kept_for = unpack_answer(answer)
    assert (unit, drop.tolist(), kept_for.tolist()) == (5, [3, 4], [0, 1])


@pytest.mark.parametrize("column", [pa.array([], pa.string()), pa.array([None, None]), pa.array([None], pa.string())])
def test_where_no_row_has_an_id_there_are_no_blocks_of_event_ids(column: pa.Array) -> None:
    found, valid = keys("t", column)
    assert not valid.any()
    assert list(pack_keys(found, valid, 4)) == []
    assert list(find_repeats([])) == []


def test_an_answer_is_cut_into_parts_that_say_the_same() -> None:
    answer = pack_answer(np.arange(10), np.arange(20, 23))
    parts = [unpack_answer(part) for part in split_answer(answer, max_rows=4)]
    assert [len(drop) for drop, _ in parts] == [4, 4, 2]
    assert np.concatenate([drop for drop, _ in parts]).tolist() == list(range(10))
    assert np.concatenate([kept for _, kept in parts]).tolist() == [20, 21, 22]
    assert split_answer(NO_REPEATS) == [NO_REPEATS]
