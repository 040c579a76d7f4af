"""The Avro schema of an export: which columns it has, of which kind, and whether the engine decodes them right."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import fastavro

from transforms.avro.bounds import LEAST_BYTES, MAX_SCHEMA_BYTES, check_size, measure
from transforms.avro.logical_types import TIMESTAMPS, Logical, logical_of
from transforms.errors import DataError

STRING_COLUMNS = ("id", "user_id", "external_user_id", "device_id", "orphaned_by_id")
REQUIRED_COLUMNS = ("id", "time")

_SIMPLE_KINDS = frozenset({"string", "int", "long", "float", "double", "boolean", "array<string>"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_DROPPED_KEYS = frozenset({"logicalType", "default", "doc", "aliases", "order", "precision", "scale"})
_MAX_DEPTH = 64


class SchemaError(DataError):
    """A schema that no row can be read with; ``reason`` is the short code of the damage."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, eq=False)
class Schema:
    """One writer schema; schemas are equal when their JSON bytes are.

    Attributes:
        json: The schema as it stands in the file.
        plain: The same without logical types, defaults and documentation: rows decode to raw Avro values.
        name: Full record name, ``namespace.name``.
        event_type: The Braze event type within that name; the whole name where none can be told.
        fields: Column to kind: string, int, long, float, double, boolean, bytes, fixed, null, enum, array<string>,
            other.
        logical: Column to logical type, of those that have one which fits their kind.
        unusual: Columns that are not yet what they mean when they are decoded: of logical types, bytes, nested ones.
        simple: Whether every column is of a kind that the columnar engine is known to decode right.
        least_row_bytes: Fewest bytes that a row can take, at least 2; bounds the plausible rows of a block.
        free_row_values: Values of a row that take no bytes, such as columns of type null.
        careful: Whether only the reader by the letter may see the rows, which counts what it does.
    """

    json: bytes
    plain: bytes
    name: str
    event_type: str
    fields: Mapping[str, str]
    logical: Mapping[str, Logical]
    unusual: frozenset[str]
    simple: bool
    least_row_bytes: int
    free_row_values: int
    careful: bool

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schema) and self.json == other.json

    def __hash__(self) -> int:
        return hash(self.json)


@functools.lru_cache(maxsize=4096)
def parse_schema(text: bytes) -> Schema | SchemaError:
    """The schema for its JSON bytes, or what is wrong with it; an error is cached like a result."""
    try:
        return _parse(text)
    except SchemaError as error:
        return error
    except Exception as error:
        # JSON of any shape arrives here: KeyError, TypeError, RecursionError, fastavro's own errors, ...
        told = str(error)[:200].encode("ascii", "backslashreplace").decode()
        return SchemaError("header", f"the header's avro.schema is not an Avro schema ({told}): export the file again")


def _parse(text: bytes) -> Schema:
    if len(text) > MAX_SCHEMA_BYTES:
        raise ValueError(f"{len(text)} bytes, more than {MAX_SCHEMA_BYTES}")
    declared = json.loads(text)
    plain = _plain(declared, 0)
    check_size(plain)
    if not isinstance(plain, dict) or plain.get("type") != "record":
        told = ascii(declared)[:80]
        raise SchemaError("header", f"the schema is [{told}], not a record: give files of Currents rows")
    # It refuses what is not a schema: unknown types, ill-formed names.
    bounds = measure(fastavro.parse_schema(json.loads(json.dumps(plain))))
    fields = {field["name"]: _kind(field["type"]) for field in plain["fields"]}
    if len(fields) != len(plain["fields"]):
        raise SchemaError("header", "the schema names a column twice: export the file again")
    types = {field["name"]: field["type"] for field in declared["fields"]}
    logical = {name: found for name in fields if (found := logical_of(_bare(types[name]))) is not None}
    _check_columns(fields, logical, types)
    name = plain["name"]
    if "." not in name and plain.get("namespace"):
        name = f"{plain['namespace']}.{name}"
    return Schema(
        json=text,
        plain=json.dumps(plain, separators=(",", ":")).encode(),
        name=name,
        event_type=event_type_of(name),
        fields=fields,
        logical=logical,
        unusual=frozenset({*logical, *(name for name, kind in fields.items() if kind in ("bytes", "fixed", "other"))}),
        # Names beyond Avro's rules are read as they are, by the reader that does not mind.
        simple=all(kind in _SIMPLE_KINDS for kind in fields.values()) and all(map(_NAME.match, fields)),
        least_row_bytes=max(2, bounds.row.least),
        free_row_values=bounds.row.free,
        careful=bounds.careful,
    )


def event_type_of(name: str) -> str:
    """The Braze event type in a record's full name.

    >>> event_type_of("dataexport.S3.inner.users.messages.email.Open")
    'users.messages.email.Open'
    """
    if ".inner." in name:
        return name.split(".inner.", 1)[1]
    found = re.search(r"(?:^|\.)((?:users|agentconsole|contentoptimizer)\..+)", name)
    return found[1] if found else name


def _plain(node: Any, depth: int) -> Any:
    """A type without what does not change its bytes, and wrapped primitives unwrapped."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"types nested deeper than {_MAX_DEPTH}")
    if isinstance(node, list):
        return [_plain(branch, depth + 1) for branch in node]
    if not isinstance(node, dict):
        return node
    kind = node["type"]
    if isinstance(kind, (dict, list)) or (isinstance(kind, str) and kind in LEAST_BYTES):
        return _plain(kind, depth + 1)
    plain = {key: value for key, value in node.items() if key not in _DROPPED_KEYS}
    if kind in ("record", "error"):
        plain["type"] = "record"
        plain["fields"] = [
            {"name": field["name"], "type": _plain(field["type"], depth + 1)} for field in node["fields"]
        ]
    elif kind == "array":
        plain["items"] = _plain(node["items"], depth + 1)
    elif kind == "map":
        plain["values"] = _plain(node["values"], depth + 1)
    return plain


def _without_null(kind: Any) -> Any:
    """The one branch of a nullable union; anything else as it is."""
    if isinstance(kind, list):
        branches = [branch for branch in kind if branch != "null"]
        if len(branches) == 1 and len(kind) <= 2:
            return branches[0]
        if not branches and kind:
            return "null"
    return kind


def _kind(kind: Any) -> str:
    kind = _without_null(kind)
    if isinstance(kind, str):
        return kind if kind in LEAST_BYTES else "other"
    if isinstance(kind, dict):
        if kind["type"] in ("enum", "fixed"):
            return str(kind["type"])
        if kind["type"] == "array" and _without_null(kind["items"]) == "string":
            return "array<string>"
    return "other"


def _bare(declared: Any) -> Any:
    """The declared type within a nullable union and within types that only wrap one."""
    kind = _without_null(declared)
    while isinstance(kind, dict) and isinstance(kind["type"], (dict, list)):
        kind = _without_null(kind["type"])
    return kind


def _has_logical_type(declared: Any) -> bool:
    bare = _bare(declared)
    return isinstance(bare, dict) and "logicalType" in bare


def _check_columns(fields: Mapping[str, str], logical: Mapping[str, Logical], declared: Mapping[str, Any]) -> None:
    for column in REQUIRED_COLUMNS:
        if column not in fields:
            raise SchemaError(
                "missing_column", f"the schema has no column [{column}]: give Currents exports, or --skip the file"
            )
    uuids = {name for name, kind in logical.items() if kind.name == "uuid"}
    wrong = [
        name for name in STRING_COLUMNS if fields.get(name, "string") not in ("string", "null") and name not in uuids
    ]
    if fields["id"] == "null":
        wrong.append("id")
    told = logical["time"].name if "time" in logical else None
    if fields["time"] not in ("int", "long") or (told not in TIMESTAMPS and _has_logical_type(declared["time"])):
        wrong.append("time")
    for column in wrong:
        needed = "int or long UNIX seconds or a timestamp" if column == "time" else "string"
        raise SchemaError(
            "column_type",
            f"column [{column}] is {json.dumps(declared[column])[:120]}, not {needed}: give Currents exports, "
            "or --skip the file",
        )
