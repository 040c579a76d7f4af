"""A fast 64-bit hash of many strings at once: for shards and for counting distinct persons, never for identity."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa

from transforms.arrow.columns import plain, string_buffers

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_ROWS_AT_ONCE = 1 << 14  # what they take stays in the processor's cache
_MAXIMUM_WORDS = 64  # texts over 512 bytes are hashed by their beginning, their end and their length


def hash64(values: pa.Array, seed: int = 0) -> np.ndarray:
    """uint64 hash of each string; the same on every machine. Nulls hash as empty strings."""
    offsets, ends, data = string_buffers(plain(values))
    lengths = ends - offsets
    hashes = np.empty(len(lengths), np.uint64)
    for length in np.unique(lengths).tolist():
        rows = np.flatnonzero(lengths == length)
        for begin in range(0, len(rows), _ROWS_AT_ONCE):
            some = rows[begin : begin + _ROWS_AT_ONCE]
            hashes[some] = _hash_of_length(data, offsets[some], length, seed)
    return hashes


def _hash_of_length(data: np.ndarray, offsets: np.ndarray, length: int, seed: int) -> np.ndarray:
    """Hashes (uint64) of strings of one length; takes nine times their bytes meanwhile."""
    width = min(length, _MAXIMUM_WORDS * 8)
    words = np.zeros((len(offsets), (width + 7) // 8 * 8), np.uint8)
    if width:
        columns = np.arange(width)
        columns[width // 2 :] += length - width
        words[:, :width] = data[offsets[:, None] + columns]
    start = (seed * int(_MIX) + length * int(_PRIME)) & 0xFFFF_FFFF_FFFF_FFFF
    state = np.full(len(offsets), start, np.uint64)
    for word in words.view("<u8").T:
        state = (state ^ word) * _PRIME
        state ^= state >> np.uint64(29)
    state *= _MIX
    return state ^ (state >> np.uint64(32))


def hash_of(text: str) -> str:
    """A digest that stands for a long text, in 32 characters."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def shards(values: pa.Array, count: int) -> np.ndarray:
    """The shard (int64, 0 to ``count`` - 1) of each string."""
    return (hash64(values) % np.uint64(count)).astype(np.int64)


def person_hash(distinct_id: pa.Array, known: np.ndarray | bool) -> np.ndarray:
    """uint64 of each person, by its ``distinct_id`` and whether that is a known user."""
    return hash64(distinct_id) ^ np.asarray(known).astype(np.uint64)
