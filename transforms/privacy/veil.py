"""What the rules do: columns, documents, attributes and ids as they may leave. Everything here is tables in, tables
out; without a rule there is no ``Veil``, and nothing is touched.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pyarrow as pa

from transforms.arrow.columns import array
from transforms.currents import catalog
from transforms.privacy.hash_key import key_sealed_as
from transforms.privacy.hashing import Hasher
from transforms.privacy.marks import IDS
from transforms.privacy.rules import DROP, HASH, PROTECTED, rule
from transforms.settings import WITHHOLD, Settings

_ID_OF_COLUMN = {"user_id": "user_id", "orphaned_by_id": "user_id", "external_user_id": "external_user_id"}
_KEYS_KEPT = 10_000
UNOPENED = "(not JSON)"
"""Stands in figures for documents that could not be opened."""


class Veil:
    """The rules of a run, as the steps that write something ask them.

    Attributes:
        ids: the ids that are hashed wherever they stand (``user_id``, ``external_user_id``).
    """

    def __init__(
        self, drop: tuple[str, ...], hashed: tuple[str, ...], *, withholds_unknown: bool, hasher: Hasher | None
    ) -> None:
        self.ids = frozenset(hashed) & frozenset(IDS)
        self._rules = [(DROP, rule(text)) for text in drop]
        self._rules += [(HASH, rule(text)) for text in hashed if text not in self.ids]
        self._withholds_unknown = withholds_unknown
        self._hasher = hasher
        self._columns: dict[tuple[str, str, str | None], tuple[str | None, tuple[str, ...]]] = {}

    # What the rules say.

    def column(self, event_type: str, name: str, property_name: str | None) -> str | None:
        """``DROP``, ``HASH`` or None for a field of a type, and the property it is sent as (None: it is not sent)."""
        return self._said(event_type, name, property_name)[0]

    def everywhere(self, name: str) -> str | None:
        """``DROP``, ``HASH`` or None for a field wherever it stands, rules for some types apart."""
        if name in PROTECTED:
            return HASH if _ID_OF_COLUMN.get(name) in self.ids else None
        found = [action for action, each in self._rules if not each.is_typed and each.of_column("", name, name)]
        return found[0] if found else None

    def rules_of(self, event_type: str, name: str, property_name: str | None) -> tuple[str, ...]:
        """The rules, as they were written, that name a field."""
        return self._said(event_type, name, property_name)[1]

    def _said(self, event_type: str, name: str, property_name: str | None) -> tuple[str | None, tuple[str, ...]]:
        asked = (event_type, name, property_name)
        if asked not in self._columns:
            self._columns[asked] = self._say(*asked)
        return self._columns[asked]

    def _say(self, event_type: str, name: str, property_name: str | None) -> tuple[str | None, tuple[str, ...]]:
        kind = _ID_OF_COLUMN.get(name)
        if kind in self.ids:
            return HASH, (str(kind),)
        if name in PROTECTED or (event_type == catalog.PROFILE_UPDATE and name == "time_ms"):
            return None, ()
        found = [(action, each.text) for action, each in self._rules if each.of_column(event_type, name, property_name)]
        action = found[0][0] if found else None  # the rules that drop come first
        known = catalog.event_types().get(event_type)
        if self._withholds_unknown and (known is None or name not in known.properties):
            action = DROP
        return action, tuple(text for _, text in found)

    def key(self, event_type: str, *names: str) -> tuple[str | None, tuple[str, ...]]:
        """(What is done with a key of a document, by which rules).

        ``names``: of custom properties as sent, whole and cut; of custom attributes Braze's, and the one that is sent.
        """
        of_profiles = event_type == catalog.PROFILE_UPDATE
        found = [
            (action, each.text)
            for action, each in self._rules
            if (each.of_attribute(*names) if of_profiles else each.of_property(*names))
        ]
        action, texts = self._said(event_type, "custom_attributes" if of_profiles else "properties", None)
        actions = [action, *(action for action, _ in found)]
        action = DROP if DROP in actions else HASH if HASH in actions else None
        return action, (*(text for _, text in found), *texts)

    def may_name_below(self, prefix: str) -> bool:
        """Whether a rule may name a property (by its prefix) or attribute ("profile:") inside a document."""
        return any(each.may_name_below(prefix) for _, each in self._rules)

    # What they do.

    def table(self, event_type: str, table: pa.Table, properties: dict[str, str]) -> pa.Table:
        """Rows of one type without the columns that are dropped, and with hashes in those that are hashed.

        ``properties``: column to the property it is sent as. Documents of custom properties and attributes stay, but
        for those that a rule names as a whole: what is in them is ruled key by key where they are opened.
        """
        for name in table.column_names:
            action = self.column(event_type, name, properties.get(name))
            if action is None or (action == HASH and is_document(event_type, name)):
                continue
            place = table.column_names.index(name)
            if action == DROP:
                table = table.remove_column(place)
                continue
            field, values = table.schema.field(name), array(table[name])
            is_json = field.metadata is not None and b"json" in field.metadata
            made = self._hash.json_column(values) if is_json else self._hash.column(values)
            table = table.set_column(place, pa.field(name, made.type, metadata=field.metadata), made)
        return table

    def names(self, field: str, values: pa.Array) -> pa.Array:
        """Distinct values of a field, which stand outside of rows: hashed, or by a number each where it is dropped."""
        action = self.everywhere(field)
        if action == DROP:
            return pa.array([f"#{number}" for number in range(1, len(values) + 1)], values.type)
        return self._hash.column(values).cast(values.type) if action == HASH else values

    def ids_of(self, kind: str, values: pa.Array) -> pa.Array:
        """Ids of a kind as they may leave."""
        return self._hash.column(values) if kind in self.ids else values

    def id_text(self, kind: str, value: str) -> str:
        """One id of a kind as it may leave."""
        return self._hash.text(value) if kind in self.ids else value

    def leaves(self, value: Any) -> Any:
        """A JSON value, hashed leaf by leaf."""
        return self._hash.leaves(value)

    @property
    def _hash(self) -> Hasher:
        assert self._hasher is not None, "a run that hashes has a key"
        return self._hasher


class DocumentVeil:
    """What the rules do with the keys of the documents of one type; called with one, gives it as it may leave.

    Attributes:
        done: values by (``DROP`` or ``HASH``, the key as it is sent).
        met: values by rule.
    """

    def __init__(self, veil: Veil, event_type: str, names: Callable[[str], Iterable[str]], prefix: str) -> None:
        """``names``: those of a document's key that rules are asked of, the one that is sent last; ``prefix``: what
        rules that name such keys begin with.
        """
        self._veil = veil
        self._event_type = event_type
        self._names = names
        self._is_ruled = veil.may_name_below(prefix) or veil.key(event_type)[0] is not None
        self._keys: dict[str, tuple[str | None, tuple[str, ...], str]] = {}
        self.done: Counter[tuple[str, str]] = Counter()
        self.met: Counter[str] = Counter()

    def withholds_unopened(self) -> bool:
        """Whether a document that cannot be opened must stay: no key of it can be ruled where a rule may name one."""
        if self._is_ruled:
            self.done[DROP, UNOPENED] += 1
        return self._is_ruled

    def __call__(self, values: dict[str, Any]) -> dict[str, Any]:
        kept = {}
        for key, value in values.items():
            action, texts, name = self._keys.get(key) or self._key(key)
            if action is not None and value is not None:
                self.done[action, name] += 1
                self.met.update(texts)
            if action is None:
                kept[key] = value
            elif action == HASH:
                kept[key] = self._veil.leaves(value)
        return kept

    def _key(self, key: str) -> tuple[str | None, tuple[str, ...], str]:
        names = tuple(self._names(key))
        action, texts = self._veil.key(self._event_type, *names)
        found = (action, texts, names[-1])
        if len(self._keys) < _KEYS_KEPT:
            self._keys[key] = found
        return found


def is_document(event_type: str, name: str) -> bool:
    """Whether a column holds custom properties or attributes, which have names of their own."""
    if event_type == catalog.PROFILE_UPDATE:
        return name == "custom_attributes"
    return name == "properties" and event_type in (catalog.CUSTOM_EVENT, catalog.PURCHASE)


def veil_of(settings: Settings) -> Veil | None:
    """The veil of a run's settings, one in a process; None where there is nothing to veil.

    Raises:
        NoHashKey: the key of the hashes cannot be had here, or is another one.
    """
    if not settings.drop and not settings.hash and settings.unknown_fields != WITHHOLD:
        return None
    return _veil(
        settings.drop, settings.hash, settings.unknown_fields == WITHHOLD, settings.hash_key_file,
        settings.hash_key_seal,
    )  # fmt: skip


@functools.lru_cache(maxsize=16)
def _veil(
    drop: tuple[str, ...], hashed: tuple[str, ...], withholds_unknown: bool, place: str | None, seal: str | None
) -> Veil:
    hasher = None
    if seal is not None:
        hasher = Hasher(key_sealed_as(seal, place, os.environ).reveal())
    return Veil(drop, hashed, withholds_unknown=withholds_unknown, hasher=hasher)
