"""Mixpanel's limits on one event, and what is done at each: nothing is lost, and everything changed is counted."""

from __future__ import annotations

from typing import Any

import orjson

NESTED_DEPTH = 3
NESTED_ITEMS = 254
EVENT_NESTED_BYTES = 8_192
PROFILE_NESTED_BYTES = 262_144
# Mixpanel takes 254; whoever imports adds ``token`` and a few of its own.
PROPERTIES = 250
EVENT_BYTES = 1_000_000


def compact_json(value: Any) -> str:
    """A value as compact JSON text, however deep it is nested.

    >>> compact_json({"a": [1, None]})
    '{"a":[1,null]}'
    """
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return "".join(_pieces(value))


def nested(value: Any, limit_bytes: int = EVENT_NESTED_BYTES) -> Any:
    """A list or object as it is where Mixpanel takes it, else its compact JSON text as a whole.

    A list of scalars has depth 1; anything deeper than three, any list or object with 255 or more entries, and
    anything over ``limit_bytes`` of compact UTF-8 JSON becomes text.
    """
    text = compact_json(value)
    fits = len(text) <= limit_bytes and len(text.encode()) <= limit_bytes and is_shallow(value)
    return value if fits else text


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


def _pieces(value: Any) -> list[str]:
    """A value's JSON text in pieces; orjson writes no more than 254 levels."""
    pieces: list[str] = []
    waiting: list[tuple[bool, Any]] = [(False, value)]  # (is JSON text already, text or value)
    while waiting:
        is_text, item = waiting.pop()
        if is_text:
            pieces.append(item)
        elif isinstance(item, dict):
            waiting.append((True, "}"))
            for number, (key, inner) in reversed(list(enumerate(item.items()))):
                waiting += [(False, inner), (True, ("," if number else "") + orjson.dumps(key).decode() + ":")]
            waiting.append((True, "{"))
        elif isinstance(item, list):
            waiting.append((True, "]"))
            for number, inner in reversed(list(enumerate(item))):
                waiting += [(False, inner), (True, "," if number else "")]
            waiting.append((True, "["))
        else:
            pieces.append(orjson.dumps(item).decode())
    return pieces
