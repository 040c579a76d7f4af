"""The certificate passes what the resolver says, and refuses every break of a promise."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from tests.exports.link_tables import graph_of, rows_of_links
from tests.oracle.kruskal_by_hand import Link
from transforms.errors import InvariantError
from transforms.identity import invariants
from transforms.identity.forest import resolve
from transforms.identity.invariants import certify
from transforms.identity.resolution import RESOLVED_LINKS, Resolution

Tables = tuple[pa.Table, pa.Table]

GRAPH = [
    *(Link(0, "p1", "u1"), Link(0, "p2", "u2"), Link(1, "p3", "p1"), Link(1, "p1", "p3", 1), Link(1, "p2", "p1", 2)),
    *(Link(1, "p4", "p5"), Link(1, "p6", "p7"), Link(2, "p1", "d1"), Link(2, "p2", "d1"), Link(2, "p4", "d2")),
    Link(0, "p8", "user_id:p9"),
]


@pytest.fixture(scope="module")
def resolution() -> Resolution:
    return resolve(graph_of(rows_of_links(GRAPH), [(0, "d9"), (2, "p9")]))


@pytest.fixture(scope="module")
def tables(resolution: Resolution) -> Tables:
    """(Links, ids) of the resolution, all strings."""
    return resolution.links.cast(RESOLVED_LINKS), resolution.ids.slice()


def broken(table: pa.Table, where: dict[str, Any], **change: Any) -> pa.Table:
    """``table`` with ``change`` made in the one row that has the values of ``where``."""
    rows = table.to_pylist()
    (at,) = [at for at, row in enumerate(rows) if where.items() <= row.items()]
    rows[at] |= change
    return pa.Table.from_pylist(rows, schema=table.schema)


def without(table: pa.Table, where: dict[str, Any]) -> pa.Table:
    rows = [row for row in table.to_pylist() if not where.items() <= row.items()]
    assert len(rows) == table.num_rows - 1
    return pa.Table.from_pylist(rows, schema=table.schema)


def test_what_the_resolver_says_passes(resolution: Resolution, tables: Tables) -> None:
    links, ids = tables
    assert set(links["status"].to_pylist()) == {"accepted", "redundant", "refused", "contested"}
    certify(resolution.links, resolution.ids)
    certify(links, ids)
    certify(resolution.links, ids)


LINK_BREAKS = [
    ({"a": "p3"}, {"b": "p2"}, "redundant link joins two clusters"),
    ({"a": "p4", "b": "p5"}, {"b": "p7"}, "not its least type:id"),
    ({"a": "p8"}, {"b": "u2"}, "not the known user that its accepted links join it to"),
    ({"a": "p3"}, {"status": "redundant"}, "redundant link joins two clusters"),
    ({"a": "p1", "b": "p3"}, {"status": "accepted"}, "not one more than its accepted links"),
    ({"a": "p1", "b": "p3"}, {"status": "refused"}, "refused link does not join two known users"),
    ({"a": "p1", "b": "p3"}, {"b": "p2"}, "redundant link joins two clusters"),
    ({"a": "p2", "b": "p1"}, {"status": "accepted"}, "a cluster has more than one known user"),
    ({"a": "p2", "b": "p1"}, {"status": "redundant"}, "redundant link joins two clusters"),
    ({"a": "p2", "b": "p1"}, {"b": "p9"}, "refused link does not join two known users"),
    ({"a": "p2", "b": "p1"}, {"a": "p9"}, "refused link does not join two known users"),
    ({"a": "p2", "b": "p1"}, {"status": "contested"}, "not a device link"),
    ({"a": "p2", "b": "p1"}, {"status": "maybe"}, r"\[status\] is none of accepted"),
    ({"a": "p2", "b": "p1"}, {"b": "p99"}, r"the end \[b\] of a link is not among the ids"),
    ({"a": "p2", "b": "p1"}, {"a": "u1"}, r"the end \[a\] of a link is not among the ids"),
    ({"a": "p2", "b": "p1"}, {"rank": 2}, "types do not fit its rank"),
    ({"a": "p2", "b": "p1"}, {"rank": 3}, "rank other than"),
]


@pytest.mark.parametrize(("where", "change", "message"), LINK_BREAKS)
def test_a_wrong_link_is_refused(tables: Tables, where: dict[str, Any], change: dict[str, Any], message: str) -> None:
    links, ids = tables
    with pytest.raises(InvariantError, match=message):
        certify(broken(links, where, **change), ids)


ID_BREAKS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"id": "p3"}, {"cluster": "u2", "distinct_id": "u2"}, "not the known user that its accepted links join it to"),
    ({"id": "d1"}, {"cluster": "u1", "distinct_id": "u1"}, "not its least type:id"),
    ({"id": "u2"}, {"cluster": "u1", "distinct_id": "u1"}, "known user's cluster or distinct_id is not the user"),
    ({"id": "u2"}, {"distinct_id": "u1"}, "known user's cluster or distinct_id is not the user"),
    ({"id": "u2"}, {"cluster": "u3", "distinct_id": "u3"}, "known user's cluster or distinct_id is not the user"),
    ({"id": "d9"}, {"cluster": "u9", "distinct_id": "u9"}, "not its least type:id"),
    ({"id": "d9"}, {"cluster": "device_id:d0"}, "not its least type:id"),
    ({"id": "d9"}, {"distinct_id": "d9"}, "anonymous device has a distinct_id"),
    ({"id": "p9"}, {"distinct_id": "$device:p4"}, "anonymous profile's distinct_id"),
    ({"id": "p9"}, {"distinct_id": "p9"}, "anonymous profile's distinct_id"),
    ({"id": "p3"}, {"distinct_id": "$device:p3"}, "not the known user that its accepted links join it to"),
    ({"id": "p9"}, {"distinct_id": "user_id:p9"}, "anonymous profile's distinct_id"),
    ({"id": "p9"}, {"cluster": None}, "an id has no cluster"),
    ({"id": "p9"}, {"id_type": "email"}, r"\[id_type\] is none of"),
]


@pytest.mark.parametrize(("where", "change", "message"), ID_BREAKS)
def test_a_wrong_id_is_refused(
    resolution: Resolution, tables: Tables, where: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    links, ids = tables
    for said in (links, resolution.links):  # the links' strings, and their numbers of rows
        with pytest.raises(InvariantError, match=message):
            certify(said, broken(ids, where, **change))


def test_an_id_in_two_clusters_is_refused(tables: Tables) -> None:
    links, ids = tables
    double = broken(ids, {"id": "p3"}, cluster="u2", distinct_id="u2").filter(
        pa.array([name == "p3" for name in ids["id"].to_pylist()])
    )
    with pytest.raises(InvariantError, match=r"an id stands in more than one row.*'p3'"):
        certify(links, pa.concat_tables([ids, double]))


def test_a_lost_link_or_id_is_refused(tables: Tables) -> None:
    links, ids = tables
    with pytest.raises(InvariantError, match="redundant link joins two clusters"):
        certify(without(links, {"a": "p3"}), ids)
    with pytest.raises(InvariantError, match="not its least type:id"):
        certify(without(links, {"a": "p8"}), ids)
    with pytest.raises(InvariantError, match="is not among the ids"):
        certify(links, without(ids, {"id": "p3"}))


def test_right_counts_do_not_hide_a_cycle_beside_a_loose_id(tables: Tables) -> None:
    """p3 is cut off and the link from p1 to it turned into a second one between ids that are joined already."""
    links, ids = tables
    links = broken(links, {"a": "p3"}, a="p1", b_type="external_user_id", b="u1", rank=0)
    with pytest.raises(InvariantError, match="not one more than its accepted links"):
        certify(links, ids)


def test_two_anonymous_clusters_under_one_name_are_refused(tables: Tables) -> None:
    links, ids = tables
    for name in ("p6", "p7"):
        ids = broken(ids, {"id": name}, cluster="device_id:d2")
        with pytest.raises(InvariantError, match="not its least type:id"):
            certify(links, ids)


@pytest.mark.parametrize("end", ["a", "b"])
def test_links_whose_numbers_stand_for_other_ids_are_looked_up_by_their_strings(
    resolution: Resolution, tables: Tables, end: str
) -> None:
    """Two ids in each other's place: numbers that are rows of the ids no longer name what stands in them."""
    links, ids = resolution.links, tables[1]
    column = links[end].chunk(0)
    names = column.dictionary.to_pylist()
    at, other = names.index("p3"), names.index("p9")
    names[at], names[other] = names[other], names[at]
    swapped = pa.DictionaryArray.from_arrays(column.indices, pa.array(names))
    with pytest.raises(InvariantError):
        certify(links.set_column(links.column_names.index(end), end, swapped), ids)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_slices_of_ids_are_proven_as_the_whole(
    resolution: Resolution, tables: Tables, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    links, ids = tables
    monkeypatch.setattr(invariants, "_SLICE", rows)
    certify(resolution.links, resolution.ids)
    for where, change, message in ID_BREAKS:
        with pytest.raises(InvariantError, match=message):
            certify(links, broken(ids, where, **change))
    turned = pa.concat_tables([ids.slice(0, 3), ids.slice(4, 1), ids.slice(3, 1), ids.slice(5)])
    with pytest.raises(InvariantError, match="more than one row, or out of order"):
        certify(links, turned)


@pytest.fixture(scope="module")
def inherited() -> Tables:
    """(Links, ids) where p2 was on d1 before p1, who is u1, and p3 on no device."""
    rows: list[dict[str, Any]] = [
        {"rank": 0, "a": "p1", "b": "u1", "time": 9, "event_id": "", "file": "f"},
        {"rank": 0, "a": "p3", "b": "u3", "time": 9, "event_id": "", "file": "f"},
    ]
    for profile, time in (("p2", 5), ("p1", 9)):
        seen = {"a": profile, "b": "d1", "time": time, "event_id": "e", "file": "f"}
        rows += [{"rank": 2, **seen}, {"rank": 3, **seen, "last": time}]
    resolution = resolve(graph_of(rows), device_links="next")
    return resolution.links.cast(RESOLVED_LINKS), resolution.ids.slice()


HEIR = {"a": "p2", "b": "p1"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"device_id": None}, "types do not fit its rank"),
        ({"device_id": "d7"}, r"the end \[device_id\] of a link is not among the ids"),
        ({"device_id": "p1"}, r"the end \[device_id\] of a link is not among the ids"),
        ({"rank": 1}, "a link that is not of a device names one"),
        ({"b_type": "device_id", "b": "d1"}, "types do not fit its rank"),
        ({"status": "contested"}, "not a device link"),
        ({"status": "refused"}, "named for|not the known user|refused link"),
        ({"b": "p3"}, "not the known user that its accepted links join it to"),
    ],
)
def test_a_wrong_link_between_profiles_is_refused(inherited: Tables, change: dict[str, Any], message: str) -> None:
    links, ids = inherited
    certify(links, ids)
    with pytest.raises(InvariantError, match=message):
        certify(broken(links, HEIR, **change), ids)


def test_a_link_of_a_device_that_names_one_too_is_refused(inherited: Tables) -> None:
    links, ids = inherited
    with pytest.raises(InvariantError, match="types do not fit its rank"):
        certify(broken(links, {"b": "d1", "a": "p1"}, device_id="d1"), ids)
