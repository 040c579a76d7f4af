"""Globs over names, as flags take them: event types, fields, event and property names."""

from __future__ import annotations

import re


def glob_regex(pattern: str) -> str:
    """A glob over names as a regular expression: ``*`` and ``?`` match anything, brackets are themselves.

    >>> glob_regex("Email *")
    'Email\\\\ .*'
    """
    return "".join(".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern)


def is_glob(text: str) -> bool:
    """Whether the text may match more than itself."""
    return "*" in text or "?" in text
