"""Where rows end up: schema versions, Braze's paths of both forms, and the Avro files themselves."""

from __future__ import annotations

import hashlib
import io
import itertools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import fastavro
import numpy as np

from pipelines.sample_export import people
from pipelines.sample_export.funnels import Library
from pipelines.sample_export.rows import DAY, HOUR, NULLABLE_ID_TYPE, Rows
from transforms.currents import catalog

MOST_ROWS_A_FLUSH, MOST_ROWS_A_FILE = 15_000, 100_000
BLOCK_BYTES = 64_000
OLD_ZONE, NEW_ENVIRONMENT = "prod-01", "us-01"
VERSIONS = (0, 10, 11)  # the first era has schema ids in its paths
FIRST_SCHEMA_ID = 290

_WHATSAPP = "users.messages.whatsapp."
_RCS = "users.messages.rcs."
_LATE_WHATSAPP = ("bsuid", "flow_id", "template_name", "message_id")
# Columns that a type did not yet have in the first and in the second era.
MISSING: tuple[dict[str, tuple[str, ...]], ...] = (
    {
        "users.messages.email.Send": ("from_domain",),
        "users.messages.email.Click": ("is_suspected_bot_click", "suspected_bot_click_reason"),
        "users.messages.email.Open": ("device_class", "device_os", "device_model", "browser", "mailbox_provider"),
        "users.messages.sms.Delivery": ("is_sms_fallback",),
        "users.messages.sms.DeliveryFailure": ("is_sms_fallback",),
        "users.messages.sms.Rejection": ("is_sms_fallback",),
        "users.messages.pushnotification.Send": ("push_token", "locale_key"),
        "users.messages.pushnotification.Bounce": ("push_token",),
        "users.behaviors.pushnotification.TokenStateChange": ("push_token", "time_ms"),
        "users.behaviors.app.SessionStart": ("app_group_id",),
        "users.messages.banner.Click": ("canvas_id", "canvas_step_id", "canvas_name", "canvas_variation_id"),
        "agentconsole.AgentExecuted": ("error",),
        "agentconsole.ToolInvocation": ("request_id",),
        **{_WHATSAPP + name: _LATE_WHATSAPP for name in ("Delivery", "Failure", "Read", "Send")},
        **{_RCS + name: ("canvas_id",) for name in ("Click", "Delivery", "Read", "Send")},
    },
    {"users.messages.email.Send": ("from_domain",)},
    {},
)
# Columns that were required in the first era, and those that one era has as nullable.
ONCE_REQUIRED = {_RCS + "Click": ("user_phone_number",), _WHATSAPP + "InboundReceive": ("user_phone_number",)}
ONCE_NULLABLE = {NULLABLE_ID_TYPE: ("id", "time")}


def schema(event_type: catalog.EventType, era: int) -> dict[str, Any]:
    """The Avro schema of a type in an era: 0 (oldest) to 2 (the catalogue's)."""
    fields: list[dict[str, Any]] = []
    for field in event_type.fields:
        if field.name in MISSING[era].get(event_type.name, ()):
            continue
        nullable = field.type.endswith("?")
        if era == 0 and field.name in ONCE_REQUIRED.get(event_type.name, ()):
            nullable = False
        if era == 1 and field.name in ONCE_NULLABLE.get(event_type.name, ()):
            nullable = True
        avro: Any = field.type.rstrip("?")
        if avro.startswith("array<"):
            item = avro[len("array<") : -1]
            avro = {"type": "array", "items": ["null", item[:-1]] if item.endswith("?") else item}
        fields.append(
            {"name": field.name, "type": ["null", avro], "default": None}
            if nullable
            else {"name": field.name, "type": avro}
        )
    return {"type": "record", "name": f"dataexport.S3.inner.{event_type.name}", "fields": fields}


def uuids(raw: np.ndarray) -> list[str]:
    """The version 4 UUIDs of rows of 16 bytes."""
    raw = raw.copy()
    raw[:, 6] = raw[:, 6] & 0x0F | 0x40
    raw[:, 8] = raw[:, 8] & 0x3F | 0x80
    text = raw.tobytes().hex()
    return [
        f"{text[n : n + 8]}-{text[n + 8 : n + 12]}-{text[n + 12 : n + 16]}-{text[n + 16 : n + 20]}-"
        f"{text[n + 20 : n + 32]}"
        for n in range(0, len(text), 32)
    ]


class Writer:
    """Writes the rows of an export below ``root``; ``files`` and ``size`` (bytes) tell what was written."""

    def __init__(
        self,
        root: pathlib.Path,
        *,
        population: people.Population,
        library: Library,
        seed: int,
        codec: str,
        flush_minutes: int,
        start: int,
        eras: tuple[int, int],
        rng: np.random.Generator,
    ) -> None:
        self.files = self.size = 0
        self._population, self._library = population, library
        self._seed, self._codec, self._eras, self._start = seed, codec, np.array(eras), start
        self._flush = flush_minutes * 60 or DAY
        self._most = MOST_ROWS_A_FLUSH if flush_minutes else MOST_ROWS_A_FILE
        self._integration = f"dataexport.prod-01.S3.integration.{rng.bytes(12).hex()}"
        self._folder = root / "currents" / self._integration
        self._made: set[pathlib.Path] = set()
        self._rng = rng
        self._event_ids = self._story_ids = np.empty((0, 16), dtype=np.uint8)

    def write(self, rows: Rows) -> None:
        self._event_ids = self._rng.integers(0, 256, (int(rows.number.max()) + 1, 16), dtype=np.uint8)
        self._story_ids = self._rng.integers(0, 256, (int(rows.story.max()) + 1, 16), dtype=np.uint8)
        flush = (rows.arrival - self._start) // self._flush
        era = np.searchsorted(self._eras, rows.arrival, side="right")
        order = np.lexsort((rows.arrival, flush, era, rows.event_type))
        key = np.stack((rows.event_type[order], era[order], flush[order]))
        cuts = [0, *(np.flatnonzero((key[:, 1:] != key[:, :-1]).any(axis=0)) + 1).tolist(), len(rows)]
        parsed: dict[tuple[int, int], Any] = {}
        offsets: dict[tuple[int, int], int] = {}
        for begin, stop in itertools.pairwise(cuts):
            number, era_of, flush_of = key[:, begin].tolist()
            event_type = catalog.event_types()[self._library.types[number]]
            if (number, era_of) not in parsed:
                parsed[number, era_of] = fastavro.parse_schema(schema(event_type, era_of))
            hour = self._start + flush_of * self._flush
            if era_of:  # a day's flush may begin before its era does
                hour = max(hour, int(self._eras[era_of - 1]))
            for low in range(begin, stop, self._most):
                high = min(low + self._most, stop)
                partition = flush_of % 2
                offset = offsets.get((number, partition), 1000 + number)
                offsets[number, partition] = offset + high - low
                path = self._path(number, era_of, hour, partition, offset)
                self._write_file(path, parsed[number, era_of], event_type, rows, order[low:high])

    def _path(self, number: int, era: int, hour: int, partition: int, offset: int) -> pathlib.Path:
        date = np.datetime64(hour // HOUR * HOUR, "s").astype("datetime64[h]").item().strftime("%Y-%m-%d-%H")
        folder = self._folder / f"event_type={self._library.types[number]}" / f"date={date}"
        if era:
            folder = folder / f"version={VERSIONS[era]}" / NEW_ENVIRONMENT
            return folder / f"{self._integration}+{partition}+{offset}.avro"
        folder = folder / str(FIRST_SCHEMA_ID + number) / OLD_ZONE
        return folder / f"{self._integration}+{partition}+{offset:010d}.avro"

    def _write_file(
        self, path: pathlib.Path, parsed: Any, event_type: catalog.EventType, rows: Rows, chosen: np.ndarray
    ) -> None:
        relative = path.relative_to(self._folder).as_posix()
        marker = hashlib.blake2b(f"{self._seed}\0{relative}".encode(), digest_size=16).digest()
        buffer = io.BytesIO()
        records = self._records(event_type, rows.take(chosen))
        fastavro.writer(buffer, parsed, records, codec=self._codec, sync_marker=marker, sync_interval=BLOCK_BYTES)
        if path.parent not in self._made:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(path.parent)
        path.write_bytes(buffer.getbuffer())
        self.files += 1
        self.size += buffer.tell()

    def _records(self, event_type: catalog.EventType, rows: Rows) -> Iterator[dict[str, Any]]:
        columns: Callable[[int], dict[str, Any]] = self._population.columns
        templates = self._library.templates
        ids: list[str | None] = [*uuids(self._event_ids[rows.number])]
        for position in np.flatnonzero(rows.null_id).tolist():
            ids[position] = None
        times, presences, steps = rows.time.tolist(), rows.presence.tolist(), rows.template.tolist()
        with_ms = "time_ms" in event_type.properties
        sessions = uuids(self._story_ids[rows.story]) if "session_id" in event_type.properties else None
        for n, (row_id, time, presence, step) in enumerate(zip(ids, times, presences, steps, strict=True)):
            # Columns that the schema lacks are ignored by the writer.
            record = {**columns(presence), **templates[step], "id": row_id, "time": time}
            if with_ms:
                record["time_ms"] = time * 1000 + step % 1000
            if sessions:
                record["session_id"] = sessions[n]
            yield record
