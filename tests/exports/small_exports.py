"""Small exports made by hand, a file at a time, for tests that break one of them or look at one line."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fastavro
from fastavro.write import Writer

NOW = 1_770_000_000  # UNIX seconds
OPEN = "users.messages.email.Open"
MARKER = b"0123456789abcdef"
SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": f"dataexport.S3.inner.{OPEN}",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "user_id", "type": ["null", "string"], "default": None},
        {"name": "external_user_id", "type": ["null", "string"], "default": None},
        {"name": "app_group_id", "type": ["null", "string"], "default": None},
        {"name": "campaign_name", "type": ["null", "string"], "default": None},
        {"name": "time", "type": "int"},
    ],
}


def rows(prefix: str, count: int = 12, **columns: Any) -> list[dict[str, Any]]:
    """Rows with ids of their own, of three profiles, two of them known."""
    profiles = ("profile-1", "profile-2", "profile-3")
    users = ("user-1", "user-2", None)
    return [
        {
            "id": f"{prefix}-{number:04}",
            "user_id": profiles[number % 3],
            "external_user_id": users[number % 3],
            "app_group_id": "workspace-1",
            "campaign_name": f"campaign {number:04}",
            "time": NOW - 1000 + number % 500,
            **columns,
        }
        for number in range(count)
    ]


def avro(rows: Sequence[dict[str, Any]], *, schema: Any = None, codec: str = "null", block_rows: int = 4) -> bytes:
    """The bytes of one file, ``block_rows`` rows a block."""
    file = io.BytesIO()
    writer = Writer(file, fastavro.parse_schema(dict(schema or SCHEMA)), codec, sync_marker=MARKER)
    for number, row in enumerate(rows, start=1):
        writer.write(row)
        if number % block_rows == 0:
            writer.flush()
    writer.flush()
    return file.getvalue()


def path(name: str, *, event_type: str = OPEN, hour: str = "2026-02-01-17") -> str:
    """A file's path below the export as Braze writes it."""
    return f"event_type={event_type}/date={hour}/version=11/us-01/{name}.avro"


def write(folder: Path, files: dict[str, bytes]) -> Path:
    """Writes files by their paths below ``folder``; returns the folder."""
    for name, content in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return folder


def flipped(content: bytes, position: int, bits: int = 0xFF) -> bytes:
    """The content with the bits of one byte turned over."""
    position %= len(content)
    return content[:position] + bytes([content[position] ^ bits]) + content[position + 1 :]


def with_fields(**types: Any) -> dict[str, Any]:
    """The schema with the types of some columns replaced; None removes one."""
    changed = [{**field, "type": types.get(field["name"], field["type"])} for field in SCHEMA["fields"]]
    fields = [{k: v for k, v in field.items() if k != "default"} for field in changed if field["type"] is not None]
    return {**SCHEMA, "fields": fields}
