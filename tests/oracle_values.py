"""Names and values as Mixpanel may take them, by hand (a part of the oracle)."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable
from typing import Any

from tests.oracle_identity import DISALLOWED

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


def parse_object(text: str) -> dict[str, Any] | None:
    """The object in a JSON text, or None; NaN and half a surrogate pair are neither JSON nor UTF-8."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        value = json.loads(text, parse_constant=refuse)
        compact(value).encode()
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


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
