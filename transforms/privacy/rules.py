"""Rules of ``--drop`` and ``--hash``: what each names, and which of them hold for a field, property or attribute.

A rule is a Braze field (``email_address``), a field of some types (``users.messages.*:from_*``), a Mixpanel property as
it is sent (``[Custom event property] email``), an attribute of profiles (``profile:phone_number``), ``pii`` or
``pii+``. ``*`` and ``?`` match anything.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable, Sequence

from transforms.currents import catalog
from transforms.currents.globs import glob_regex, is_glob
from transforms.errors import UsageError
from transforms.privacy.marks import IDS, is_marked, is_personal

DROP, HASH = "drop", "hash"
PII, PII_PLUS = "pii", "pii+"
PROFILE = "profile:"

PROTECTED = frozenset({"id", "time", *IDS})
"""Fields that no rule but ``--hash`` of an id's own name touches: without them there is no event."""
_PROTECTED_PROPERTIES = {
    "distinct_id": "external_user_id", "$user_id": "external_user_id", "$device_id": "user_id",
}  # fmt: skip
_COMMENT = re.compile(r"(?:^|\s)#.*")


class Rule:
    """One rule, ready to be asked. All its methods take names as Braze writes them and as Mixpanel is sent them."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._marks = {PII: is_marked, PII_PLUS: is_personal}.get(text)
        types, colon, field = ("", "", text) if text.startswith("[") else _split(text)
        self.is_typed = bool(colon)
        self._types = re.compile(glob_regex(types), re.DOTALL)
        self._name = re.compile(glob_regex(field), re.DOTALL)
        self._of_profiles = text.startswith(PROFILE)
        # What every name that the rule matches begins with.
        self._literal = re.split(r"[*?]", text)[0] if not self.is_typed else None

    def of_column(self, event_type: str, column: str, property_name: str | None) -> bool:
        """Whether it names a field of a type, by itself or by the property that the field is sent as."""
        if self._marks is not None:
            return self._marks(event_type, column)
        if self.is_typed:
            return self._types.fullmatch(event_type) is not None and self._is(column)
        if self._of_profiles:
            return event_type == catalog.PROFILE_UPDATE and (self._is(column) or self._is(property_name))
        return self._is(column) or (event_type != catalog.PROFILE_UPDATE and self._is(property_name))

    def of_property(self, *names: str) -> bool:
        """Whether it names a custom property of events; ``names``: as sent, whole and cut."""
        return self._marks is None and not self.is_typed and not self._of_profiles and any(map(self._is, names))

    def of_attribute(self, *names: str) -> bool:
        """Whether it names a custom attribute of profiles; ``names``: Braze's and the one that is sent."""
        return self._of_profiles and any(map(self._is, names))

    def may_name_below(self, prefix: str) -> bool:
        """Whether it may name a property that begins with the prefix, or for "profile:" any custom attribute."""
        if prefix == PROFILE or self._of_profiles:
            return self._of_profiles and prefix == PROFILE
        if self._marks is not None or self._literal is None:
            return False
        return self._literal.startswith(prefix) or (is_glob(self.text) and prefix.startswith(self._literal))

    def _is(self, name: str | None) -> bool:
        return name is not None and self._name.fullmatch(name) is not None


@functools.lru_cache(maxsize=1024)
def rule(text: str) -> Rule:
    """The rule of a text."""
    return Rule(text)


def _split(text: str) -> tuple[str, str, str]:
    """(Glob over types, ":" or "", glob over names)."""
    if text.startswith(PROFILE):
        return "", "", text.removeprefix(PROFILE)
    types, colon, field = text.partition(":")
    return (types, colon, field) if colon else ("", "", text)


def lines_of(content: str) -> list[str]:
    """The rules of a rule file: one a line, ``#`` begins a comment.

    >>> lines_of("# people\\npii\\n\\nfrom_domain  # of campaigns")
    ['pii', 'from_domain']
    """
    found = (_COMMENT.sub("", line).strip() for line in content.splitlines())
    return [line for line in found if line]


def checked(flag: str, texts: Iterable[str]) -> tuple[str, ...]:
    """The rules once each, in one order.

    Raises:
        UsageError: one could match nothing that the catalogue knows, or names what an event cannot be without.
    """
    rules = sorted(set(texts))
    for text in rules:
        if flag == HASH and text in IDS:
            continue
        _check(flag, text)
    return tuple(rules)


def _check(flag: str, text: str) -> None:
    name = text.rpartition(":")[2] if not text.startswith(("[", PROFILE)) else ""
    if name in IDS:
        raise UsageError(
            f"--{flag} {text}: without ids nobody's rows are anybody's, and an id is hashed everywhere or nowhere: "
            f"write --hash {name}"
        )
    if name in _PROTECTED_PROPERTIES:
        raise UsageError(f"--{flag} {text}: Mixpanel needs it, and it is made of Braze's ids: write --hash "
                        f"{_PROTECTED_PROPERTIES[name]}")  # fmt: skip
    if name in PROTECTED or name == "$insert_id":
        raise UsageError(f"--{flag} {text}: Mixpanel takes no event without it: leave this rule out")
    if text in (PII, PII_PLUS) or (text.startswith("[") and len(text) > 1) or text.removeprefix(PROFILE) != text:
        if text == PROFILE:
            raise UsageError(f"--{flag} {text} names no attribute: write one, such as profile:phone_number")
        return
    asked = rule(text)
    if not any(asked.of_column(kind, field, sent) for kind, field, sent in _known_columns()):
        near = difflib.get_close_matches(text, _known_names(text), 1, 0.5)
        raise UsageError(
            f"--{flag} {text} names no field and no property that the catalogue knows"
            f"{f': did you mean {near[0]}?' if near else ''}"
        )


@functools.cache
def _known_columns() -> tuple[tuple[str, str, str | None], ...]:
    return tuple(
        (name, field.name, field.mixpanel)
        for name, kind in catalog.event_types().items()
        for field in kind.fields
        if field.name not in PROTECTED
    )


def _known_names(text: str) -> Sequence[str]:
    """What a mistyped rule may have meant."""
    if ":" in text:
        return [f"{kind}:{field}" for kind, field, _ in _known_columns()]
    names = {name for _, *both in _known_columns() for name in both if name is not None}
    return sorted({*names, *IDS, PII, PII_PLUS})
