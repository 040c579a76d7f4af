"""What travels between the steps, as plain dicts: for tests, and for whoever wants to look inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson

from transforms import elements
from transforms.currents.paths import Unit
from transforms.elements import Keyed, unnumbered, untagged
from transforms.identity.ids import B_TYPES, ID_TYPES, USER_ID
from transforms.identity.links import unpack
from transforms.identity.persons import VIA
from transforms.identity.repeats import unpack_answer, unpack_keys

Row = dict[str, Any]


def rows_of(element: Keyed) -> Iterator[Row]:
    """The rows of one element, each with its ``kind``; an element of any collection of the job will do.

    >>> list(rows_of((0, b'T{"units":1}')))
    [{'kind': 'tally', 'units': 1}]
    """
    number, packed = element
    tag, body = untagged(packed)
    kind, rows = _KINDS[tag]
    for row in rows(number, body):
        yield {"kind": kind, **row}


def _links(_: int, body: bytes) -> Iterator[Row]:
    for row in unpack(body).to_pylist():
        rank = row.pop("rank")
        yield {**row, "a": _typed(USER_ID, row["a"]), "b": _typed(B_TYPES[rank], row["b"])}


def _ids(_: int, body: bytes) -> Iterator[Row]:
    for row in unpack(body).to_pylist():
        yield {"id": _typed(row["id_type"], row["id"])}


def _workspaces(_: int, body: bytes) -> Iterator[Row]:
    for workspace, file in orjson.loads(body)["workspaces"].items():
        yield {"app_group_id": workspace, "file": file}


def _unit(_: int, body: bytes) -> Iterator[Row]:
    size, rest = unnumbered(body)
    unit = Unit.from_bytes(rest[size:])
    yield {"unit": unit.number, "files": [file.name for file in unit.files], **orjson.loads(rest[:size])}


def _asked(_: int, body: bytes) -> Iterator[Row]:
    unit, block = unnumbered(body)
    for row in unpack(block).to_pylist():
        yield {"unit": unit, "profile" if row["id_type"] == USER_ID else "external_user_id": row["id"]}


def _keys(_: int, body: bytes) -> Iterator[Row]:
    unit, block = unnumbered(body)
    keys, rows = unpack_keys(block)
    for key, row in zip(keys, rows.tolist(), strict=True):
        yield {"unit": unit, "row": row, "key": key.tobytes().hex()}


def _answers(unit: int, body: bytes) -> Iterator[Row]:
    for row in _profiles(unit, body):
        yield {"unit": unit, **row}


def _profiles(_: int, body: bytes) -> Iterator[Row]:
    _, block = unnumbered(body)
    for row in unpack(block).to_pylist() if block else ():
        yield {**row, "via": VIA[row["via"]]}


def _crowd(_: int, body: bytes) -> Iterator[Row]:
    _, block = unnumbered(body)
    for row in unpack(block).to_pylist() if block else ():
        yield {"external_user_id": row["id"]}


def _repeats(unit: int, body: bytes) -> Iterator[Row]:
    _, block = unnumbered(body)
    dropped, kept_for = unpack_answer(block)
    yield from ({"unit": unit, "row": row, "dropped": True} for row in dropped.tolist())
    yield from ({"unit": unit, "row": row, "dropped": False} for row in kept_for.tolist())


def _table(_: int, body: bytes) -> Iterator[Row]:
    yield from unpack(body).to_pylist()


def _json(_: int, body: bytes) -> Iterator[Row]:
    yield orjson.loads(body)


def _typed(id_type: int, value: str) -> str:
    return f"{ID_TYPES[id_type]}:{value}"


_KINDS: dict[bytes, tuple[str, Callable[[int, bytes], Iterator[Row]]]] = {
    elements.LINKS: ("link", _links),
    elements.NODES: ("id", _ids),
    elements.DELETED: ("deleted", _ids),
    elements.WORKSPACES: ("workspace", _workspaces),
    elements.UNIT: ("unit", _unit),
    elements.ASKED: ("asked", _asked),
    elements.KEYS: ("key", _keys),
    elements.ANSWER: ("answer", _answers),
    elements.CROWD: ("crowd", _crowd),
    elements.DROPPED: ("dropped", _crowd),
    elements.REPEATS: ("repeat", _repeats),
    elements.RESOLVED: ("resolved", _profiles),
    elements.ATTRIBUTES: ("attribute", _table),
    elements.PERSON_MONTHS: ("person_month", _table),
    elements.FILE: ("file", _json),
    elements.TALLY: ("tally", _json),
}
