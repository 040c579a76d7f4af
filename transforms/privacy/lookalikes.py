"""Values that look like email addresses, phone numbers, payment card numbers or IP addresses: counted, never shown."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

KINDS = ("email", "phone", "card", "ip")

# In JSON text, what any value that is looked for has: an at sign or an escape that may be one; a text of the characters
# of numbers alone; a whole number as long as a card's; a text with two colons or three dots between hex digits.
_SUSPICIOUS = "|".join(
    (
        r"@|\\u00",
        r'"\s*[+(]?[0-9][0-9 ()./+-]{5,}[0-9]\s*"',
        r"[:\[,][2-6][0-9]{12,18}([,\]}]|$)",
        r'"[0-9a-fA-F]*:[0-9a-fA-F.]*:[0-9a-fA-F:.]*"',
        r'(?i:phone|mobile|msisdn)[^"]*":[0-9]',
    )
)
_EMAIL = re.compile(r"[^@\s<>\"(),;:]+@[^@\s<>\"(),;:]+\.[^@\s<>\"(),;:.]{2,}")
_NUMBER_LIKE = re.compile(r"[+(]?[0-9][0-9 ()./-]*[0-9]")
# Dates, decimals, and what has the form of an address without being one.
_DATE = re.compile(r"\d+\.\d+\.\d+\.\d+|\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}|\d+\.\d+")
_PHONE_KEY = re.compile(r"phone|mobile|msisdn|whatsapp|\bsms\b|\btel\b", re.IGNORECASE)
_CARD = re.compile(r"[2-6]\d{3}([ -]?)\d{4}\1\d{4}\1\d{1,7}|3\d{3}[ -]?\d{6}[ -]?\d{4,5}")
_LEAST_PHONE, _MOST_PHONE = 7, 15


def suspicious(json_texts: pa.Array) -> np.ndarray:
    """Which JSON texts (strings or binary) may hold such a value, bool: one look at a whole column."""
    return np.asarray(pc.fill_null(pc.match_substring_regex(json_texts, _SUSPICIOUS), False))


def in_fragments(fragments: pa.Array) -> Counter[tuple[str, str]]:
    """(Kind, property) to events, of fragments of event lines (``,"key":value``)."""
    found: Counter[tuple[str, str]] = Counter()
    for fragment in fragments.filter(pa.array(suspicious(fragments))).to_pylist():
        for key, value in orjson.loads(b"{" + fragment[1:] + b"}").items():
            found.update((kind, key) for kind in kinds_of(key, value))
    return found


def in_values(names: pa.Array, json_texts: pa.Array) -> Counter[tuple[str, str]]:
    """(Kind, name) to rows, of attributes: their names, and their values as JSON."""
    rows = pa.array(suspicious(json_texts))
    found: Counter[tuple[str, str]] = Counter()
    for name, value in zip(names.filter(rows).to_pylist(), json_texts.filter(rows).to_pylist(), strict=True):
        found.update((kind, name) for kind in kinds_of(name, orjson.loads(value)))
    return found


def kinds_of(name: str, value: Any) -> set[str]:
    """What a value, or anything nested in it, looks like.

    >>> sorted(kinds_of("note", {"to": ["ada@example.org"], "from": "+49 30 901820"}))
    ['email', 'phone']
    """
    return {kind for text in _texts(value) if (kind := _kind(name, text)) is not None}


def _texts(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, str) or (isinstance(item, int) and not isinstance(item, bool)):
            yield str(item)


def _kind(name: str, text: str) -> str | None:
    text = text.strip()
    if "@" in text:
        return "email" if _EMAIL.search(text) else None
    if _CARD.fullmatch(text) and is_luhn(text):
        return "card"
    if _is_address(text):
        return "ip"
    if _NUMBER_LIKE.fullmatch(text) and _is_phone(name, text):
        return "phone"
    return None


def is_luhn(text: str) -> bool:
    """Whether the digits of a text have a right check digit, and are as many as a payment card's.

    >>> is_luhn("4111 1111 1111 1111"), is_luhn("4111 1111 1111 1112")
    (True, False)
    """
    digits = [int(char) for char in text if char.isdigit()]
    doubled = [digit if place % 2 == 0 else digit * 2 - 9 * (digit > 4) for place, digit in enumerate(reversed(digits))]
    return 13 <= len(digits) <= 19 and sum(doubled) % 10 == 0


def _is_address(text: str) -> bool:
    if text.count(".") != 3 and text.count(":") < 2:
        return False
    try:
        return not ipaddress.ip_address(text).is_unspecified
    except ValueError:
        return False


def _is_phone(name: str, text: str) -> bool:
    """A number with a sign of being dialled: + or 00 before it, groups, a leading zero, or a name that says so."""
    digits = sum(map(str.isdigit, text))
    if not _LEAST_PHONE <= digits <= _MOST_PHONE or _DATE.fullmatch(text):
        return False
    grouped = digits < len(text)
    return text.startswith("+") or grouped or (text.startswith("0") and digits >= 9) or bool(_PHONE_KEY.search(name))
