"""JSON documents in a string, read as Python's and JavaScript's parsers read them; what they cannot hold is counted.

orjson reads almost all of them. It refuses NaN, halves of surrogate pairs and deep nesting, and makes floats of
integers beyond 64 bits; such documents, and those in which a key may stand twice, go through the parser below, which
knows neither a longest number nor a deepest nesting.
"""

from __future__ import annotations

import math
import re
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from transforms.errors import DataError

NO_PROPERTIES: dict[str, Any] = {}


class Document(NamedTuple):
    """What a text holds.

    Attributes:
        values: The object's values by key; None where the text is not a JSON object. None has one key twice or empty.
        changes: (Kind of change, key of the object or None for all of it), one each.
    """

    values: dict[str, Any] | None
    changes: list[tuple[str, str | None]]


def key_counts(texts: pa.Array) -> np.ndarray:
    """What ``quick_object`` must be told of each text, int32; for a whole column a fraction of the cost of one by one.

    It is the number of keys, or more where strings look like keys; -1 where orjson's reading cannot be trusted.
    """
    counts = np.asarray(pc.fill_null(pc.count_substring(texts, '":'), -1))
    doubtful = np.asarray(pc.fill_null(pc.match_substring_regex(texts, _DOUBTFUL), True))
    return np.where(doubtful, -1, counts)


def quick_object(text: str, key_count: int) -> dict[str, Any] | None:
    """The JSON object in a text where orjson reads all of it; None where another look is needed."""
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if type(values) is not dict or "" in values:
        return None
    # There are no more keys than were counted: if as many are distinct, none stands twice.
    keys = len(values) if text.count("{") == 1 else _key_count(values)
    return values if keys == key_count else None


def open_document(text: str | None) -> Document:
    """The JSON object in a text, or in a JSON string in it; an empty one for null, blank text and the JSON null."""
    if text is None or not text.strip():
        return Document(NO_PROPERTIES, [])
    values = None if _is_doubtful(text) else quick_object(text, text.count('":'))
    if values is not None:
        return Document(values, [])
    changes: list[tuple[str, str | None]] = []
    try:
        value = _Parser(text, changes).value
        if isinstance(value, str) and value.strip():
            value = _Parser(value, changes).value
            if value is None or isinstance(value, dict):
                changes.append(("documents_unquoted", None))
    except _NotJson:
        return Document(None, [])
    if value is None or (isinstance(value, str) and not value.strip()):
        return Document(NO_PROPERTIES, changes)
    return Document(value, changes) if isinstance(value, dict) else Document(None, [])


# Integers that may be beyond 64 bits, and blanks before a colon, which may follow a key.
_DOUBTFUL = r"[0-9]{19}|[ \t\r\n]:"
_is_doubtful = re.compile(_DOUBTFUL).search
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_TOKEN = re.compile(
    r'[ \t\r\n]*(?:(?P<mark>[][{},:])|(?P<text>")|(?P<whole>-?(?:0|[1-9][0-9]*)(?![0-9.eE]))'
    r"|(?P<broken>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<word>null|true|false|NaN|-?Infinity))"
)
_WORDS = {"null": None, "true": True, "false": False}
_LEFT_OUT = object()


class _NotJson(DataError):
    """No parser reads the text."""


class _Parser:
    """Reads one text into ``value``, with a stack of its own; adds what it changed to ``changes``."""

    def __init__(self, text: str, changes: list[tuple[str, str | None]]) -> None:
        self._text = text
        self._place = 0
        self._changes = changes
        self._key: str | None = None  # of the outermost object, in which the parser is
        self.value = self._document()

    def _document(self) -> Any:
        """The value, of containers that are open, each with the key in the one around it."""
        stack: list[tuple[Any, str | None]] = []
        found, value = self._start(*self._next(), stack, None)
        while stack:
            holder, key = stack[-1]
            if found:
                self._put(holder, key, value, len(stack))
                kind, token = self._next()
                if token != ",":
                    found, value = self._end(kind, token, stack)
                    continue
                kind, token = self._next()
            else:
                kind, token = self._next()
                if kind == "mark" and token in "]}":
                    found, value = self._end(kind, token, stack)
                    continue
            if isinstance(holder, dict):
                key = self._key_of(kind, len(stack))
                stack[-1] = (holder, key)
                kind, token = self._next()
            found, value = self._start(kind, token, stack, key)
        if self._text[self._place :].strip(" \t\r\n"):
            raise _NotJson
        return None if value is _LEFT_OUT else value

    def _next(self) -> tuple[str, str]:
        match = _TOKEN.match(self._text, self._place)
        if match is None or match.lastgroup is None:
            raise _NotJson
        self._place = match.end()
        return match.lastgroup, match[match.lastgroup]

    def _start(self, kind: str, token: str, stack: list[tuple[Any, str | None]], key: str | None) -> tuple[bool, Any]:
        """(True, a scalar), or (False, None) with a container that was opened on the stack."""
        if kind == "mark":
            if token not in "[{":
                raise _NotJson
            stack.append(([] if token == "[" else {}, None))
            return False, None
        if kind == "text":
            return True, self._string()
        if kind == "word":
            return True, _WORDS[token] if token in _WORDS else self._left_out()
        if kind == "whole":
            return True, self._whole(token)
        number = float(token)
        return True, number if math.isfinite(number) else self._left_out()

    def _end(self, kind: str, token: str, stack: list[tuple[Any, str | None]]) -> tuple[bool, Any]:
        holder, _ = stack[-1]
        if kind != "mark" or token != ("}" if isinstance(holder, dict) else "]"):
            raise _NotJson
        stack.pop()
        return True, holder

    def _put(self, holder: Any, key: str | None, value: Any, depth: int) -> None:
        if isinstance(holder, list):
            if value is not _LEFT_OUT:
                holder.append(value)
        elif key is not None and (depth > 1 or key):
            if key in holder:
                self._note("duplicate_keys")
            if value is not _LEFT_OUT:
                holder[key] = value
            else:
                holder.pop(key, None)
        else:
            self._note("empty_keys")

    def _key_of(self, kind: str, depth: int) -> str:
        if kind != "text":
            raise _NotJson
        key = self._string(is_key=depth == 1)
        match = _TOKEN.match(self._text, self._place)
        if match is None or match["mark"] != ":":
            raise _NotJson
        self._place = match.end()
        return key

    def _string(self, *, is_key: bool = False) -> str:
        try:
            text, self._place = scanstring(self._text, self._place, True)
        except ValueError:
            raise _NotJson from None
        repaired = _HALF_PAIR.sub("\ufffd", text)
        if is_key:
            self._key = repaired
        if repaired != text:
            self._note("lone_surrogates")
        return repaired

    def _whole(self, token: str) -> int | str:
        """An integer of 64 bits, with or without a sign; a longer one as it is written."""
        if len(token) < _LEAST_LONG:
            return int(token)
        if len(token) <= _MOST_LONG and -(1 << 63) <= (number := int(token)) < 1 << 64:
            return number
        self._note("integers_as_text")
        return token

    def _left_out(self) -> Any:
        self._note("not_finite")
        return _LEFT_OUT

    def _note(self, kind: str) -> None:
        self._changes.append((kind, self._key))


_LEAST_LONG = 19
_MOST_LONG = 20


def _key_count(value: Any) -> int:
    """Keys of all objects in a value."""
    count = 0
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if type(item) is dict:
            count += len(item)
            waiting += item.values()
        elif type(item) is list:
            waiting += item
    return count
