"""What travels between the steps, as plain dicts: for tests, and for whoever wants to look inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import orjson

from transforms.currents.paths import Unit
from transforms.currents.repeats import unpack_answer, unpack_keys
from transforms.evidence.ids import B_TYPES, BOUND, ID_TYPES, USER_ID
from transforms.evidence.links import NO_PROFILE, unpack
from transforms.evidence.sources import ASKED, LISTS, Source, place_of, unpack_source
from transforms.messages import elements
from transforms.messages.elements import Keyed, unnumbered, untagged
from transforms.vocabulary.persons import VIA

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
    """Ids, links and deletions of a source, as far as this part of it has them; of others it knows the numbers."""
    source = unpack_source([body])
    number = place_of(body)[0]
    for kind, names in zip(LISTS, source.names, strict=True):
        for position, name in enumerate(names.to_pylist()):
            what = _typed(kind, name) if kind != ASKED else f"asked:{name}"
            yield {"kind": "id", "source": number, "number": position, "id": what}
    for row in source.links.to_pylist():
        rank, last = row.pop("rank"), row.pop("last")
        ends = {"a": _named(source, USER_ID, row["a"]), "b": _named(source, B_TYPES[rank], row["b"])}
        yield {"kind": "link" if rank != BOUND else "bound", "source": number, **row, **ends} | (
            {"last": last} if rank == BOUND else {}
        )
    for position in source.deleted.tolist():
        yield {"kind": "deleted", "source": number, "id": _named(source, USER_ID, position)}
    for workspace, file in source.notes.get("workspaces", {}).items():
        yield {"kind": "workspace", "app_group_id": workspace, "file": file}


def _named(source: Source, kind: int, number: int) -> str:
    names = source.names[kind]
    return _typed(kind, names[number].as_py() if number < len(names) else f"[{number}]")


def _unit(_: int, body: bytes) -> Iterator[Row]:
    size, rest = unnumbered(body)
    unit = Unit.from_bytes(rest[size:])
    yield {"unit": unit.number, "files": [file.name for file in unit.files], **orjson.loads(rest[:size])}


def _rows(unit: int, body: bytes) -> Iterator[Row]:
    begin, numbers = unnumbered(body)
    for row, profile in enumerate(np.frombuffer(numbers, "<u4").tolist(), begin):
        yield {"unit": unit, "row": row, "profile": None if profile == NO_PROFILE else profile}


def _asked(_: int, body: bytes) -> Iterator[Row]:
    unit, rest = unnumbered(body)
    _, numbers = unnumbered(rest)
    yield from ({"unit": unit, "profile": number} for number in np.frombuffer(numbers, "<u4").tolist())


def _asked_externals(_: int, body: bytes) -> Iterator[Row]:
    unit, numbers = unnumbered(body)
    yield from ({"unit": unit, "external_user_id": number} for number in np.frombuffer(numbers, "<u4").tolist())


def _keys(_: int, body: bytes) -> Iterator[Row]:
    unit, block = unnumbered(body)
    keys, rows = unpack_keys(block)
    for key, row in zip(keys, rows.tolist(), strict=True):
        yield {"unit": unit, "row": row, "key": key.tobytes().hex()}


def _answers(unit: int, body: bytes) -> Iterator[Row]:
    for row in _profiles(unit, body):
        yield {"unit": unit, **row}


def _resolved(shard: int, body: bytes) -> Iterator[Row]:
    return _profiles(shard, unnumbered(body)[1])


def _profiles(_: int, body: bytes) -> Iterator[Row]:
    begin, block = unnumbered(body)
    for number, row in enumerate(unpack(block).to_pylist() if block else (), begin):
        yield {"profile": number, **row, "via": VIA.codes[row["via"]]}


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
    elements.UNIT: ("unit", _unit),
    elements.ROWS: ("row", _rows),
    elements.ASKED: ("asked", _asked),
    elements.ASKED_EXTERNALS: ("asked", _asked_externals),
    elements.KEYS: ("key", _keys),
    elements.ANSWER: ("answer", _answers),
    elements.CROWD: ("crowd", _crowd),
    elements.DROPPED: ("dropped", _crowd),
    elements.REPEATS: ("repeat", _repeats),
    elements.RESOLVED: ("resolved", _resolved),
    elements.ATTRIBUTES: ("attribute", _table),
    elements.PERSON_MONTHS: ("person_month", _table),
    elements.FILE: ("file", _json),
    elements.TALLY: ("tally", _json),
}
