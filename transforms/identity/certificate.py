"""The proof, before anything is published, that the identity tables keep their promises.

Reads the two tables alone and shares no code with the resolver, so a fault there cannot hide itself here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

_TYPES = ["device_id", "external_user_id", "user_id"]
_DEVICE, _EXTERNAL, _USER = range(3)
_B_TYPE_OF_RANK = np.array([_EXTERNAL, _USER, _DEVICE])
_STATUSES = ["accepted", "redundant", "refused", "contested", "quarantined"]
_ACCEPTED, _REDUNDANT, _REFUSED, _CONTESTED, _QUARANTINED = range(5)
_EXAMPLES = 3


class CertificateError(Exception):
    """The identity tables contradict themselves; the message names the first offending values."""


def certify(links: pa.Table, ids: pa.Table) -> None:
    """Check ``links`` (a_type, a, b_type, b, rank, status, …) against ``ids`` (id_type, id, distinct_id, cluster).

    Two clusters may have one text: a known user called "user_id:x" and the anonymous cluster of profile x. So a cluster
    is told by its text and by whether it is a known user's, which a row of ``ids`` says by a ``distinct_id`` equal to
    its ``cluster``: an anonymous profile's begins with "$device:", which no type does, an anonymous device has none.

    Raises CertificateError unless: each id stands once; each end of a link is an id, of the type its rank demands;
    accepted and redundant links join one cluster; refused ones join two, of two known users; only device links are left
    out; each cluster is connected by its accepted links, one fewer than its ids; it has one known user, its name, or
    none, and then its name is its least "type:id"; every ``distinct_id`` follows from that.
    """
    kind = _codes(ids["id_type"], _TYPES, "id_type", ids)
    names = _array(ids["id"])
    number, positions = _numbers(kind, names)
    _refuse(np.bincount(number, minlength=len(kind))[number] > 1, "an id stands in more than one row", ids)

    cluster, known, clusters = _clusters(ids)
    _check_ids(ids, kind, names, cluster, known, clusters)

    rank = np.asarray(_array(links["rank"]))
    status = _codes(links["status"], _STATUSES, "status", links)
    a_kind = _codes(links["a_type"], _TYPES, "a_type", links)
    b_kind = _codes(links["b_type"], _TYPES, "b_type", links)
    _refuse((rank < 0) | (rank > 2), "a link has a rank other than 0, 1 and 2", links)
    _refuse((a_kind != _USER) | (b_kind != _B_TYPE_OF_RANK[rank]), "a link's types do not fit its rank", links)
    row_of = np.empty(len(kind), dtype=np.int64)
    row_of[number] = np.arange(len(kind))
    a = _rows(links, "a", a_kind, positions, row_of)
    b = _rows(links, "b", b_kind, positions, row_of)

    accepted = status == _ACCEPTED
    same = cluster[a] == cluster[b]
    _refuse(accepted & ~same, "an accepted link joins two clusters", links)
    _refuse((status == _REDUNDANT) & ~same, "a redundant link joins two clusters", links)
    refused = status == _REFUSED
    _refuse(refused & (same | ~known[a] | ~known[b]), "a refused link does not join two known users", links)
    _refuse((status >= _CONTESTED) & (rank != 2), "a link that is not a device link was left out as one", links)

    ids_of = np.bincount(cluster, minlength=clusters)
    links_of = np.bincount(cluster[a[accepted]], minlength=clusters)
    _refuse((ids_of - links_of != 1)[cluster], "a cluster's ids are not one more than its accepted links", ids)
    edges = csr_matrix(
        (np.ones(int(accepted.sum()), dtype=np.int8), (a[accepted], b[accepted])), shape=(len(kind),) * 2
    )
    part = connected_components(edges, directed=False)[1]
    first = np.empty(clusters, dtype=np.int64)
    first[cluster] = part
    _refuse(part != first[cluster], "a cluster is not connected by its accepted links", ids)


def _check_ids(
    ids: pa.Table, kind: np.ndarray, names: pa.Array, cluster: np.ndarray, known: np.ndarray, clusters: int
) -> None:
    texts, distinct = _array(ids["cluster"]), _array(ids["distinct_id"])
    external = kind == _EXTERNAL
    users_of = np.bincount(cluster[external], minlength=clusters)
    _refuse((users_of > 1)[cluster], "a cluster has more than one known user", ids)
    is_name = _true(pc.equal(names, texts))
    _refuse(external & ~(known & is_name), "a known user's cluster or distinct_id is not the user", ids)
    _refuse(known & (users_of == 0)[cluster], "a cluster is named for a known user that is not in it", ids)

    anonymous = (kind == _USER) & ~known
    expected = pc.binary_join_element_wise(_text("$device:"), names, _text(""))
    _refuse(anonymous & ~_true(pc.equal(expected, distinct)), "an anonymous profile's distinct_id is not $device:", ids)
    _refuse((kind == _DEVICE) & ~known & np.asarray(distinct.is_valid()), "an anonymous device has a distinct_id", ids)
    typed = pc.binary_join_element_wise(_array(ids["id_type"]).cast(pa.large_string()), names, _text(":"))
    order = np.asarray(pc.sort_indices(pa.chunked_array([typed])))
    first = np.empty(clusters, dtype=np.int64)
    first[cluster[order[::-1]]] = order[::-1]
    is_least = _true(pc.equal(texts, typed.take(pa.array(first[cluster]))))
    _refuse(~known & ~is_least, "an anonymous cluster's name is not its least type:id", ids)


def _clusters(ids: pa.Table) -> tuple[np.ndarray, np.ndarray, int]:
    """(cluster number of each id, whether it is a known user's, number of clusters)."""
    texts = _array(ids["cluster"])
    _refuse(~np.asarray(texts.is_valid()), "an id has no cluster", ids)
    known = _true(pc.equal(texts, _array(ids["distinct_id"])))
    encoded = pa.array(np.asarray(texts.dictionary_encode().indices).astype(np.int64) * 2 + known).dictionary_encode()
    return np.asarray(encoded.indices), known, len(encoded.dictionary)


def _numbers(kind: np.ndarray, names: pa.Array) -> tuple[np.ndarray, list[tuple[int, pa.Array]]]:
    """(a number for each distinct typed id; by type the first number and the distinct ids in order of number)."""
    number = np.empty(len(kind), dtype=np.int64)
    positions: list[tuple[int, pa.Array]] = []
    first = 0
    for code in range(len(_TYPES)):
        rows = kind == code
        encoded = names.filter(pa.array(rows)).dictionary_encode()
        number[rows] = np.asarray(encoded.indices, dtype=np.int64) + first
        positions.append((first, encoded.dictionary))
        first += len(encoded.dictionary)
    return number, positions


def _rows(
    links: pa.Table, end: str, kind: np.ndarray, positions: list[tuple[int, pa.Array]], row_of: np.ndarray
) -> np.ndarray:
    """For each link the row in ``ids`` of its ``end``."""
    names = _array(links[end])
    number = np.full(len(kind), -1, dtype=np.int64)
    for code, (first, ids) in enumerate(positions):
        rows = kind == code
        found = pc.index_in(names.filter(pa.array(rows)), value_set=ids)
        found = np.asarray(pc.fill_null(found, -1), dtype=np.int64)
        number[rows] = np.where(found < 0, -1, found + first)
    _refuse(number < 0, f"the end [{end}] of a link is not among the ids", links)
    return row_of[number]


def _codes(column: Any, words: list[str], name: str, table: pa.Table) -> np.ndarray:
    found = pc.index_in(_array(column), value_set=pa.array(words, pa.large_string()))
    _refuse(~np.asarray(found.is_valid()), f"[{name}] is none of {', '.join(words)}", table)
    return np.asarray(found)


def _refuse(wrong: np.ndarray, what: str, table: pa.Table) -> None:
    rows = np.flatnonzero(wrong)
    if rows.size:
        examples = table.take(pa.array(rows[:_EXAMPLES])).to_pylist()
        raise CertificateError(f"{what} ([{rows.size}] rows): {examples}; nothing was published, please report this")


def _array(column: Any) -> pa.Array:
    chunked = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    if pa.types.is_integer(chunked.type):
        return pa.concat_arrays(chunked.chunks) if chunked.num_chunks else pa.array([], chunked.type)
    chunks = chunked.cast(pa.large_string()).chunks
    return pa.concat_arrays(chunks) if chunks else pa.array([], pa.large_string())


def _text(value: str) -> pa.Scalar:
    return pa.scalar(value, pa.large_string())


def _true(mask: pa.Array) -> np.ndarray:
    return np.asarray(pc.fill_null(mask, False))
