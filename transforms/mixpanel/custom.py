"""Properties that stand in a row as a JSON document: opened, renamed, held to Mixpanel's limits, written as text.

A fragment is what is put before the closing braces of a row's event line: ``b',"key":value,"key":value'``.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import orjson

from transforms.mixpanel.limits import fits, nested
from transforms.mixpanel.names import NAME_BYTES, cut

_SCALARS = frozenset({str, int, float, bool})


@dataclasses.dataclass
class Notes:
    """What the limits changed, counted by property."""

    nested_as_text: Counter[str] = dataclasses.field(default_factory=Counter)
    keys_cut: Counter[str] = dataclasses.field(default_factory=Counter)
    key_collisions: Counter[str] = dataclasses.field(default_factory=Counter)
    properties_left_out: Counter[str] = dataclasses.field(default_factory=Counter)
    properties_not_json: Counter[str] = dataclasses.field(default_factory=Counter)

    def as_dict(self) -> dict[str, dict[str, int]]:
        """Only the limits that something met."""
        return {name: dict(counter) for name, counter in vars(self).items() if counter}


def parse_object(text: str | None) -> dict[str, Any] | None:
    """The JSON object in a text; empty for null and blank text, None where it is none."""
    if text is None or not text.strip():
        return {}
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


class CustomProperties:
    """Writes the ``properties`` of custom events or purchases as fragments; keeps the keys it has met, ready to use."""

    def __init__(self, prefix: str, notes: Notes) -> None:
        self._prefix = prefix
        self._notes = notes
        self._keys: dict[str, str] = {}

    def fragment(self, text: str | None, room: int) -> bytes:
        """The fragment of one row's ``properties``: at most ``room`` of them, the first in bytewise order of their keys.

        Nulls are left out. The prefix stands before each key, with one space after it.
        """
        values = parse_object(text)
        if values is None:
            self._notes.properties_not_json[f"{self._prefix} properties"] += 1
            values = {"properties": text}
        keys = self._keys
        result: dict[str, Any] = {}
        long_keys = False
        for name, value in values.items():
            key = keys.get(name)
            if key is None:
                key = self._key(name)
            if type(value) not in _SCALARS:
                if value is None:
                    continue
                raw = orjson.dumps(value)
                if fits(value, raw):
                    value = orjson.Fragment(raw)  # written as it is: no second walk through the value
                else:
                    self._notes.nested_as_text[cut(key)] += 1
                    value = raw.decode()
            long_keys = long_keys or len(key) > NAME_BYTES // 4
            result[key] = value
        if long_keys:
            result = cut_keys(result, self._notes)
        if len(result) > room:
            for key in sorted(result, key=str.encode)[room:]:
                self._notes.properties_left_out[key] += 1
                del result[key]
        return b"," + orjson.dumps(result)[1:-1] if result else b""

    def _key(self, name: str) -> str:
        key = f"{self._prefix} {name}"
        if len(self._keys) < _KEYS_KEPT:
            self._keys[name] = key
        return key


_KEYS_KEPT = 10_000


def cut_keys(values: dict[str, Any], notes: Notes) -> dict[str, Any]:
    """The properties with keys of at most 255 UTF-8 bytes; of two that become one the first in bytewise order stays."""
    if all(len(key.encode()) <= NAME_BYTES for key in values):
        return values
    result: dict[str, Any] = {}
    for key in sorted(values, key=str.encode):
        short = cut(key)
        if short != key:
            notes.keys_cut[short] += 1
        if short in result:
            notes.key_collisions[short] += 1
        else:
            result[short] = values[key]
    return {key: result[key] for key in sorted(result, key=str.encode)}


def value_fragment(name: str, value: Any, notes: Notes) -> bytes:
    """The fragment of one property whose value is a list or object."""
    kept = nested(value) if isinstance(value, (list, dict)) else value
    if kept is not value:
        notes.nested_as_text[name] += 1
    return b"," + orjson.dumps({name: kept})[1:-1]
