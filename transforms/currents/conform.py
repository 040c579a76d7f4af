"""Columns of other types than Braze's, as rewritten exports have them, made the catalogue's or what they mean.

A value that cannot be made so is left out and counted: it costs neither its row nor its file.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from transforms.currents import catalog, logical
from transforms.currents.logical import Logical
from transforms.currents.schema import Schema
from transforms.currents.strict import JSON_COLUMN

Changes = Counter[tuple[str, str, str]]
"""(Kind of change, event type, column) to values."""

LEFT_OUT = "types_left_out"
AS_BASE64 = "bytes_as_base64"
_NESTED_BASE64 = f'"{logical.BASE64_MARK}'
_WHOLE = ("int", "long")
_NUMBERS = (*_WHOLE, "float", "double")


def conform(event_type: str, table: pa.Table, schema: Schema, changes: Changes) -> pa.Table:
    """The table with the columns of logical types, bytes and nested types in the catalogue's types.

    ``time`` becomes int64 UNIX seconds. Columns that the catalogue lacks become numbers, text or JSON. Adds what could
    not be converted to ``changes``.
    """
    if not schema.unusual:
        return table
    known = catalog.event_types().get(event_type)
    types = {field.name: field.type.removesuffix("?") for field in known.fields} if known is not None else {}
    for position, name in enumerate(table.column_names):
        if name not in schema.unusual:
            continue
        kind, wanted = schema.logical.get(name), types.get(name)
        field, given = table.schema.field(name), table[name]
        if pa.types.is_binary(given.type):
            field = pa.field(name, pa.string())
            if kind is not None and kind.name == "decimal" and wanted in (None, *_NUMBERS):
                field = field.with_metadata(JSON_COLUMN)
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


def _converted(name: str, values: pa.Array, kind: Logical | None, wanted: str | None) -> pa.Array:
    """The values, null where they cannot be had in the type that is wanted (None: any)."""
    if pa.types.is_binary(values.type):
        return _bytes(values, kind, wanted)
    if kind is None:
        return _json(values, wanted)
    if name == "time":
        return logical.seconds(values, kind)
    if wanted in (None, "string"):
        return logical.iso_texts(values, kind)
    if wanted in _WHOLE and not kind.name.startswith("time-"):
        return logical.units(values, kind, 1_000 if name.endswith("_ms") else 1)
    return pa.nulls(len(values), pa.string())


def _bytes(values: pa.Array, kind: Logical | None, wanted: str | None) -> pa.Array:
    """Texts, and decimals as JSON but where text is wanted."""
    given = values.to_pylist()
    if kind is not None and kind.name == "decimal":
        exact = [None if value is None else logical.decimal_of(value, kind.scale) for value in given]
        if wanted == "string":
            return pa.array([None if each is None else logical.decimal_text(each) for each in exact], pa.string())
        if wanted in (None, *_NUMBERS):
            numbers = (None if each is None else logical.number_of(each) for each in exact)
            return pa.array([None if each is None else logical.json_of(each) for each in numbers], pa.string())
    elif wanted in (None, "string"):
        return pa.array([None if value is None else logical.text_of(value, kind) for value in given], pa.string())
    return pa.nulls(len(values), pa.string())


def _base64(values: pa.ChunkedArray) -> pa.ChunkedArray:
    texts = [None if value is None else logical.base64_of(value) for value in values.to_pylist()]
    return pa.chunked_array([pa.array(texts, pa.string())])


def _json(values: pa.Array, wanted: str | None) -> pa.Array:
    """JSON text of nested values and of unions; where the catalogue has a number or a flag only those stay."""
    if wanted not in (*_NUMBERS, "boolean"):
        return values
    return pa.array([text if _is_scalar(text) else None for text in values.to_pylist()], pa.string())


def _is_scalar(text: str | None) -> bool:
    value: Any = None if text is None else orjson.loads(text)
    return isinstance(value, (bool, int, float))
