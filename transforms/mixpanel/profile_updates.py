"""``users.profile.Update`` rows as /engage updates: two a person at most, each attribute with its latest value.

Mixpanel knows no event time for ``$set``, so the latest value is chosen here, by (``time_ms``, event id).
``ATTRIBUTES`` is one attribute of one update a row; the value is JSON text. A null says that the attribute was removed,
which makes a second update of the person, an ``$unset``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from transforms.currents import catalog
from transforms.evidence.ids import short
from transforms.mixpanel.custom_properties import Notes
from transforms.mixpanel.events import column, text_column
from transforms.mixpanel.json_documents import open_document
from transforms.mixpanel.limits import PROFILE_NESTED_BYTES, nested
from transforms.mixpanel.names import cut, safe_key
from transforms.privacy.lookalikes import in_values
from transforms.privacy.veil import DocumentVeil

ATTRIBUTES = pa.schema(
    [
        pa.field("distinct_id", pa.string(), False),
        pa.field("attribute", pa.string(), False),
        pa.field("time_ms", pa.int64(), False),
        pa.field("event_id", pa.string(), False),
        pa.field("value", pa.string(), False),
    ]
)

_STANDARD = {
    "first_name": "$first_name",
    "last_name": "$last_name",
    "email_address": "$email",
    "phone_number": "$phone",
    "home_city": "$city",
    "timezone": "$timezone",
    "country": "$country",  # an internal name, until it is known whether the latest value is a code
    "dob": "dob",
    "gender": "gender",
    "language": "language",
    "archived": "archived",
}
_REMOVED = "null"
_COUNTRY_CODE = re.compile(r"[A-Za-z]{2}\Z")


def attributes(
    table: pa.Table, distinct_id: pa.Array, operation: str, notes: Notes, veil: DocumentVeil | None = None
) -> pa.Table:
    """``ATTRIBUTES`` of update rows (string array ``distinct_id``: whose they are), the latest of each only.

    A standard attribute beats a custom one of the same name in one row. A null in a document of custom attributes is a
    removal where the ``operation`` is ``set``, and is left out else. A null in a record or map says nothing: every row
    has all its fields. Numbers that are not finite are left out and counted, as if the row did not have them.
    ``veil``: what the rules do with custom attributes; those that name columns have done their work on ``table``.
    """
    rows: list[np.ndarray] = []
    names: list[str] = []
    values: list[str] = []
    standard: dict[str, set[int]] = {}
    for name, target in attribute_names(table).items():
        given = column(table, name)
        is_json = _is_json(table, name)
        finite = _finite(given, is_json)
        if odd := len(given) - given.null_count - (pc.sum(finite).as_py() or 0):
            notes.add("not_finite", catalog.PROFILE_UPDATE, target, odd)
        present = np.flatnonzero(np.asarray(finite))
        found = given.take(pa.array(present)).to_pylist()
        rows.append(present)
        names += [target] * len(found)
        values += [_json(orjson.loads(value) if is_json else value) for value in found]
        standard.setdefault(target, set()).update(present.tolist())
    customs = len(names)
    custom_rows: list[int] = []
    from_record = _is_json(table, "custom_attributes")
    for row, document in enumerate(text_column(table, "custom_attributes").to_pylist()):
        removes = operation == "set" and not (from_record and document is not None and document.startswith("{"))
        for name, value in _custom(document, removes, notes, veil):
            if row in standard.get(name, ()):
                notes.add("key_collisions", catalog.PROFILE_UPDATE, name)
            else:
                custom_rows.append(row)
                names.append(name)
                values.append(value)
    notes.sent.update(names)
    notes.looks.update(in_values(pa.array(names[customs:], pa.string()), pa.array(values[customs:], pa.string())))
    place = pa.array(np.concatenate([*rows, np.array(custom_rows, np.int64)]))
    columns = [
        distinct_id.take(place),
        pa.array(names, pa.string()),
        _time_ms(table).take(place),
        short(column(table, "id").take(place)),
        pa.array(values, pa.string()),
    ]
    return latest(pa.Table.from_arrays(columns, schema=ATTRIBUTES))


def latest(table: pa.Table) -> pa.Table:
    """Each person's attributes once, with the latest (``time_ms``, event id), sorted by person and attribute."""
    keys = [
        ("distinct_id", "ascending"),
        ("attribute", "ascending"),
        ("time_ms", "ascending"),
        ("event_id", "ascending"),
    ]
    # Two updates of one id at one time differ in nothing but the value: the greater text, so that order cannot matter.
    table = table.take(pc.sort_indices(table, sort_keys=[*keys, ("value", "ascending")])).combine_chunks()
    if table.num_rows < 2:
        return table
    last = np.ones(table.num_rows, bool)
    same = [
        pc.equal(table[name].slice(0, table.num_rows - 1), table[name].slice(1)).to_numpy()
        for name in ("distinct_id", "attribute")
    ]
    last[:-1] = ~(same[0] & same[1])
    return table.filter(pa.array(last))


def engage_lines(table: pa.Table, operation: str) -> Iterator[bytes]:
    """The /engage updates of sorted ``ATTRIBUTES``; ``operation`` is ``set`` or ``set_once``.

    A person has one line with all values, and where attributes were removed one with ``$unset``. They have no name in
    common, so that it does not matter which of them Mixpanel takes first.
    """
    person: str | None = None
    values: dict[str, Any] = {}
    first = 0
    for at, (distinct_id, attribute, value) in enumerate(
        zip(*(table[name].to_pylist() for name in ("distinct_id", "attribute", "value")), strict=True)
    ):
        if distinct_id != person:
            if person is not None:
                yield from _lines(person, _one_country(values, table, first), operation)
            person, values, first = distinct_id, {}, at
        values[attribute] = orjson.loads(value)
    if person is not None:
        yield from _lines(person, _one_country(values, table, first), operation)


def _one_country(values: dict[str, Any], table: pa.Table, first: int) -> dict[str, Any]:
    """The values of a person, whose rows begin at ``first``, with the standard country under its name at Mixpanel.

    One that is not a code shares its name with a custom attribute: the later one stays, of one time the standard one.
    """
    if "$country" in values:
        rows = table.slice(first, len(values))
        country = values.pop("$country")
        name = _country(country)
        if name not in values or _moment(rows, name) <= _moment(rows, "$country"):
            values[name] = country
    return values


def _moment(rows: pa.Table, attribute: str) -> tuple[int, bytes]:
    row = rows.filter(pc.equal(rows["attribute"], attribute))
    return row["time_ms"][0].as_py(), row["event_id"][0].as_py().encode()


def _lines(person: str, values: dict[str, Any], operation: str) -> Iterator[bytes]:
    given = {name: value for name, value in values.items() if value is not None}
    removed = [name for name, value in values.items() if value is None]
    for name, content in ((operation, given), ("unset", removed)):
        if content:
            update = {"$distinct_id": person, "$ip": "0", "$ignore_time": True, f"${name}": content}
            yield orjson.dumps(update) + b"\n"


def attribute_names(table: pa.Table) -> dict[str, str]:
    """Column to attribute, of those columns that are attributes of their own."""
    return {**_STANDARD, **unknown_attributes(table)}


def unknown_attributes(table: pa.Table) -> dict[str, str]:
    """The attribute of each column that the catalogue lacks, ids apart: its own name, made safe."""
    known = {*catalog.event_types()[catalog.PROFILE_UPDATE].properties, "device_id"}
    return {name: cut(safe_key(name)) for name in table.column_names if name not in known}


def _is_json(table: pa.Table, name: str) -> bool:
    """Whether a column is JSON text of what the file has as a union or nested."""
    metadata = table.schema.field(name).metadata if name in table.column_names else None
    return metadata is not None and b"json" in metadata


def _finite(values: pa.Array, is_json: bool) -> pa.Array:
    """Whether each value is there and, if a number, finite; JSON text has null for one that is not."""
    if pa.types.is_floating(values.type):
        return pc.fill_null(pc.is_finite(values), False)
    return pc.fill_null(pc.not_equal(values, _REMOVED), False) if is_json else values.is_valid()


def _json(value: Any) -> str:
    kept = nested(value, PROFILE_NESTED_BYTES) if isinstance(value, (dict, list)) else value
    # Mixpanel cuts texts at 255; here only those that no update, and no element, has room for.
    return orjson.dumps(kept[:PROFILE_NESTED_BYTES] if isinstance(kept, str) else kept).decode()


def _country(value: Any) -> str:
    """Mixpanel's attribute for a country: a code has one of its own."""
    return "$country_code" if isinstance(value, str) and _COUNTRY_CODE.match(value) else "country"


def _custom(document: str | None, removes: bool, notes: Notes, veil: DocumentVeil | None) -> Iterator[tuple[str, str]]:
    """(Attribute, JSON text or, where nulls are removals, ``_REMOVED``) of the custom attributes.

    Of two that get one name, the first in bytewise order stays, and a value before a removal. A text that is not JSON
    object becomes an attribute itself.
    """
    values, changes = open_document(document)
    if values is None:
        notes.add("properties_not_json", catalog.PROFILE_UPDATE, "custom_attributes")
        values = {"custom_attributes": document}
        if veil is not None and veil.withholds_unopened():
            values = {}
    elif veil is not None:
        values = veil(values)
    for kind, key in changes:
        notes.add(kind, catalog.PROFILE_UPDATE, cut(safe_key("custom_attributes" if key is None else key)))
    found: set[str] = set()
    for name, value in sorted(values.items(), key=_values_first):
        if value is None and not removes:
            continue
        whole = safe_key(name)
        target = cut(whole)
        if target != whole:
            notes.add("keys_cut", catalog.PROFILE_UPDATE, target)
        if target in found:
            notes.add("key_collisions", catalog.PROFILE_UPDATE, target)
            continue
        found.add(target)
        yield target, _REMOVED if value is None else _json(value)


def _values_first(item: tuple[str, Any]) -> tuple[bool, bytes]:
    return item[1] is None, item[0].encode("utf-8", "surrogatepass")


def _time_ms(table: pa.Table) -> pa.Array:
    seconds = pc.multiply(column(table, "time").cast(pa.int64()), 1000)
    if "time_ms" not in table.column_names:
        return seconds
    given = column(table, "time_ms")
    if pa.types.is_floating(given.type):
        given = pc.if_else(pc.less(pc.abs(given), _LARGEST_WHOLE), given, None).cast(pa.int64(), safe=False)
    elif pa.types.is_string(given.type) or pa.types.is_large_string(given.type):
        # Numbers as text, and as the JSON text of a union; a fraction of a millisecond decides nothing.
        digits = pc.replace_substring_regex(pc.utf8_trim(given, ' "'), r"\.[0-9]*$", "")
        given = pc.if_else(pc.match_substring_regex(digits, "^-?[0-9]{1,18}$"), digits, None).cast(pa.int64())
    if not pa.types.is_integer(given.type):
        return seconds
    return pc.coalesce(given.cast(pa.int64()), seconds)


_LARGEST_WHOLE = float(1 << 53)  # beyond it a double does not have every integer
