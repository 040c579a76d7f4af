"""Avro's logical types, which Spark, Glue and BigQuery write where Braze has plain numbers and texts.

Rows are decoded to Avro's own values: days, milliseconds, big-endian integers. Here they become what they mean.
"""

from __future__ import annotations

import base64
import math
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

# Name to (its least unit in a second, Arrow's name of that unit).
TIMESTAMPS = {
    f"{prefix}timestamp-{unit}": form
    for unit, form in (("millis", (1_000, "ms")), ("micros", (1_000_000, "us")), ("nanos", (1_000_000_000, "ns")))
    for prefix in ("", "local-")
}
_BASES = {
    "date": ("int",), "time-millis": ("int",), "time-micros": ("long",), **dict.fromkeys(TIMESTAMPS, ("long",)),
    "decimal": ("bytes", "fixed"), "uuid": ("fixed",), "duration": ("fixed",),
}  # fmt: skip
_SIZES = {"uuid": 16, "duration": 12}
_DAY = 86_400
# Of the years 1 to 9999, which ISO 8601 and Mixpanel can write.
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
_MOST_DECIMAL_BYTES = 512


class Logical(NamedTuple):
    """A logical type; ``scale`` counts a decimal's digits behind the point."""

    name: str
    scale: int = 0


def logical_of(kind: Any) -> Logical | None:
    """The logical type of a declared Avro type, none where it does not fit what it stands on: Avro then ignores it."""
    if not isinstance(kind, dict) or not isinstance(name := kind.get("logicalType"), str):
        return None
    if kind["type"] not in _BASES.get(name, ()) or kind.get("size") != _SIZES.get(name, kind.get("size")):
        return None
    scale = kind.get("scale", 0)
    return Logical(name, scale) if isinstance(scale, int) and 0 <= scale <= _MOST_DECIMAL_BYTES else None


def seconds(values: pa.Array, logical: Logical) -> pa.Array:
    """Dates and timestamps (int32 or int64) as whole UNIX seconds, int64."""
    return units(values, logical, 1)


def units(values: pa.Array, logical: Logical, in_a_second: int) -> pa.Array:
    """Dates and timestamps as int64 of a unit, 1 or 1,000 in a second, rounded down."""
    numbers = np.asarray(pc.fill_null(values.cast(pa.int64()), 0))
    if logical.name == "date":
        found = numbers * (_DAY * in_a_second)
    else:
        found = numbers // (TIMESTAMPS[logical.name][0] // in_a_second)
    return pa.array(found, pa.int64(), mask=np.asarray(values.is_null()))


def iso_texts(values: pa.Array, logical: Logical) -> pa.Array:
    """Dates, timestamps and times of day as ISO 8601, in UTC; null where the year has no four digits."""
    if logical.name in ("time-millis", "time-micros"):
        unit, day = ("ms", 86_400_000) if logical.name == "time-millis" else ("us", 86_400_000_000)
        inside = pc.and_(pc.greater_equal(values, 0), pc.less(values, day))
        stamps, form = _where(inside, values).cast(pa.int64()).cast(pa.timestamp(unit)), "%H:%M:%S"
    else:
        at = seconds(values, logical)
        inside = pc.and_(pc.greater_equal(at, _FIRST_SECOND), pc.less_equal(at, _LAST_SECOND))
        if logical.name == "date":
            stamps, form = _where(inside, at).cast(pa.timestamp("s")), "%Y-%m-%d"
        else:
            stamps = _where(inside, values).cast(pa.timestamp(TIMESTAMPS[logical.name][1]))
            form = "%Y-%m-%dT%H:%M:%S"
    texts = pc.strftime(stamps, format=form)
    texts = pc.replace_substring_regex(texts, r"(\.[0-9]*[1-9])0+$|\.0+$", r"\1")
    return pc.binary_join_element_wise(texts, "Z", "") if logical.name.startswith("timestamp-") else texts


def _where(inside: pa.Array, values: pa.Array) -> pa.Array:
    return pc.if_else(inside, values, pa.scalar(None, values.type))


def decimal_of(value: bytes, scale: int) -> Decimal | None:
    """The exact value of a decimal's bytes; None where they are more than any database has digits for."""
    if len(value) > _MOST_DECIMAL_BYTES:
        return None
    return Decimal(f"{int.from_bytes(value, 'big', signed=True)}E-{scale}")


def decimal_text(value: Decimal) -> str:
    return format(value, "f")


def number_of(value: Decimal) -> int | float | str:
    """A decimal as the number that shows the same digits, as text where a double cannot."""
    as_double = float(value)
    if not math.isfinite(as_double) or Decimal(repr(as_double)) != value:
        return decimal_text(value)
    return int(value) if value.as_tuple().exponent == 0 and abs(as_double) < 1 << 53 else as_double


def text_of(value: bytes, logical: Logical | None) -> str | None:
    """Bytes as text: an UUID, a duration in ISO 8601, or UTF-8; None where they are neither."""
    if logical is not None and logical.name == "uuid":
        return str(uuid.UUID(bytes=value))
    if logical is not None and logical.name == "duration":
        months, days, millis = (int.from_bytes(value[at : at + 4], "little") for at in (0, 4, 8))
        return f"P{months}M{days}DT{decimal_text(Decimal(f'{millis}E-3'))}S"
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def base64_of(value: bytes) -> str:
    r"""Bytes as a text that says what it is.

    >>> base64_of(b"\xff")
    'data:;base64,/w=='
    """
    return BASE64_MARK + base64.b64encode(value).decode()


BASE64_MARK = "data:;base64,"


def named_types(kind: Any) -> dict[str, Any]:
    """Records, enums and fixed types in a declared type, by their names."""
    found: dict[str, Any] = {}
    waiting = [kind]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            if isinstance(name := node.get("name"), str) and "type" in node and "fields" not in found.get(name, {}):
                found[name] = node
                if isinstance(space := node.get("namespace"), str):
                    found[f"{space}.{name}"] = node
            waiting += [node[part] for part in ("type", "items", "values") if part in node]
            waiting += [field["type"] for field in node.get("fields", ())]
    return found


def plain_value(value: Any, kind: Any, names: Mapping[str, Any]) -> Any:
    """A decoded value of any declared type as one that JSON has."""
    if value is None:
        return None
    if isinstance(kind, list):
        return plain_value(value, next((each for each in kind if _fits(value, each, names)), "string"), names)
    if isinstance(kind, str):
        if kind in names:
            return plain_value(value, names[kind], names)
        return _plain_bytes(value, None) if isinstance(value, bytes) else value
    base = kind["type"]
    if isinstance(base, (dict, list)):
        return plain_value(value, base, names)
    if base == "array":
        return [plain_value(item, kind["items"], names) for item in value]
    if base == "map":
        return {key: plain_value(item, kind["values"], names) for key, item in value.items()}
    if base in ("record", "error"):
        return {field["name"]: plain_value(value[field["name"]], field["type"], names) for field in kind["fields"]}
    logical = logical_of(kind)
    if isinstance(value, bytes):
        return _plain_bytes(value, logical)
    if logical is None:
        return value
    written = iso_texts(pa.array([value], pa.int64()), logical)[0].as_py()
    return value if written is None else written


def _plain_bytes(value: bytes, logical: Logical | None) -> Any:
    if logical is not None and logical.name == "decimal":
        exact = decimal_of(value, logical.scale)
        return base64_of(value) if exact is None else number_of(exact)
    text = text_of(value, logical)
    return base64_of(value) if text is None else text


_FITTING: dict[type, frozenset[str]] = {
    bytes: frozenset({"bytes", "fixed"}),
    bool: frozenset({"boolean"}),
    int: frozenset({"int", "long"}),
    float: frozenset({"float", "double"}),
    str: frozenset({"string", "enum"}),
    dict: frozenset({"record", "error", "map"}),
    list: frozenset({"array"}),
}


def _fits(value: Any, kind: Any, names: Mapping[str, Any]) -> bool:
    if isinstance(kind, str) and kind in names:
        kind = names[kind]
    base = kind["type"] if isinstance(kind, dict) else kind
    return isinstance(base, str) and base in _FITTING.get(type(value), ())


def json_of(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
