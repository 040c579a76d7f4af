"""What leaves the resolver: the identity files, and the answers that units need."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.identity.columns import array
from transforms.identity.forest import Resolution
from transforms.identity.ids import EXTERNAL_USER_ID, NODES
from transforms.identity.persons import ANSWERS, VIA

ROWS_A_FILE = 1_000_000


def identity_files(resolution: Resolution) -> Iterator[tuple[str, bytes, int]]:
    """(Path, content, rows) of ``ids-*.parquet`` and ``links-*.parquet``; at least one of each."""
    for name, table in (("ids", resolution.ids), ("links", resolution.links)):
        for number in range(max(1, -(-table.num_rows // ROWS_A_FILE))):
            part = table.slice(number * ROWS_A_FILE, ROWS_A_FILE)
            sink = pa.BufferOutputStream()
            pq.write_table(part, sink, compression="zstd", version="2.6", row_group_size=1 << 17)
            yield f"identities/{name}-{number:05d}.parquet", sink.getvalue().to_pybytes(), part.num_rows


def answer_table(profiles: pa.Table, deleted: pa.Array) -> pa.Table:
    """``ANSWERS`` for the profiles (``PROFILES`` of the forest) that have a known user or were deleted.

    A person is whole in the deletions if every profile of its known user was deleted; a profile without a known user is
    a person of its own.
    """
    is_deleted = pc.is_in(array(profiles["id"]), value_set=deleted).to_numpy(zero_copy_only=False)
    known = array(profiles["known_user"])
    has_user = np.asarray(known.is_valid())
    encoded = known.dictionary_encode()
    codes = pc.fill_null(encoded.indices, len(encoded.dictionary)).to_numpy(zero_copy_only=False)
    survives = np.bincount(codes[~is_deleted], minlength=len(encoded.dictionary) + 1) > 0
    via = pc.index_in(profiles["via"].cast(pa.string()), value_set=pa.array(VIA))
    kept = pa.array(has_user | is_deleted)
    columns = [
        array(profiles["id"]),
        known,
        array(via).cast(pa.int8()),
        pa.array(is_deleted),
        pa.array(~(survives[codes] & has_user)),
    ]
    return pa.Table.from_arrays([column.filter(kept) for column in columns], schema=ANSWERS)


def crowd_table(dropped: pa.Array) -> pa.Table:
    """``NODES`` of the external ids that were dropped."""
    kinds = pa.array(np.full(len(dropped), EXTERNAL_USER_ID, np.int8))
    return pa.Table.from_arrays([kinds, dropped.cast(pa.string())], schema=NODES)
