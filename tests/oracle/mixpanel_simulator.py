"""Mixpanel's Simplified ID Merge, as far as it decides who an event belongs to.

Feed events in any order, then ask for the person of each. An event's own ``$user_id`` always stays with it; the first
event holding both ids gives the device to that user for good; events that hold only the device follow, also those that
came before; a bare ``distinct_id`` is a device where it starts with ``$device:``, else a user.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

VERBS = frozenset({"$identify", "$create_alias", "$merge"})
DEVICE = "$device:"
EventKey = tuple[str, str, int, str]  # what Mixpanel tells events apart by; see event_key


def event_key(event: dict[str, Any]) -> EventKey:
    """Event name, distinct_id as sent, time and $insert_id: two events equal in all four are one to Mixpanel."""
    properties = event["properties"]
    return event["event"], properties.get("distinct_id", ""), properties["time"], properties["$insert_id"]


class SimplifiedIdMerge:
    """One Mixpanel project on Simplified ID Merge."""

    def __init__(self, events: Iterable[dict[str, Any]] = ()) -> None:
        self._user_of_device: dict[str, str] = {}
        self._ids: dict[EventKey, tuple[str | None, str | None]] = {}
        for event in events:
            self.feed(event)

    def feed(self, event: dict[str, Any]) -> None:
        """Take one event in. Raises ValueError on an identity verb: strict import refuses the whole batch."""
        if event["event"] in VERBS:
            raise ValueError(f"{event['event']} is refused by a Simplified project: send $user_id with $device_id")
        properties = event["properties"]
        user, device = properties.get("$user_id"), properties.get("$device_id")
        if user is None and device is None:
            bare = properties.get("distinct_id") or None
            if bare and bare.startswith(DEVICE):
                device = bare.removeprefix(DEVICE)
            else:
                user = bare
        elif user is not None and device is not None:
            self._user_of_device.setdefault(device, user)
        self._ids.setdefault(event_key(event), (user, device))

    def persons(self) -> dict[EventKey, str]:
        """The person of every event fed so far; "" where it has none."""
        return {key: self._person(user, device) for key, (user, device) in self._ids.items()}

    def person(self, insert_id: str) -> str:
        """The person of the one event with this ``$insert_id``; KeyError where there is none or more than one."""
        found = [self._person(*ids) for key, ids in self._ids.items() if key[-1] == insert_id]
        if len(found) != 1:
            raise KeyError(f"{len(found)} events have the $insert_id {insert_id}")
        return found[0]

    def is_person(self, distinct_id: str) -> bool:
        """Whether a distinct id is that of a person now: a device's is not, once it was linked to a user."""
        return distinct_id.removeprefix(DEVICE) not in self._user_of_device or not distinct_id.startswith(DEVICE)

    def _person(self, user: str | None, device: str | None) -> str:
        if user is not None:
            return user
        return "" if device is None else self._user_of_device.get(device, DEVICE + device)
