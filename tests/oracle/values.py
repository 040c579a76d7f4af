"""Names and values as Mixpanel may take them, by hand (a part of the oracle)."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable
from typing import Any

from tests.oracle.identity import DISALLOWED

RESERVED = frozenset(
    {
        "ip",
        "time",
        "$time",
        "token",
        "distinct_id",
        "$distinct_id",
        "$insert_id",
        "$user_id",
        "$device_id",
        "alias",
        "$distinct_ids",
        "bucket",
        "$bucket",
        "$ignore",
        "$latitude",
        "$longitude",
        "$event_name",
        "$duration",
    }
)
NAME_BYTES, NESTED_BYTES = 255, 8192


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def cut(name: str) -> str:
    return name.encode()[:NAME_BYTES].decode(errors="ignore")


def unreserved(name: str) -> str:
    return "braze_" + name if name in RESERVED or name.startswith(("$", "mp_")) else name


def insert_id(event_type: str, event_id: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9-]{1,36}", event_id) and event_id.casefold() not in DISALLOWED:
        return event_id
    return hashlib.blake2b(f"{event_type}\0{event_id}".encode(), digest_size=16).hexdigest()


def parse_object(text: str | None) -> dict[str, Any] | None:
    """The object in a JSON text, or in a JSON string in it, as Python reads it; {} where there is none, None for junk.

    What does not go into JSON for Mixpanel is left out; integers beyond 64 bits are texts.
    """
    value: Any = text
    for _ in range(2):
        if value is None or (isinstance(value, str) and not value.strip()):
            return {}
        if isinstance(value, str):
            try:
                value = _sendable(json.loads(value, parse_int=_integer, object_pairs_hook=_Pairs))
            except ValueError:
                return None
    if value is None or value == "" or not _is_in_json(value):
        return {}
    return {key: item for key, item in value.items() if key} if isinstance(value, dict) else None


class _Pairs(list[tuple[str, Any]]):
    """An object's keys and values, repeated keys and all."""


def _integer(digits: str) -> int | str:
    if len(digits) > 25:
        return digits
    return int(digits) if -(2**63) <= int(digits) < 2**64 else digits


def _sendable(value: Any) -> Any:
    if isinstance(value, _Pairs):
        last = {_sendable(key): item for key, item in value}
        return {key: _sendable(item) for key, item in last.items() if _is_in_json(item)}
    if isinstance(value, list):
        return [_sendable(item) for item in value if _is_in_json(item)]
    return re.sub("[\ud800-\udfff]", "\ufffd", value) if isinstance(value, str) else value


def _is_in_json(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _depth(value: Any) -> int:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if items is None else 1 + max(map(_depth, items), default=0)


def _longest(value: Any) -> int:
    items = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return max([len(items), *map(_longest, items)])


def limited(value: Any, max_bytes: int = NESTED_BYTES) -> Any:
    if not isinstance(value, dict | list):
        return value
    fits = _depth(value) <= 3 and _longest(value) < 255 and len(compact(value).encode()) <= max_bytes
    return value if fits else compact(value)


def is_sent(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def named(pairs: Iterable[tuple[str, str, Any]], max_bytes: int = NESTED_BYTES) -> dict[str, Any]:
    """Properties from (original key, property name, value): cut, within the limits, first original key wins."""
    properties: dict[str, Any] = {}
    for _, name, value in sorted(pairs, key=lambda pair: pair[0].encode()):
        if is_sent(value):
            properties.setdefault(cut(name), limited(value, max_bytes))
    return properties
