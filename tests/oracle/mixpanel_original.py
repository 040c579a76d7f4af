"""Mixpanel's Original ID Merge: clusters of distinct ids that identity events join, and nothing else does.

``$identify``, ``$create_alias`` and ``$merge`` are taken by /import, and then obeyed or not without a word to the
sender: ``failures`` says which were not. By the strictest reading of the public documentation:

- ``$identify`` joins ``$anon_id`` to ``$identified_id``; the anonymous id is a UUID of version 4, not merged yet;
- ``$create_alias`` gives ``distinct_id`` a new name, which no other id has; the name of a name is allowed;
- ``$merge`` joins exactly two ids, whatever they are, for good;
- a cluster holds at most 500 ids; what would make it larger is not joined;
- ``$user_id`` and ``$device_id`` of an event join nothing, and its person is the cluster of its ``distinct_id``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

from tests.oracle import mixpanel_rules
from tests.oracle.mixpanel_simulator import VERBS, EventKey, event_key

MAX_CLUSTER = 500
_UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)


class OriginalIdMerge:
    """One Mixpanel project on Original ID Merge; what it is fed first goes first."""

    def __init__(self, events: Iterable[dict[str, Any]] = ()) -> None:
        self._clusters: dict[str, set[str]] = {}
        self._name_of: dict[str, str] = {}  # alias -> the distinct id whose name it is
        self._ids: dict[EventKey, str] = {}
        self.failures: list[tuple[str, str]] = []  # (verb, why it had no effect)
        for event in events:
            self.feed(event)

    def feed(self, event: dict[str, Any]) -> None:
        """Take one event in; an identity event that breaks a rule has no effect."""
        name, properties = event["event"], event["properties"]
        if name not in VERBS:
            self._ids.setdefault(event_key(event), properties.get("distinct_id", ""))
            return
        why = _FEED[name](self, properties)
        if why is not None:
            self.failures.append((name, why))

    def persons(self) -> dict[EventKey, str]:
        """The person of every event fed so far but the identity events; "" where it has none."""
        return {key: self.person_of(distinct_id) for key, distinct_id in self._ids.items()}

    def person_of(self, distinct_id: str) -> str:
        """The canonical id of a cluster: one of its ids, and Mixpanel alone decides which."""
        return min(self._clusters.get(distinct_id, {distinct_id}), key=_hash) if distinct_id else ""

    def _identify(self, properties: dict[str, Any]) -> str | None:
        known, anonymous = properties["$identified_id"], properties["$anon_id"]
        if not _UUID4.fullmatch(anonymous):
            return "$anon_id is not a UUID of version 4"
        if known in self._clusters.get(anonymous, ()):
            return None
        if anonymous in self._clusters:
            return "$anon_id is merged already"
        return self._join(known, anonymous)

    def _create_alias(self, properties: dict[str, Any]) -> str | None:
        known, alias = properties["distinct_id"], properties["alias"]
        if self._name_of.get(alias) == known:
            return None
        if alias in self._name_of or alias in self._clusters:
            return "alias is taken"
        why = self._join(known, alias)
        if why is None:
            self._name_of[alias] = known
        return why

    def _merge(self, properties: dict[str, Any]) -> str | None:
        return self._join(*properties["$distinct_ids"])

    def _join(self, one: str, other: str) -> str | None:
        joined = self._clusters.get(one, {one}) | self._clusters.get(other, {other})
        if len(joined) > MAX_CLUSTER:
            return f"a cluster holds {MAX_CLUSTER} ids"
        if len(joined) > 1:
            self._clusters |= dict.fromkeys(joined, joined)
        return None


_FEED = {
    "$identify": OriginalIdMerge._identify,
    "$create_alias": OriginalIdMerge._create_alias,
    "$merge": OriginalIdMerge._merge,
}


def check_identity_event(event: dict[str, Any], now: int) -> None:
    """Check the form of one identity event for /import with strict=1; raises AssertionError naming the rule."""
    properties = event["properties"]
    assert set(event) == {"event", "properties"}, f"an event has event and properties only, not {sorted(event)}"
    mixpanel_rules.check_time(properties.get("time"), now)
    mixpanel_rules.check_insert_id(properties.get("$insert_id"))
    if event["event"] == "$merge":
        ids = properties.get("$distinct_ids")
        assert isinstance(ids, list), f"$distinct_ids is not a list: {ids!r}"
        assert len(ids) == 2, f"$distinct_ids holds {len(ids)} ids: exactly 2 are taken"
        named = [("$distinct_ids", value) for value in ids]
    else:
        keys = {"$identify": ("$identified_id", "$anon_id"), "$create_alias": ("distinct_id", "alias")}[event["event"]]
        named = [(key, properties.get(key)) for key in keys]
        own = properties.get("distinct_id", named[0][1])
        assert own == named[0][1], f"distinct_id {own!r} is not {keys[0]}"
    for name, value in named:
        mixpanel_rules.check_id(name, value)


def _hash(distinct_id: str) -> bytes:
    return hashlib.sha256(distinct_id.encode()).digest()
