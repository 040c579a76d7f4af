"""The certificate passes what the resolver says, and refuses every break of a promise."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from tests.kruskal_by_hand import Link
from transforms.identity.certificate import CertificateError, certify
from transforms.identity.forest import Resolution, resolve
from transforms.identity.links import LINKS, NODES

GRAPH = [
    *(Link(0, "p1", "u1"), Link(0, "p2", "u2"), Link(1, "p3", "p1"), Link(1, "p1", "p3", 1), Link(1, "p2", "p1", 2)),
    *(Link(1, "p4", "p5"), Link(1, "p6", "p7"), Link(2, "p1", "d1"), Link(2, "p2", "d1"), Link(2, "p4", "d2")),
    Link(0, "p8", "user_id:p9"),
]


@pytest.fixture(scope="module")
def resolution() -> Resolution:
    nodes = pa.Table.from_pylist([{"id_type": 0, "id": "d9"}, {"id_type": 2, "id": "p9"}], schema=NODES)
    return resolve(pa.Table.from_pylist([link._asdict() for link in GRAPH], schema=LINKS), nodes)


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


def test_what_the_resolver_says_passes(resolution: Resolution) -> None:
    assert set(resolution.links["status"].to_pylist()) == {"accepted", "redundant", "refused", "contested"}
    certify(resolution.links, resolution.ids)


LINK_BREAKS = [
    ({"a": "p3"}, {"b": "p2"}, "accepted link joins two clusters"),
    ({"a": "p3"}, {"status": "redundant"}, "not one more than its accepted links"),
    ({"a": "p1", "b": "p3"}, {"status": "accepted"}, "not one more than its accepted links"),
    ({"a": "p1", "b": "p3"}, {"status": "refused"}, "refused link does not join two known users"),
    ({"a": "p1", "b": "p3"}, {"b": "p2"}, "redundant link joins two clusters"),
    ({"a": "p2", "b": "p1"}, {"status": "accepted"}, "accepted link joins two clusters"),
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
def test_a_wrong_link_is_refused(
    resolution: Resolution, where: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(CertificateError, match=message):
        certify(broken(resolution.links, where, **change), resolution.ids)


ID_BREAKS = [
    ({"id": "p3"}, {"cluster": "u2", "distinct_id": "u2"}, "accepted link joins two clusters"),
    ({"id": "d1"}, {"cluster": "u1", "distinct_id": "u1"}, "not one more than its accepted links"),
    ({"id": "u2"}, {"cluster": "u1", "distinct_id": "u1"}, "more than one known user"),
    ({"id": "u2"}, {"distinct_id": "u1"}, "known user's cluster or distinct_id is not the user"),
    ({"id": "u2"}, {"cluster": "u3", "distinct_id": "u3"}, "known user's cluster or distinct_id is not the user"),
    ({"id": "d9"}, {"cluster": "u9", "distinct_id": "u9"}, "named for a known user that is not in it"),
    ({"id": "d9"}, {"cluster": "device_id:d0"}, "not its least type:id"),
    ({"id": "d9"}, {"distinct_id": "d9"}, "anonymous device has a distinct_id"),
    ({"id": "p9"}, {"distinct_id": "$device:p4"}, "anonymous profile's distinct_id"),
    ({"id": "p9"}, {"distinct_id": "p9"}, "anonymous profile's distinct_id"),
    ({"id": "p3"}, {"distinct_id": "$device:p3"}, "not its least type:id"),
    ({"id": "p9"}, {"distinct_id": "user_id:p9"}, "not one more than its accepted links"),
    ({"id": "p9"}, {"cluster": None}, "an id has no cluster"),
    ({"id": "p9"}, {"id_type": "email"}, r"\[id_type\] is none of"),
]


@pytest.mark.parametrize(("where", "change", "message"), ID_BREAKS)
def test_a_wrong_id_is_refused(
    resolution: Resolution, where: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(CertificateError, match=message):
        certify(resolution.links, broken(resolution.ids, where, **change))


def test_an_id_in_two_clusters_is_refused(resolution: Resolution) -> None:
    double = broken(resolution.ids, {"id": "p3"}, cluster="u2", distinct_id="u2").filter(
        pa.array([name == "p3" for name in resolution.ids["id"].to_pylist()])
    )
    with pytest.raises(CertificateError, match=r"an id stands in more than one row.*'p3'"):
        certify(resolution.links, pa.concat_tables([resolution.ids, double]))


def test_a_lost_link_or_id_is_refused(resolution: Resolution) -> None:
    with pytest.raises(CertificateError, match="not one more than its accepted links"):
        certify(without(resolution.links, {"a": "p3"}), resolution.ids)
    with pytest.raises(CertificateError, match="is not among the ids"):
        certify(resolution.links, without(resolution.ids, {"id": "p3"}))


def test_right_counts_do_not_hide_a_cycle_beside_a_loose_id(resolution: Resolution) -> None:
    """p3 is cut off and the link from p1 to it turned into a second one between ids that are joined already."""
    links = broken(resolution.links, {"a": "p3"}, a="p1", b_type="external_user_id", b="u1", rank=0)
    with pytest.raises(CertificateError, match="not connected by its accepted links"):
        certify(links, resolution.ids)


def test_two_anonymous_clusters_under_one_name_are_refused(resolution: Resolution) -> None:
    ids = broken(resolution.ids, {"id": "p6"}, cluster="device_id:d2")
    with pytest.raises(CertificateError, match="not its least type:id"):
        certify(resolution.links, ids)
    ids = broken(ids, {"id": "p7"}, cluster="device_id:d2")
    with pytest.raises(CertificateError, match="not one more than its accepted links"):
        certify(resolution.links, ids)
