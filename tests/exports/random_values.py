"""Pools of ids and values for the random exports: small, so that they meet, and as hostile as Braze's customers are."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

PROFILES = (*(f"5f0c1e2a9d3b4c5d6e7f80{number:02}" for number in range(16)), "same-string", "user_id:x", "Ünïcode")
KNOWN_USERS = ("alice", "Alice", " alice", "bob", "bob\x00", "cé", "ce\u0301", "same-string", "10", "日本", "eve@x.io")
# Words of nobody, and external ids that are not known users.
NO_USERS = ("Guest", "[object Object]", "\u00a0NaN ", "(not set)", "$device:5f0001", " $device:x", "$devices")
STOCK_DEVICES = ("9774d56d682e549c", "9774D56D682E549C ", "0123456789ABCDEF", "02:00:00:00:00:00")
DEVICES = ("phone-a", "PHONE-A", "phone-b", "tablet", "tablet\x00", "same-string", "kiosk", "kiosk", "laptop ", "📱")
JUNK = (
    "", " ", "0", "-1", "null", "NULL", " None ", "n/a", "Anonymous", "undefined", "<nil>", "[]", "{}", "TRUE",
    "\u2003nil", "00000000-0000-0000-0000-000000000000", "000", "0-0", "---", "LMY47D",
)  # fmt: skip
EVENT_IDS = (
    *(f"7a0e8400-e29b-41d4-a716-4466554400{number:02x}" for number in range(60)),
    *(f"7A0E8400-E29B-41D4-A716-4466554400{number:02X}" for number in range(0, 60, 4)),
    "7a0e8400e29b41d4a716446655440001", "{7a0e8400-e29b-41d4-a716-446655440001}",
    "7a0e8400-e29b-41d4-a716-44665544000g", "7a0e8400e29b-41d4-a716-4466-55440001",
    "evt_1", "evt-1", "EVT-1", "", "null", "NULL", "0", "ünï",
    "x" * 36, "x" * 37, "00000000-0000-0000-0000-000000000000", "a b", "7a0e8400-e29b-41d4-a716-446655440001 ",
)  # fmt: skip
STRINGS = (
    "", " ", "plain", "ünïcödé 📱", "line\nbreak\ttab", 'quote " and \\ back', "\u2028\u0085\x00\x7f", "NaN", "null",
    "<script>alert(1)</script>", '{"json": [1, null]}', "x" * 300, "[1, 2", "e\u0301", "=1+1",
)  # fmt: skip
KEYS = (
    "colour", "Colour", "$email", "ip", "time", "token", "distinct_id", "mp_lib", "", " ", "key with blanks",
    "schlüssel", "a.b", "🔑", "plan", "name", "properties", "é" * 150, "é" * 150 + "z", "k" * 300, "k" * 299 + "a",
    'q"uote',
)  # fmt: skip
NAMES = ("shop", "Shop", "add to cart", "ünï 📱", "", " ", "x" * 300, "é" * 200, "$identify", "a]b[", "tab\tname")
UNPARSABLE = (
    "plain text", "[1,2]", '"text"', "12", "true", '{"a":', "{'a': 1}", '{"a":1}x', "{a:1}", '{"a":1,}', "[]",
    '"[1]"', '{"a":NaN', '{"a":-NaN}', '"\\"{}\\""',
)  # fmt: skip
TOLERATED = (
    '{"a": NaN}', '{"a": Infinity, "b": [1, -Infinity, {"c": NaN, "d": 1e999}]}', '{"half": "\\ud800", "\\udc00": "x"}',
    '{"a": 1, "a": NaN}', '{"a": 99999999999999999999, "b": -9223372036854775809, "c": 18446744073709551615}',
    '{"long": %s, "nested": {"n": [12345678901234567890123]}}' % ("7" * 5000), '"{\\"plan\\": \\"gold\\"}"', '"null"',
    "null", '""', "{}", '"{}"', '{"": 1, "plan": {"": 2}}', '{"a" : "http://x", "a":1}',
    '{"half": "\\ud83d", "plan": null}',
    '{"a": {"b": 1, "b": 2}, "c": "x:y"}',
)  # fmt: skip
BLANK = ("", "  ", "\n\t")


def mostly(rng: random.Random, good: Sequence[str], junk: Sequence[str]) -> str:
    """A value of ``good``, one time in seven of ``junk``."""
    return rng.choice(junk if rng.random() < 0.14 else good)


def times(now: int) -> tuple[int, ...]:
    """Hot seconds, so that ties are common, and the edges of what Mixpanel takes."""
    ordinary = (now - 86_400, now - 86_400, now - 3600, now - 3600, now - 1, now, now - 400_000, 1_500_000_000) * 5
    return (*ordinary, 31_536_000, 31_535_999, now + 3600, now + 3601, 0, -5)


def number(rng: random.Random) -> float:
    """A floating-point number: round, short, long, huge, tiny or none at all."""
    odd = [0.0, -0.0, 3.14, 0.1, 1e-7, 1e20, 123456789.0, 16777217.0, 1e-45, float("nan"), float("inf"), -float("inf")]
    return rng.choice(odd) if rng.random() < 0.5 else round(rng.uniform(-1000, 1000), rng.randint(0, 6))


def custom_name(rng: random.Random) -> str:
    """The name of a custom event."""
    return rng.choice(NAMES[:3]) if rng.random() < 0.6 else rng.choice(NAMES)


def properties_text(rng: random.Random) -> str:
    """What stands in a ``properties`` column: mostly a JSON object, within or beyond Mixpanel's limits."""
    kind = rng.random()
    if kind < 0.06:
        return rng.choice(UNPARSABLE)
    if kind < 0.1:
        return rng.choice(TOLERATED)
    if kind < 0.14:
        return rng.choice(BLANK)
    if kind < 0.19:  # more keys than an event may have
        return json.dumps({f"k{number:03}": number for number in range(rng.choice([230, 240, 260, 300]))})
    if kind < 0.22:
        return '{"twice": 1, "twice": 2, "\\u0065scaped": "\\ud83d\\udcf1", "big": 9007199254740993, "n": 1.50}'
    keys = rng.sample(KEYS, rng.randint(0, 5))
    indent = rng.choice([None, None, 1])
    return json.dumps({key: json_value(rng) for key in keys}, ensure_ascii=rng.random() < 0.5, indent=indent)


def json_value(rng: random.Random) -> Any:
    """A value of a custom property: a scalar, a small nested value, or one at the edge of a limit."""
    kind = rng.random()
    if kind < 0.55:
        return rng.choice([*STRINGS, None, None, True, False, 0, 1, -1, 0.1, 3.14, 2**53, -(2**63)])
    if kind < 0.8:
        nested: list[Any] = [
            [], {}, [1, None, "a"], {"a": None, "b": True}, [{"a": 1}, {"b": [2]}], {"a": {"b": {"c": 1}}}, [[[1]]],
            {"ip": 1, "$x": "y"}, ["ü"],
        ]  # fmt: skip
        return rng.choice(nested)
    edges: list[Any] = [
        {"a": {"b": {"c": {"d": 1}}}}, [[[[]]]], list(range(254)), list(range(255)),
        {"in": {str(number): number for number in range(255)}}, {str(number): number for number in range(254)},
        ["x" * 8188], ["x" * 8189], ["é" * 4094], ["é" * 4095], {"a": ["x" * 9000]},
    ]  # fmt: skip
    return rng.choice(edges)


def custom_attributes(rng: random.Random) -> str:
    """What stands in a ``custom_attributes`` column; its keys are no standard attributes."""
    kind = rng.random()
    if kind < 0.07:
        return rng.choice(UNPARSABLE)
    if kind < 0.13:
        return rng.choice(TOLERATED)
    if kind < 0.2:
        return rng.choice(BLANK)
    keys = rng.sample([key for key in KEYS if key.strip() and key != "name"], rng.randint(0, 4))
    large = {"large": ["x" * rng.choice([9000, 262_140, 262_141])]} if rng.random() < 0.05 else {}
    return json.dumps({**{key: json_value(rng) for key in keys}, **large}, ensure_ascii=rng.random() < 0.5)
