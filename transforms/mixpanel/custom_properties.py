"""Properties that stand in a row as a JSON document: opened, renamed, held to Mixpanel's limits, written as text.

A fragment is what is put before the closing braces of a row's event line: ``b',"key":value,"key":value'``.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import orjson

from transforms.mixpanel.json_documents import open_document, quick_object
from transforms.mixpanel.limits import NESTED_DEPTH, NESTED_ITEMS, is_shallow, nested
from transforms.mixpanel.names import NAME_BYTES, cut
from transforms.privacy.veil import DocumentVeil
from transforms.vocabulary.changes import LIMITS


class Notes:
    """What Mixpanel's limits changed: how often, by kind of change, event name and property."""

    def __init__(self) -> None:
        self.counts: dict[str, dict[str, dict[str, int]]] = {}
        # Not changes, but what is told of documents on the way: values by property or attribute, and those of them that
        # look personal, by (kind, property or attribute).
        self.sent: Counter[str] = Counter()
        self.looks: Counter[tuple[str, str]] = Counter()

    def add(self, kind: str, event: str, key: str, count: int = 1) -> None:
        """Count a change; ``key`` is the property, or for ``events_cut`` the event's name as it is sent.

        Raises:
            LookupError: ``kind`` is not one of ``LIMITS``.
        """
        if kind not in self.counts:
            self.counts[LIMITS[kind].code] = {}
        keys = self.counts[kind].setdefault(event, {})
        keys[key] = keys.get(key, 0) + count


class CustomProperties:
    """Writes the ``properties`` of custom events or purchases as fragments.

    Most documents are too short to have a value that is too long or has too many entries; they take a quick way, which
    gives the same bytes as the careful one.
    """

    def __init__(self, prefix: str, events: Sequence[str], notes: Notes, veil: DocumentVeil | None = None) -> None:
        self._prefix = prefix
        self._events = events
        self._notes = notes
        self._veil = veil
        self._keys = _Keys(prefix)
        self._written: list[dict[str, Any]] = []

    def count(self) -> None:
        """Tell ``notes.sent`` of the properties written since the last call."""
        self._notes.sent.update(itertools.chain.from_iterable(self._written))
        self._written.clear()

    def fragment(self, text: str | None, room: int, event: int, key_count: int) -> bytes:
        """The fragment of one row's ``properties``, the prefix and one space before each key, nulls left out.

        ``event`` is the position of the row's event name, ``key_count`` is from ``key_counts``. At most ``room``
        properties are written: the first in bytewise order of their keys.
        """
        if self._veil is None and text is not None and key_count >= 0 and len(text) <= _SHORT:
            values = quick_object(text, key_count)
            flat = text.count("{") + text.count("[") <= _FLAT
            if values is not None and (flat or all(map(is_shallow, values.values()))):
                keys = self._keys
                result = {keys[name]: value for name, value in values.items() if value is not None}
                if keys.met_long:
                    keys.met_long = False
                elif len(result) <= room:
                    self._written.append(result)
                    if len(self._written) >= _COUNTED_AT_ONCE:
                        self.count()
                    return b"," + orjson.dumps(result)[1:-1] if result else b""
        return self._careful(text, room, event)

    def _careful(self, text: str | None, room: int, event: int) -> bytes:
        values, changes = open_document(text)
        if values is None:
            self._note("properties_not_json", event, self._keys["properties"])
            values = {"properties": text}
            if self._veil is not None and self._veil.withholds_unopened():
                values = {}
        elif self._veil is not None:
            values = self._veil(values)
        for kind, name in changes:
            self._note(kind, event, cut(self._keys["properties" if name is None else name]))
        result: dict[str, Any] = {}
        for name, value in values.items():
            if value is None:
                continue
            key = self._keys[name]
            if isinstance(value, (list, dict)):
                kept = nested(value)
                if kept is not value:
                    self._note("nested_as_text", event, cut(key))
                value = kept
            result[key] = value
        result = cut_keys(result, self._events[event], self._notes)
        if len(result) > room:
            for key in sorted(result, key=str.encode)[room:]:
                self._note("properties_left_out", event, key)
                del result[key]
        self._written.append(result)
        return b"," + orjson.dumps(result)[1:-1] if result else b""

    def _note(self, kind: str, event: int, key: str) -> None:
        self._notes.add(kind, self._events[event], key)


_COUNTED_AT_ONCE = 4_096
# Characters too few for 255 entries, or for 8 KB of JSON however its numbers are written.
_SHORT = 2 * NESTED_ITEMS
# Brackets of the document itself, and of values nested as deep as Mixpanel takes them.
_FLAT = 1 + NESTED_DEPTH


class _Keys(dict[str, str]):
    """Property keys by the name in the document; ``met_long`` is set by each that must be cut, which is not kept."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix
        self.met_long = False

    def __missing__(self, name: str) -> str:
        key = f"{self._prefix} {name}"
        if len(key.encode()) > NAME_BYTES:
            self.met_long = True
        elif len(self) < _KEYS_KEPT:
            self[name] = key
        return key


_KEYS_KEPT = 10_000


def cut_keys(values: dict[str, Any], event: str, notes: Notes) -> dict[str, Any]:
    """The properties with keys of at most 255 UTF-8 bytes; of two that become one the first in bytewise order stays."""
    if all(len(key.encode()) <= NAME_BYTES for key in values):
        return values
    result: dict[str, Any] = {}
    for key in sorted(values, key=str.encode):
        short = cut(key)
        if short != key:
            notes.add("keys_cut", event, short)
        if short in result:
            notes.add("key_collisions", event, short)
        else:
            result[short] = values[key]
    return {key: result[key] for key in sorted(result, key=str.encode)}


def value_fragment(name: str, value: Any, event: str, notes: Notes) -> bytes:
    """The fragment of one property whose value is a list or object."""
    kept = nested(value) if isinstance(value, (list, dict)) else value
    if kept is not value:
        notes.add("nested_as_text", event, name)
    return b"," + orjson.dumps({name: kept})[1:-1]
