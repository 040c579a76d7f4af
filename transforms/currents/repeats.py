"""Which rows repeat an earlier one: event ids as 128-bit keys, sharded, and found equal by sorting.

Rows are repeats if they have one event type and one id; of equals the least (unit, row) stays. A unit is a part of the
input that one worker reads, numbered in the order of its files; a row is its position in the unit.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from transforms.arrow.columns import plain, string_buffers

_DASHES = np.array([8, 13, 18, 23])
_DIGITS = np.array([at for at in range(36) if at not in (8, 13, 18, 23)])
_HEX = np.full(256, 255, dtype=np.uint8)
_HEX[np.frombuffer(b"0123456789abcdef", dtype=np.uint8)] = np.arange(16)
_HEX[np.frombuffer(b"ABCDEF", dtype=np.uint8)] = np.arange(10, 16)

# Rows first to last of the block, number of keys, and whether a bit a row or a number a key says which rows they are.
_BLOCK = struct.Struct("<QQI?")
_ANSWER = struct.Struct("<Q")
NO_REPEATS = _ANSWER.pack(0)
"""The answer to a unit that has none."""
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def keys(event_type: str, ids: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(keys of shape (n, 2) uint64, mask of the ids that are not null).

    UUIDs (36 characters, any case) count by their 16 bytes, so case does not tell them apart; other ids by a 128-bit
    digest. The event type is part of the key. Ids that are not UUIDs take a Python call each.
    """
    ids = plain(ids)
    valid = np.asarray(ids.is_valid())
    result = np.zeros((len(ids), 2), dtype=np.uint64)
    start, end, data = string_buffers(ids)
    candidates = np.flatnonzero(valid & (end - start == 36))
    is_uuid = np.zeros(len(ids), dtype=bool)
    if candidates.size:
        text = _text_of(data, start, candidates)
        digits = _HEX[text[:, _DIGITS]]
        well_formed = (text[:, _DASHES] == ord("-")).all(axis=1) & (digits.max(axis=1) < 16)
        octets = np.ascontiguousarray((digits[:, 0::2] << 4) | digits[:, 1::2])
        # The type's digest is mixed in after parsing: one call a type instead of one an id.
        mixed = octets.view("<u8") ^ np.frombuffer(_digest(b"uuid\0" + event_type.encode()), dtype="<u8")
        result[candidates[well_formed]] = mixed[well_formed]
        is_uuid[candidates[well_formed]] = True
    others = np.flatnonzero(valid & ~is_uuid)
    if others.size:
        domain = b"id\0" + event_type.encode() + b"\0"
        digests = b"".join(_digest(domain + text.encode()) for text in ids.take(pa.array(others)).to_pylist())
        result[others] = np.frombuffer(digests, dtype="<u8").reshape(-1, 2)
    return result, valid


def pack_keys(
    keys: np.ndarray, valid: np.ndarray, shards: int, max_bytes: int = 4_000_000
) -> Iterator[tuple[int, bytes]]:
    """Blocks (shard, bytes of at most ``max_bytes``) of one unit's rows; rows without an id are in none."""
    rows = np.flatnonzero(valid)
    # Time-ordered UUIDs share their leading bytes: all the bits have to take part.
    mixed = keys[rows, 0]
    for other in (keys[rows, 1], mixed):
        mixed = (mixed ^ mixed >> np.uint64(32)) * _MULTIPLIER ^ other
    shard = ((mixed ^ mixed >> np.uint64(32)) % np.uint64(shards)).astype(np.int64)
    rows = rows[np.argsort(shard, kind="stable")]
    a_block = max(1, (max_bytes - _BLOCK.size) // 20)
    bounds = np.concatenate(([0], np.cumsum(np.bincount(shard, minlength=shards))))
    for number in range(shards):
        for begin in range(bounds[number], bounds[number + 1], a_block):
            chosen = rows[begin : min(begin + a_block, bounds[number + 1])]
            yield number, _pack_block(keys[chosen], chosen)


def unpack_keys(block: bytes) -> tuple[np.ndarray, np.ndarray]:
    """(keys of shape (n, 2) uint64, their rows) of a block of ``pack_keys``."""
    first, last, count, as_bits = _BLOCK.unpack_from(block)
    at = _BLOCK.size + 16 * count
    pairs = np.frombuffer(block, dtype="<u8", count=2 * count, offset=_BLOCK.size).reshape(-1, 2)
    if as_bits:
        bits = np.unpackbits(np.frombuffer(block, dtype=np.uint8, offset=at), count=last - first + 1)
        return pairs, np.flatnonzero(bits) + first
    return pairs, np.frombuffer(block, dtype="<u4", offset=at).astype(np.int64) + first


def count_keys(block: bytes) -> int:
    """How many keys a block of ``pack_keys`` holds."""
    count: int = _BLOCK.unpack_from(block)[2]
    return count


def find_repeats(blocks: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Answers (unit, bytes for ``unpack_answer``) for all blocks (unit, bytes) of one shard, in any order.

    Units without a repeat have no answer. Takes about 50 bytes a key beside the blocks.
    """
    parts = [(unit, *unpack_keys(block)) for unit, block in blocks]
    parts = sorted((part for part in parts if len(part[2])), key=_first_row)
    if not parts:
        return
    units = np.array([unit for unit, _, _ in parts], dtype=np.int64)
    ends = np.cumsum([len(rows) for _, _, rows in parts])
    row = np.concatenate([rows.astype(np.uint32) for _, _, rows in parts])
    high = np.concatenate([pairs[:, 0] for _, pairs, _ in parts])
    low = np.concatenate([pairs[:, 1] for _, pairs, _ in parts])
    del parts
    order = np.argsort(high)
    tied = high[order[1:]] == high[order[:-1]]
    # Rows whose first half is alone cannot repeat; what is left is few unless repeats are many.
    left = order[np.append(False, tied) | np.append(tied, False)]
    del order, tied
    if not left.size:
        return
    left = left[np.lexsort((left, low[left], high[left]))]
    equal = (high[left[1:]] == high[left[:-1]]) & (low[left[1:]] == low[left[:-1]])
    dropped = np.append(False, equal)
    drop, kept_for = left[dropped], left[~dropped & np.append(equal, False)]
    answers = [(units[np.searchsorted(ends, places, side="right")], row[places]) for places in (drop, kept_for)]
    for unit in np.unique(np.concatenate([of for of, _ in answers])):
        yield int(unit), pack_answer(*(np.sort(rows[of == unit]) for of, rows in answers))


def pack_answer(drop: np.ndarray, kept_for: np.ndarray) -> bytes:
    """The rows of a unit to drop, and those that rows (of any unit) were dropped for, as bytes."""
    return _ANSWER.pack(len(drop)) + drop.astype("<u4").tobytes() + kept_for.astype("<u4").tobytes()


def unpack_answer(answer: bytes) -> tuple[np.ndarray, np.ndarray]:
    """(rows to drop, rows kept that others were dropped for), ascending int64."""
    (count,) = _ANSWER.unpack_from(answer)
    rows = np.frombuffer(answer, dtype="<u4", offset=_ANSWER.size).astype(np.int64)
    return rows[:count], rows[count:]


def split_answer(answer: bytes, max_rows: int = 500_000) -> list[bytes]:
    """An answer in parts of at most ``max_rows`` rows of each kind, one at least."""
    drop, kept_for = unpack_answer(answer)
    parts = max(1, -(-max(len(drop), len(kept_for)) // max_rows))
    cuts = [slice(number * max_rows, (number + 1) * max_rows) for number in range(parts)]
    return [pack_answer(drop[cut], kept_for[cut]) for cut in cuts]


def _digest(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=16).digest()


def _text_of(data: np.ndarray, start: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The 36 bytes of each of ``rows``, which all have that length."""
    first = start[rows[0]]
    if start[rows[-1]] - first == 36 * (len(rows) - 1):
        return data[first : first + 36 * len(rows)].reshape(-1, 36)
    return np.lib.stride_tricks.sliding_window_view(data, 36)[start[rows]]


def _pack_block(pairs: np.ndarray, rows: np.ndarray) -> bytes:
    first, last = int(rows[0]), int(rows[-1])
    places = rows - first
    as_bits = last - first < 32 * len(rows)
    if as_bits:
        bits = np.zeros(last - first + 1, dtype=bool)
        bits[places] = True
        tail = np.packbits(bits).tobytes()
    else:
        tail = places.astype("<u4").tobytes()
    return _BLOCK.pack(first, last, len(rows), as_bits) + pairs.astype("<u8").tobytes() + tail


def _first_row(part: tuple[int, np.ndarray, np.ndarray]) -> tuple[int, int]:
    return part[0], int(part[2][0])
