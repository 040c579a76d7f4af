"""Random exports full of what real ones have once in a million rows, and a writer that puts them on disk as Avro.

Few people, profiles and devices, so that ids meet and conflict; few event ids, so that rows repeat within and across
files and types; few times, so that order is decided by ties. The same seed gives the same export and the same bytes.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import fastavro
import numpy
from fastavro.write import Writer

from tests.exports import random_values as values
from transforms.currents import catalog

NOW = 1_770_000_000  # UNIX seconds
ROWS_PER_FILE = {"small": 6, "medium": 40}
FILES = {"small": 30, "medium": 60}
FAVOURITES = (
    catalog.CUSTOM_EVENT, catalog.CUSTOM_EVENT, catalog.PURCHASE, catalog.PURCHASE, catalog.USER_ORPHAN,
    catalog.USER_ORPHAN, catalog.USER_DELETE_REQUEST, catalog.PROFILE_UPDATE, catalog.PROFILE_UPDATE,
    "users.behaviors.Location", "users.behaviors.app.SessionStart", "users.behaviors.app.SessionEnd",
    "users.messages.email.Open", "users.messages.webhook.Send", "users.messages.sms.InboundReceive",
    "users.messages.rcs.Click", "users.messages.contentcard.Click", "users.messages.banner.Dismiss",
    "users.canvas.costep.Send", "users.campaigns.Abort", "users.RandomBucketNumberUpdate",
    "agentconsole.AgentExecuted", "agentconsole.ToolInvocation", "users.behaviors.pushnotification.TokenStateChange",
    "users.messages.newthing.ReadReceipt", "users.behaviors.app.FooBar", "users.behaviors.webAR_Scan",
)  # fmt: skip
ALWAYS = (
    catalog.CUSTOM_EVENT, catalog.CUSTOM_EVENT, catalog.PURCHASE, catalog.USER_ORPHAN, catalog.USER_DELETE_REQUEST,
    catalog.PROFILE_UPDATE, catalog.PROFILE_UPDATE, "users.behaviors.app.SessionStart", "agentconsole.AgentExecuted",
)  # fmt: skip
UNKNOWN_TYPES = {
    "users.messages.newthing.ReadReceipt": {"device_id": "string?", "ip": "string?", "mp_lib": "string?"},
    "users.behaviors.app.FooBar": {"$user_id": "string?", "token": "string?", "amount": "double?"},
    "users.behaviors.webAR_Scan": {"device_id": "string?", "bucket": "long?", "shown": "boolean?"},
}
ODD_COLUMNS = {
    "new_in_v12": "string?", "$device": "string?", "ratio": "float?", "weight": "double?", "labels": "array<string?>?",
    "matrix": "array<array<long>>?", "distinct_id": "string?", "alias": "string?", "count": "long?",
    "spalte_" + "x" * 300: "string?",
}  # fmt: skip
# The identity columns of the three row kinds that are used and not sent stay as Braze has them; an attribute of a
# profile update is a matter of the catalogue.
PLAIN_TYPES = frozenset({catalog.USER_ORPHAN, catalog.USER_DELETE_REQUEST, catalog.PROFILE_UPDATE})


class ExportFile(NamedTuple):
    """One Avro file; ``schema`` is its Avro schema, and each row has exactly its columns."""

    event_type: str
    rows: list[dict[str, Any]]
    schema: dict[str, Any]


Export = dict[str, ExportFile]  # path relative to the input -> file


def random_export(seed: int, *, size: str = "small", too_large: bool | None = None) -> Export:
    """A random export around ``NOW``; every tenth seed holds an event too large to send, unless ``too_large`` says."""
    rng = random.Random(seed)
    types = sorted({*catalog.event_types(), *UNKNOWN_TYPES})
    files: Export = {}
    for number in range(FILES[size]):
        drawn = rng.choice(FAVOURITES) if rng.random() < 0.75 else rng.choice(types)
        event_type = ALWAYS[number] if number < len(ALWAYS) else drawn
        rows = rng.randint(1, ROWS_PER_FILE[size])
        files[_path(rng, event_type, number)] = _random_file(rng, event_type, rows)
    repeated = rng.choice(sorted(files))
    again = repeated.replace("dataexport.prod", "dataexport.again").replace("loose/", "loose/again")
    files[again] = files[repeated]  # a whole file delivered twice
    if too_large if too_large is not None else seed % 10 == 0:
        for path in sorted(files):
            if files[path].event_type == catalog.CUSTOM_EVENT and "properties" in files[path].rows[0]:
                files[path].rows[-1]["properties"] = json.dumps({"blob": "x" * 1_200_000})
                break
    return files


def write_export(files: Mapping[str, ExportFile], folder: Path, *, codec: str = "null", block_rows: int = 3) -> None:
    """Write the files below ``folder``, ``block_rows`` rows an Avro block, with sync markers made from their paths."""
    for path, file in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        marker = random.Random(path).randbytes(16)
        with target.open("wb") as stream:
            writer = Writer(stream, fastavro.parse_schema(dict(file.schema)), codec, sync_marker=marker)
            for number, row in enumerate(file.rows, start=1):
                writer.write(row)
                if number % block_rows == 0:
                    writer.flush()
            writer.flush()


def _path(rng: random.Random, event_type: str, number: int) -> str:
    integration = "dataexport.prod-01.S3.integration.69cadaaed2d51b7c75b1a3e5"
    hour = f"2026-01-{rng.randint(1, 28):02}-{rng.randint(0, 23):02}"
    form = rng.random()
    if form < 0.15:  # someone copied the files elsewhere: only the schema names the type
        return f"loose/{rng.choice(['ä', 'b', 'B c'])}/{number}.avro"
    middle = "version=11/us-01" if form < 0.6 else "304/prod-01"
    path = f"{integration}/event_type={event_type}/date={hour}/{middle}/{integration}+{rng.randint(0, 2)}+{number}.avro"
    if form > 0.85:
        path = path.replace("=", "%3D").replace("+", "%2B")
    return "currents/" + path


def _random_file(rng: random.Random, event_type: str, rows: int) -> ExportFile:
    known = catalog.event_types().get(event_type)
    if known:
        columns = {field.name: field.type for field in known.fields}
    else:
        columns = {"id": "string", "user_id": "string?", "external_user_id": "string?", "time": "int"}
        columns |= UNKNOWN_TYPES[event_type]
    required = {"id", "time", "name", "orphaned_by_id"}
    dropped = rng.choice([0.0, 0.0, 0.1, 0.3])
    columns = {name: type_ for name, type_ in columns.items() if name in required or rng.random() >= dropped}
    if event_type not in PLAIN_TYPES:
        columns |= dict(rng.sample(sorted(ODD_COLUMNS.items()), rng.choice([0, 0, 1, 2])))
        if not known and rng.random() < 0.1:
            columns |= {f"wide_{number:03}": "int?" for number in range(260)}
    for name, type_ in columns.items():
        if type_ in ("int", "float", "int?", "float?") and rng.random() < 0.15:
            type_ = type_.replace("int", "long").replace("float", "double")
        nullable = rng.random() < 0.1 and name != "name" and not type_.endswith("?")
        columns[name] = type_ + "?" if nullable else type_
    schema = {
        "type": "record",
        "name": f"dataexport.S3.inner.{event_type}",
        "fields": [_field(name, type_) for name, type_ in columns.items()],
    }
    return ExportFile(event_type, [_random_row(rng, event_type, columns) for _ in range(rows)], schema)


def _field(name: str, type_: str) -> dict[str, Any]:
    avro = _avro_type(type_)
    return {"name": name, "type": avro, "default": None} if type_.endswith("?") else {"name": name, "type": avro}


def _avro_type(type_: str) -> Any:
    if type_.endswith("?"):
        return ["null", _avro_type(type_[:-1])]
    if type_.startswith("array<"):
        return {"type": "array", "items": _avro_type(type_[len("array<") : -1])}
    return type_


def _random_row(rng: random.Random, event_type: str, columns: dict[str, str]) -> dict[str, Any]:
    row = {name: _random_value(rng, event_type, name, type_) for name, type_ in columns.items()}
    if row.get("user_id") in values.PROFILES and rng.random() < 0.7:  # most people keep to themselves
        person = values.PROFILES.index(row["user_id"]) // 2
        own = {"external_user_id": values.KNOWN_USERS[person] if person % 3 else None, "device_id": f"own-{person}"}
        row |= {name: value for name, value in own.items() if row.get(name) is not None and columns[name][-1] == "?"}
    for name, words in (("external_user_id", values.NO_USERS), ("device_id", values.STOCK_DEVICES)):
        if row.get(name) in values.JUNK:  # drawn from the row, so that the rest of the export stays as it was
            row[name] = random.Random(repr(row)).choice([row[name], *words])
    if event_type == catalog.PROFILE_UPDATE and row.get("custom_attributes") is not None:
        row["custom_attributes"] = values.custom_attributes(rng)
    return row


def _random_value(rng: random.Random, event_type: str, name: str, type_: str) -> Any:
    if type_.endswith("?"):
        often_null = 0.1 if name in ("id", "time", "user_id") else 0.55 if name == "external_user_id" else 0.4
        return None if rng.random() < often_null else _random_value(rng, event_type, name, type_[:-1])
    named = {
        "id": lambda: rng.choice(values.EVENT_IDS[: rng.choice([8, 99])]),
        "time": lambda: rng.choice(values.times(NOW)),
        "time_ms": lambda: rng.choice([0, NOW * 1000, NOW * 1000 + 1, (NOW - 86_400) * 1000, 9_007_199_254_740_993]),
        "user_id": lambda: values.mostly(rng, values.PROFILES, values.JUNK),
        "orphaned_by_id": lambda: values.mostly(rng, values.PROFILES, values.JUNK),
        "external_user_id": lambda: values.mostly(rng, values.KNOWN_USERS, values.JUNK),
        "device_id": lambda: values.mostly(rng, values.DEVICES, values.JUNK),
        "machine_open": lambda: rng.choice(["true", "true", "false", "True", ""]),
        "app_group_id": lambda: "workspace-1",
        "properties": lambda: values.properties_text(rng),
        "name": lambda: values.custom_name(rng),
        "country": lambda: rng.choice(["DE", "us", "Germany", "", "ÄÖ", "D1"]),
    }.get(name)
    if named:
        return named()
    if type_.startswith("array<"):
        length = rng.choice([0, 1, 2, 3, 3, 254, 255]) if rng.random() < 0.3 else rng.randint(0, 3)
        return [_random_value(rng, event_type, "", type_[len("array<") : -1]) for _ in range(length)]
    if type_ == "float":
        return float(numpy.float32(values.number(rng)))
    if type_ == "double":
        return values.number(rng)
    if type_ in ("int", "long"):
        return rng.choice([0, 1, -1, 42, 2**31 - 1, -(2**31)] + [2**53 + 1, -(2**63)] * (type_ == "long"))
    if type_ == "boolean":
        return rng.random() < 0.5
    return rng.choice(values.STRINGS)
