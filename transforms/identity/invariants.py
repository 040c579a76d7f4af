"""The proof, before anything is published, that the identity tables keep their promises.

Reads the two tables alone and shares no code with the resolver, so a fault there cannot hide itself here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from transforms.errors import InvariantError

_TYPES = ["device_id", "external_user_id", "user_id"]
_DEVICE, _EXTERNAL, _USER = range(3)
_DEVICE_RANK = 2
_B_TYPE_OF_RANK = np.array([_EXTERNAL, _USER, _DEVICE])
_STATUSES = ["accepted", "redundant", "refused", "contested", "quarantined"]
_ACCEPTED, _REDUNDANT, _REFUSED, _CONTESTED, _QUARANTINED = range(5)
_EXAMPLES = 3
_SLICE = 1 << 17  # rows


class Table(Protocol):
    """A table of strings, all of it or made slice by slice: a ``pa.Table`` is one."""

    num_rows: int

    def select(self, columns: list[str]) -> Table: ...

    def slice(self, offset: int = 0, length: int | None = None) -> pa.Table: ...


def certify(links: pa.Table, ids: Table) -> None:
    """Check ``links`` (a_type, a, b_type, b, rank, status, device_id, …) against ``ids`` (id_type, id,
    distinct_id, cluster).

    The ids are looked at in slices, as they are written. Links may have their strings as dictionaries; where that of an
    end is the ids' own column, entry by entry, its numbers are rows.

    Only accepted links join ids, so clusters are found anew from those, and every row of ``ids`` must say what
    follows: a cluster with a known user is named for it, and so is the ``distinct_id`` of all in it; another one is
    named for its least "type:id", ``distinct_id`` is "$device:" and the profile's id, and a device has none.

    Raises InvariantError unless that is so, and: each id stands once, in order; each end of a link is an id, of the
    type its rank demands; a link between two profiles of the rank of devices names a device that is an id, and no
    other link does; redundant links join one cluster; refused ones join two, of two known users; only links of a
    profile and a device are left out; a cluster has at most one known user, and one accepted link fewer than ids.
    """
    kind, names = _read_ids(ids, _dictionary(links, "a"))
    rank = np.asarray(_array(links["rank"]))
    status = _codes(links["status"], _STATUSES, "status", links)
    a_kind = _codes(links["a_type"], _TYPES, "a_type", links)
    b_kind = _codes(links["b_type"], _TYPES, "b_type", links)
    _refuse((rank < 0) | (rank > 2), "a link has a rank other than 0, 1 and 2", links)
    from_device = np.asarray(links["device_id"].is_valid())
    _refuse(from_device & (rank != _DEVICE_RANK), "a link that is not of a device names one", links)
    b_type = np.where(from_device, _USER, _B_TYPE_OF_RANK[rank])
    _refuse((a_kind != _USER) | (b_kind != b_type), "a link's types do not fit its rank", links)
    if from_device.any():
        chosen = links.filter(pa.array(from_device))
        _rows(chosen, "device_id", np.full(chosen.num_rows, _DEVICE), kind, names)
    a = _rows(links, "a", a_kind, kind, names)
    b = _rows(links, "b", b_kind, kind, names)

    accepted = status == _ACCEPTED
    edges = csr_matrix(
        (np.ones(int(accepted.sum()), dtype=np.int8), (a[accepted], b[accepted])), shape=(len(kind),) * 2
    )
    clusters, cluster = connected_components(edges, directed=False)
    del edges
    ids_of = np.bincount(cluster, minlength=clusters)
    links_of = np.bincount(cluster[a[accepted]], minlength=clusters)
    _refuse((ids_of - links_of != 1)[cluster], "a cluster's ids are not one more than its accepted links", ids)
    users = np.flatnonzero(kind == _EXTERNAL)
    users_of = np.bincount(cluster[users], minlength=clusters)
    _refuse((users_of > 1)[cluster], "a cluster has more than one known user", ids)

    same = cluster[a] == cluster[b]
    _refuse((status == _REDUNDANT) & ~same, "a redundant link joins two clusters", links)
    two_users = ~same & (users_of[cluster[a]] == 1) & (users_of[cluster[b]] == 1)
    _refuse((status == _REFUSED) & ~two_users, "a refused link does not join two known users", links)
    on_device = (rank == _DEVICE_RANK) & ~from_device
    _refuse((status >= _CONTESTED) & ~on_device, "a link that is not a device link was left out as one", links)

    named_for = np.empty(clusters, np.int32)
    named_for[cluster[::-1]] = np.arange(len(kind), dtype=np.int32)[::-1]  # the least id, which is set last
    named_for[cluster[users]] = users
    _check_ids(ids, kind, names, named_for[cluster], users_of[cluster] == 1)


def _read_ids(ids: Table, same: pa.Array | None) -> tuple[np.ndarray, pa.Array]:
    """The type and the string of each id, seen to stand in order and once; ``same`` if it has these very strings."""
    kinds: list[np.ndarray] = []
    names: list[pa.Array] = []
    is_same = same is not None and len(same) == ids.num_rows
    last: tuple[int, str] | None = None
    for begin, part in _slices(ids.select(["id_type", "id"])):
        kind, name = _codes(part["id_type"], _TYPES, "id_type", part).astype(np.int8), _array(part["id"])
        kinds.append(kind)
        if is_same and same is not None:
            is_same = name.equals(_array(same.slice(begin, part.num_rows)))
        names.append(part["id"])
        greater = _true(pc.greater(name.slice(1), name.slice(0, len(name) - 1)))
        rising = (kind[1:] > kind[:-1]) | ((kind[1:] == kind[:-1]) & greater)
        before = last is None or (last[0], last[1].encode()) < (int(kind[0]), name[0].as_py().encode())
        _refuse(~np.append(before, rising), "an id stands in more than one row, or out of order", ids, begin)
        last = int(kind[-1]), name[-1].as_py()
    kind = np.concatenate([np.zeros(0, np.int8), *kinds])
    if is_same and same is not None:
        return kind, same
    return kind, _array(pa.chunked_array([_array(column) for column in names], pa.large_string()))


def _check_ids(ids: Table, kind: np.ndarray, names: pa.Array, named_for: np.ndarray, known: np.ndarray) -> None:
    """Hold what each row says of its id's cluster against the id that the cluster must be named for."""
    prefixes = pa.array([f"{name}:" for name in _TYPES], pa.large_string())
    for begin, part in _slices(ids):
        here = slice(begin, begin + part.num_rows)
        of_user, source = known[here], named_for[here]
        own, texts, distinct = (_array(part[name]) for name in ("id", "cluster", "distinct_id"))
        _refuse(~np.asarray(texts.is_valid()), "an id has no cluster", ids, begin)
        name = _array(names.take(pa.array(source)))
        right, is_name = _true(pc.equal(distinct, name)), _true(pc.equal(texts, name))
        external = kind[here] == _EXTERNAL
        _refuse(external & ~(right & is_name), "a known user's cluster or distinct_id is not the user", ids, begin)
        what = "an id's cluster or distinct_id is not the known user that its accepted links join it to"
        _refuse(of_user & ~(right & is_name), what, ids, begin)
        typed = pc.binary_join_element_wise(prefixes.take(pa.array(kind[source])), name, _text(""))
        is_least = _true(pc.equal(texts, typed))
        _refuse(~of_user & ~is_least, "an anonymous cluster's name is not its least type:id", ids, begin)
        expected = pc.binary_join_element_wise(_text("$device:"), own, _text(""))
        anonymous = ~of_user & (kind[here] == _USER)
        what = "an anonymous profile's distinct_id is not $device:"
        _refuse(anonymous & ~_true(pc.equal(expected, distinct)), what, ids, begin)
        device = ~of_user & (kind[here] == _DEVICE)
        _refuse(device & np.asarray(distinct.is_valid()), "an anonymous device has a distinct_id", ids, begin)


def _rows(links: pa.Table, end: str, link_kind: np.ndarray, kind: np.ndarray, names: pa.Array) -> np.ndarray:
    """For each link the row in ``ids`` of its ``end``."""
    what = f"the end [{end}] of a link is not among the ids"
    dictionary = _dictionary(links, end)
    if dictionary is not None and dictionary.type == names.type and dictionary.equals(names):
        row = np.asarray(links[end].chunk(0).indices)
        _refuse(kind[row] != link_kind, what, links)
        return row
    found = np.full(len(link_kind), -1, dtype=np.int64)
    texts = _array(links[end])
    for code in range(len(_TYPES)):
        of_kind, ids_of_kind = link_kind == code, np.flatnonzero(kind == code)
        at = pc.index_in(texts.filter(pa.array(of_kind)), value_set=_array(names.take(pa.array(ids_of_kind))))
        at = np.asarray(pc.fill_null(at, -1), dtype=np.int64)
        found[of_kind] = np.append(ids_of_kind, -1)[at]
    _refuse(found < 0, what, links)
    return found


def _dictionary(links: pa.Table, end: str) -> pa.Array | None:
    """The strings that the numbers of an end stand for, if it has numbers."""
    column = links[end]
    return column.chunk(0).dictionary if pa.types.is_dictionary(column.type) and column.num_chunks == 1 else None


def _slices(table: Table) -> Iterator[tuple[int, pa.Table]]:
    for begin in range(0, table.num_rows, _SLICE):
        yield begin, table.slice(begin, _SLICE)


def _codes(column: Any, words: list[str], name: str, table: pa.Table) -> np.ndarray:
    found = pc.index_in(_array(column), value_set=pa.array(words, pa.large_string()))
    _refuse(~np.asarray(found.is_valid()), f"[{name}] is none of {', '.join(words)}", table)
    return np.asarray(found)


def _refuse(wrong: np.ndarray, what: str, table: Table, begin: int = 0) -> None:
    """Raise if any row, from ``begin`` on, is wrong."""
    rows = np.flatnonzero(wrong)
    if rows.size:
        examples = [row for at in rows[:_EXAMPLES] for row in table.slice(begin + int(at), 1).to_pylist()]
        raise InvariantError(f"{what} ([{rows.size}] rows): {examples}; nothing was published, please report this")


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
