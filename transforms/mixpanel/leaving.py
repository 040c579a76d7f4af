"""What leaves with the rows of one unit: rows, ids and documents as the rules let them go, and the figures of that."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from transforms.currents import catalog
from transforms.currents.catalog import mixpanel_name
from transforms.mixpanel.custom_properties import Notes
from transforms.mixpanel.events import CUSTOM_PREFIXES, property_names
from transforms.mixpanel.json_documents import open_document
from transforms.mixpanel.limits import compact_json
from transforms.mixpanel.names import cut, safe_key
from transforms.mixpanel.persons import Persons
from transforms.mixpanel.profile_updates import attribute_names
from transforms.privacy.rules import HASH, PROFILE
from transforms.privacy.veil import DocumentVeil, Veil, is_document, veil_of
from transforms.settings import Settings
from transforms.telemetry.tally import Tally, merge

SENT = "sent"
IDS_OF_PERSON = "external_user_id, user_id"
"""Stands for the fields that a ``distinct_id`` is made of."""


class Leaving:
    """The rules of a run at work on the rows of one unit.

    Attributes:
        veil: the rules; None where nothing is dropped, hashed or withheld, and every method gives what it gets.
    """

    def __init__(self, settings: Settings) -> None:
        self.veil: Veil | None = veil_of(settings)
        self._settings = settings
        self._figures: Tally = {}
        self._limits: Tally = {}
        self._documents: dict[str, DocumentVeil] = {}
        self._records: dict[str, DocumentVeil] = {}  # of rejects: nothing of them is sent
        # What was sent: rows by type, and values by type, column and property or attribute.
        self._rows: Counter[str] = Counter()
        self._sent: dict[str, dict[str, Counter[str]]] = {}

    def rows(self, event_type: str, table: pa.Table, sent: np.ndarray) -> pa.Table:
        """Rows of one type as they may leave, their documents apart; ``sent`` (bool) are those that are sent."""
        if self.veil is None:
            return table
        names = self._sent_as(event_type, table)
        for column in table.column_names:
            name = names.get(column)
            action = self.veil.column(event_type, column, name)
            values = table.num_rows - table[column].null_count
            if values and (rules := self.veil.rules_of(event_type, column, name)):
                merge(self._figures, {"rules": dict.fromkeys(rules, values)})
            if values and name is not None and action is not None:
                given = pc.is_valid(table[column])
                if action == HASH and pa.types.is_floating(table.schema.field(column).type):
                    given = pc.fill_null(pc.is_finite(table[column]), False)
                    self._note_odd(event_type, name, table[column], given, sent)
                values = int(np.asarray(given)[sent].sum())
                merge(self._figures, {action: {event_type: {column: {name: values}}}} if values else {})
        return self.veil.table(event_type, table, names)

    def _note_odd(
        self, event_type: str, name: str, values: pa.ChunkedArray, finite: pa.ChunkedArray, sent: np.ndarray
    ) -> None:
        """Count the numbers that have no hash, as they would be counted without one."""
        odd = int((np.asarray(values.is_valid()) & ~np.asarray(finite))[sent].sum())
        if odd:
            merge(self._limits, {"not_finite": {mixpanel_name(event_type): {name: odd}}})

    def persons(self, who: Persons) -> Persons:
        """The persons of rows under the ids that may leave."""
        if self.veil is None or not self.veil.ids:
            return who
        user, profile = "external_user_id", "user_id"
        return dataclasses.replace(
            who,
            own=self.veil.ids_of(user, who.own),
            user=self.veil.ids_of(user, who.user),
            profile=self.veil.ids_of(profile, who.profile),
            device=self.veil.ids_of(profile, who.device),
        )

    def left_out(self, by_reason: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
        """External ids that are not known users, by reason, as they may leave."""
        if self.veil is None:
            return by_reason
        of = self.veil.id_text
        return {
            reason: {of("external_user_id", name): count for name, count in ids.items()}
            for reason, ids in by_reason.items()
        }

    def documents(self, event_type: str) -> DocumentVeil | None:
        """What is done with the keys of the documents of a type; None where it is nothing."""
        if self.veil is None or (event_type not in CUSTOM_PREFIXES and event_type != catalog.PROFILE_UPDATE):
            return None
        if event_type not in self._documents:
            self._documents[event_type] = self._document_veil(self.veil, event_type)
        return self._documents[event_type]

    def record(self, event_type: str, record: dict[str, Any]) -> dict[str, Any]:
        """A row that ``rows`` gave, as a dict, with its documents as they may leave."""
        if self.documents(event_type) is None or self.veil is None:
            return record
        if event_type not in self._records:
            self._records[event_type] = self._document_veil(self.veil, event_type)
        veil = self._records[event_type]
        kept = dict(record)
        for name in (name for name in record if is_document(event_type, name) and record[name] is not None):
            text = record[name] if isinstance(record[name], str) else orjson.dumps(record[name]).decode()
            values = open_document(text).values
            if values is not None:
                kept[name] = compact_json(veil(values))
            elif veil.withholds_unopened():
                del kept[name]
        return kept

    def note_events(self, event_type: str, table: pa.Table, who: Persons, notes: Notes) -> None:
        """Count the values of rows of one type that were sent."""
        rows = table.num_rows
        sent = self._values(event_type, rows)
        names = property_names(event_type, table.column_names, self._settings)
        for column, name in names.items():
            if values := rows - table[column].null_count:
                sent.setdefault(column, Counter())[name] += values
        user = who.own if self._settings.id_merge == "native" else who.user
        users, profiles = rows - user.null_count, rows - who.device.null_count
        core = {("id", "$insert_id"): rows, ("time", "time"): rows, (IDS_OF_PERSON, "distinct_id"): rows}
        core |= {("", name): rows for name in ("$partner_id", "ip")}
        if self._settings.id_merge == "simplified":
            core |= {("external_user_id", "$user_id"): users, ("user_id", "$device_id"): profiles}
        if self._settings.tag is not None:
            core["", "braze_import"] = rows
        for (column, name), values in core.items():
            sent.setdefault(column, Counter())[name] += values
        if event_type in CUSTOM_PREFIXES:
            sent.setdefault("properties", Counter()).update(notes.sent)
        self._note_looks(notes)

    def note_updates(self, table: pa.Table, notes: Notes) -> None:
        """Count the values of profile updates that were sent."""
        sent = self._values(catalog.PROFILE_UPDATE, table.num_rows)
        columns = {name: column for column, name in attribute_names(table).items()}
        for name, values in notes.sent.items():
            sent.setdefault(columns.get(name, "custom_attributes"), Counter())[name] += values
        self._note_looks(notes)

    def _values(self, event_type: str, rows: int) -> dict[str, Counter[str]]:
        self._rows[event_type] += rows
        return self._sent.setdefault(event_type, {})

    def _note_looks(self, notes: Notes) -> None:
        for (kind, name), values in notes.looks.items():
            merge(self._figures, {"looks": {kind: {name: values}}})

    def figures(self) -> Tally:
        """What was sent in this unit, and what the rules did."""
        merge(self._figures, {"rows": dict(self._rows), SENT: self._sent})
        for event_type, veil in self._documents.items():
            column = "custom_attributes" if event_type == catalog.PROFILE_UPDATE else "properties"
            for (action, name), values in veil.done.items():
                merge(self._figures, {action: {event_type: {column: {name: values}}}})
        for veil in (*self._documents.values(), *self._records.values()):
            merge(self._figures, {"rules": dict(veil.met)})
        return {"leaves": self._figures, **({"limits": self._limits} if self._limits else {})}

    def _sent_as(self, event_type: str, table: pa.Table) -> dict[str, str]:
        if event_type == catalog.PROFILE_UPDATE:
            return attribute_names(table)
        return property_names(event_type, table.column_names, self._settings)

    def _document_veil(self, veil: Veil, event_type: str) -> DocumentVeil:
        if event_type == catalog.PROFILE_UPDATE:
            return DocumentVeil(veil, event_type, _attribute_keys, PROFILE)
        prefix = f"{CUSTOM_PREFIXES[event_type]} "

        def as_sent(key: str) -> Iterator[str]:
            yield prefix + key
            yield cut(prefix + key)

        return DocumentVeil(veil, event_type, as_sent, prefix)


def _attribute_keys(key: str) -> Iterator[str]:
    yield key
    yield cut(safe_key(key))
