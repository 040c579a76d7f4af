"""Mixpanel's limits on one event, and what is done at each: nothing is lost, and everything changed is counted."""

from __future__ import annotations

from typing import Any

import orjson

NESTED_DEPTH = 3
NESTED_ITEMS = 254
EVENT_NESTED_BYTES = 8_192
PROFILE_NESTED_BYTES = 262_144
PROPERTIES = 254
EVENT_BYTES = 1_000_000


def compact_json(value: Any) -> str:
    """A value as compact JSON text.

    >>> compact_json({"a": [1, None]})
    '{"a":[1,null]}'
    """
    return orjson.dumps(value).decode()


def nested(value: Any, limit_bytes: int = EVENT_NESTED_BYTES) -> Any:
    """A list or object as it is where Mixpanel takes it, else its compact JSON text as a whole.

    A list of scalars has depth 1; anything deeper than three, any list or object with 255 or more entries, and
    anything over ``limit_bytes`` of compact UTF-8 JSON becomes text.
    """
    raw = orjson.dumps(value)
    return value if len(raw) <= limit_bytes and is_shallow(value) else raw.decode()


def is_shallow(value: Any, depth: int = NESTED_DEPTH) -> bool:
    """Whether a value is nested no deeper than Mixpanel takes, and no list or object in it has too many entries."""
    kind = type(value)
    if kind is not dict and kind is not list:
        return True
    if depth == 0 or len(value) > NESTED_ITEMS:
        return False
    for item in value.values() if kind is dict else value:
        kind = type(item)
        if (kind is dict or kind is list) and not is_shallow(item, depth - 1):
            return False
    return True
