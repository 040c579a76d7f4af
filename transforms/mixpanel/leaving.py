"""What leaves with the rows of one unit: rows, ids and documents as the rules let them go, and the figures of that."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import orjson
import pyarrow as pa

from transforms.currents import catalog
from transforms.mixpanel.events import CUSTOM_PREFIXES, property_names
from transforms.mixpanel.json_documents import open_document
from transforms.mixpanel.limits import compact_json
from transforms.mixpanel.names import cut, safe_key
from transforms.mixpanel.persons import Persons
from transforms.mixpanel.profile_updates import attribute_names
from transforms.privacy.rules import DROP, PROFILE
from transforms.privacy.veil import DocumentVeil, Veil, is_document, veil_of
from transforms.settings import Settings
from transforms.telemetry.tally import Tally, merge


class Leaving:
    """The rules of a run at work on the rows of one unit.

    Attributes:
        veil: the rules; None where nothing is dropped, hashed or withheld, and every method gives what it gets.
    """

    def __init__(self, settings: Settings) -> None:
        self.veil: Veil | None = veil_of(settings)
        self._settings = settings
        self._figures: Tally = {}
        self._documents: dict[str, DocumentVeil] = {}

    def rows(self, event_type: str, table: pa.Table) -> pa.Table:
        """Rows of one type as they may leave, their documents apart."""
        if self.veil is None:
            return table
        names = self._sent_as(event_type, table)
        for column in table.column_names:
            values = table.num_rows - table[column].null_count
            action = self.veil.column(event_type, column, names.get(column))
            rules = self.veil.rules_of(event_type, column, names.get(column))
            if values and rules:
                merge(self._figures, {"rules": dict.fromkeys(rules, values)})
            if values and action is not None and not (action != DROP and is_document(event_type, column)):
                merge(self._figures, {action: {event_type: {column: {names.get(column, ""): values}}}})
        return self.veil.table(event_type, table, names)

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
        veil = self.documents(event_type)
        if veil is None:
            return record
        kept = dict(record)
        for name in (name for name in record if is_document(event_type, name) and record[name] is not None):
            text = record[name] if isinstance(record[name], str) else orjson.dumps(record[name]).decode()
            values = open_document(text).values
            if values is not None:
                kept[name] = compact_json(veil(values))
            elif veil.withholds_unopened():
                del kept[name]
        return kept

    def figures(self) -> Tally:
        """What the rules did in this unit."""
        for event_type, veil in self._documents.items():
            column = "custom_attributes" if event_type == catalog.PROFILE_UPDATE else "properties"
            for (action, name), values in veil.done.items():
                merge(self._figures, {action: {event_type: {column: {name: values}}}})
            merge(self._figures, {"rules": dict(veil.met)})
        return {"leaves": self._figures} if self._figures else {}

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
