"""Columns of other types than Braze's, as rewritten exports have them, made the catalogue's or what they mean.

A value that cannot be made so is left out and counted: it costs neither its row nor its file.
"""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from transforms.avro import logical_types
from transforms.avro.fastavro_reader import JSON_COLUMN
from transforms.avro.logical_types import Logical
from transforms.avro.schema import Schema
from transforms.currents import catalog

Changes = Counter[tuple[str, str, str]]
"""(Kind of change, event type, column) to values."""

LEFT_OUT = "types_left_out"
AS_BASE64 = "bytes_as_base64"
_NESTED_BASE64 = f'"{logical_types.BASE64_MARK}'
_WHOLE = ("int", "long")
_NUMBERS = (*_WHOLE, "float", "double")
# At most 18 digits: they fit int64.
_WHOLE_TEXT = r"^-?[0-9]{1,18}$"
_NUMBER_TEXT = r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$"


def conform(event_type: str, table: pa.Table, schema: Schema, changes: Changes) -> pa.Table:
    """The table with columns of logical types, bytes, nested and other plain types in the catalogue's types.

    ``time`` becomes int64 UNIX seconds. Columns that the catalogue lacks become numbers, text or JSON. Adds what could
    not be converted to ``changes``.
    """
    types = _catalogue_types(event_type)
    others = _columns_of_another_type(event_type, schema)
    if not schema.unusual and not others:
        return table
    for position, name in enumerate(table.column_names):
        if name in others and name not in schema.unusual:
            given = table[name]
            made = _of_plain_type(given, types[name])
            changes[LEFT_OUT, event_type, name] += made.null_count - given.null_count
            table = table.set_column(position, pa.field(name, made.type), made)
            continue
        if name not in schema.unusual:
            continue
        kind, wanted = schema.logical.get(name), types.get(name)
        field, given = table.schema.field(name), table[name]
        if pa.types.is_binary(given.type):
            field = pa.field(name, pa.string())
            if kind is not None and kind.name == "decimal" and wanted in (None, *_NUMBERS):
                field = field.with_metadata(JSON_COLUMN)
        if schema.fields[name] == "other" and _is_read_as_text(event_type, name):
            chunks = [_unquoted(values) for values in given.chunks]
            made = pa.chunked_array(chunks, pa.string())
            table = table.set_column(position, pa.field(name, pa.string()), made)
            continue
        chunks = [_converted(name, values, kind, wanted) for values in given.chunks]
        made = pa.chunked_array(chunks) if chunks else pa.chunked_array([], field.type)
        if wanted is None and pa.types.is_binary(given.type):
            changes[AS_BASE64, event_type, name] += made.null_count - given.null_count
            made = pc.coalesce(made, pc.cast(_base64(given), made.type))
        elif wanted is None and kind is None:
            changes[AS_BASE64, event_type, name] += pc.sum(pc.count_substring(made, _NESTED_BASE64)).as_py() or 0
        changes[LEFT_OUT, event_type, name] += made.null_count - given.null_count
        table = table.set_column(position, field.with_type(made.type), made)
    return table


@functools.lru_cache(maxsize=4096)
def _catalogue_types(event_type: str) -> dict[str, str]:
    known = catalog.event_types().get(event_type)
    return {field.name: field.type.removesuffix("?") for field in known.fields} if known is not None else {}


@functools.lru_cache(maxsize=4096)
def _columns_of_another_type(event_type: str, schema: Schema) -> frozenset[str]:
    types = _catalogue_types(event_type)
    return frozenset(name for name, kind in schema.fields.items() if _is_another_type(kind, types.get(name)))


def _is_another_type(kind: str, wanted: str | None) -> bool:
    """Whether a plain column needs its values made the catalogue's; numbers in a text column are sent as they are."""
    if wanted == "string":
        return kind == "boolean"
    if wanted in _NUMBERS:
        return kind in ("string", "enum", "boolean")
    return wanted == "boolean" and kind in ("string", "enum", *_NUMBERS)


def _of_plain_type(values: pa.ChunkedArray, wanted: str) -> pa.ChunkedArray:
    """Flags as text, and texts as numbers or flags; null where a value is neither."""
    if wanted == "string":
        return values.cast(pa.string())
    target = pa.bool_() if wanted == "boolean" else pa.int64() if wanted in _WHOLE else pa.float64()
    if not pa.types.is_string(values.type):
        return pa.chunked_array([pa.nulls(len(values), target)])
    pattern = r"^(true|false)$" if wanted == "boolean" else _WHOLE_TEXT if wanted in _WHOLE else _NUMBER_TEXT
    fits = pc.match_substring_regex(values, pattern)
    made = pc.if_else(fits, values, pa.scalar(None, values.type)).cast(target)
    return pc.if_else(pc.is_finite(made), made, pa.scalar(None, target)) if target == pa.float64() else made


def _is_read_as_text(event_type: str, name: str) -> bool:
    """Whether the job itself reads the column, and so needs its texts without JSON's quotes."""
    return name == "machine_open" or (event_type == catalog.CUSTOM_EVENT and name == "name")


def _unquoted(values: pa.Array) -> pa.Array:
    """JSON texts as texts: strings without quotes, everything else as JSON."""
    opened = (None if text is None else (orjson.loads(text), text) for text in values.to_pylist())
    return pa.array(
        [None if each is None else each[0] if isinstance(each[0], str) else each[1] for each in opened], pa.string()
    )


def _converted(name: str, values: pa.Array, kind: Logical | None, wanted: str | None) -> pa.Array:
    """The values, null where they cannot be had in the type that is wanted (None: any)."""
    if pa.types.is_binary(values.type):
        return _bytes(values, kind, wanted)
    if kind is None:
        return _json(values, wanted)
    if name == "time":
        return logical_types.seconds(values, kind)
    if wanted in (None, "string"):
        return logical_types.iso_texts(values, kind)
    if wanted in _WHOLE and not kind.name.startswith("time-"):
        return logical_types.units(values, kind, 1_000 if name.endswith("_ms") else 1)
    return pa.nulls(len(values), pa.string())


def _bytes(values: pa.Array, kind: Logical | None, wanted: str | None) -> pa.Array:
    """Texts, and decimals as JSON but where text is wanted."""
    given = values.to_pylist()
    if kind is not None and kind.name == "decimal":
        exact = [None if value is None else logical_types.decimal_of(value, kind.scale) for value in given]
        if wanted == "string":
            return pa.array([None if each is None else logical_types.decimal_text(each) for each in exact], pa.string())
        if wanted in (None, *_NUMBERS):
            numbers = (None if each is None else logical_types.number_of(each) for each in exact)
            return pa.array([None if each is None else logical_types.json_of(each) for each in numbers], pa.string())
    elif wanted in (None, "string"):
        return pa.array([None if value is None else logical_types.text_of(value, kind) for value in given], pa.string())
    return pa.nulls(len(values), pa.string())


def _base64(values: pa.ChunkedArray) -> pa.ChunkedArray:
    texts = [None if value is None else logical_types.base64_of(value) for value in values.to_pylist()]
    return pa.chunked_array([pa.array(texts, pa.string())])


def _json(values: pa.Array, wanted: str | None) -> pa.Array:
    """JSON text of nested values and of unions; where the catalogue has a number or a flag only those stay."""
    if wanted not in (*_NUMBERS, "boolean"):
        return values
    return pa.array([text if _is_scalar(text) else None for text in values.to_pylist()], pa.string())


def _is_scalar(text: str | None) -> bool:
    value: Any = None if text is None else orjson.loads(text)
    return isinstance(value, (bool, int, float))
