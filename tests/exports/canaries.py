"""An export in which every text, list, document and number of every event type is told apart from every other one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fastavro

from tests.exports.small_exports import NOW
from transforms.currents import catalog

DOCUMENTS = {"properties", "custom_attributes"}
NUMBERS = ("int", "long", "float", "double")


def canary(event_type: str, field: str) -> str:
    """The value that stands in a field of a type, and nowhere else."""
    return f"canary-{list(catalog.event_types()).index(event_type)}-{field}-y"


def number(event_type: str, field: str) -> int:
    """The same for numbers: whole, and exact in 32 bits."""
    kind = catalog.event_types()[event_type]
    place = [each.name for each in kind.fields].index(field)
    return 7_000_000 + list(catalog.event_types()).index(event_type) * 1_000 + place


def value(event_type: str, field: catalog.Field) -> Any:
    kind, mark = field.type.strip("?"), canary(event_type, field.name)
    if field.name == "time":
        return NOW - 1_000
    if field.name in DOCUMENTS:
        return json.dumps({"mail": mark, "deep": {"mail": [mark, {"again": mark}]}, "plan": "kept-" + mark})
    if kind.startswith("array"):
        return [mark, mark]
    if kind in NUMBERS:
        return number(event_type, field.name)
    return True if kind == "boolean" else mark


def write(folder: Path) -> Path:
    """A row of each type that is sent, one that is rejected, and a file with documents that cannot be opened."""
    for event_type, kind in catalog.event_types().items():
        row = {field.name: value(event_type, field) for field in kind.fields}
        rows = [row, {**row, "id": row["id"] + "-late", "time": 1}]
        if event_type == catalog.CUSTOM_EVENT:
            cut = {**row, "id": row["id"] + "-cut", "properties": f'{{"mail": "{canary(event_type, "cut")}'}
            rows += [cut, {**cut, "id": cut["id"] + "-late", "time": 1}]
        fields = [{"name": field.name, "type": json.loads(_avro(field.type))} for field in kind.fields]
        target = folder / f"event_type={event_type}/date=2026-02-01-17/version=11/us-01/a.avro"
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            schema = {"type": "record", "name": f"dataexport.S3.inner.{event_type}", "fields": fields}
            fastavro.writer(file, fastavro.parse_schema(schema), rows)
    return folder


def _avro(kind: str) -> str:
    name = kind.strip("?")
    if name.startswith("array"):
        inner = '{"type": "array", "items": ["null", "string"]}'
    else:
        inner = f'"{name}"'
    return f'["null", {inner}]' if kind.endswith("?") else inner
