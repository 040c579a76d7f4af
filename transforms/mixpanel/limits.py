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
    return value if len(raw) <= limit_bytes and _within(value, NESTED_DEPTH) else raw.decode()


def _within(value: Any, depth: int) -> bool:
    if isinstance(value, dict):
        inner = value.values()
    elif isinstance(value, list):
        inner = value  # type: ignore[assignment]
    else:
        return True
    return depth > 0 and len(inner) <= NESTED_ITEMS and all(_within(item, depth - 1) for item in inner)
