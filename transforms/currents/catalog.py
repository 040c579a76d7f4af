"""Braze's event types: their fields, and the names Braze's own Mixpanel connector gives them.

The table is ``catalog.json``, one entry an event type; a field is ``[name, avro type, Mixpanel property]`` with an
optional list of flags (``pii``, ``json``: a JSON document in a string, ``deprecated``). A type ending in ``?`` is
nullable. A Mixpanel property of null means that the native connector drops the field; a Mixpanel event of null, that it
does not send the type at all. A type with ``"native": false`` has a form here although no page of Braze's says that the
connector sends it. Of one with ``"bound": true`` only the device that a row names, or its push token, can give rise to
the row, so that it says when a profile was there (docs/identity.md). Source: Braze's public event glossary, changelog
and sample files, up to ``RELEASE``.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from importlib import resources
from typing import Any

RELEASE = 12
"""The newest release of Currents that the catalogue has whole."""

AFTER_RELEASE = frozenset(
    {"users.campaigns.UniqueReceipt", "users.canvas.sendtodestination.NotSent", "users.canvas.sendtodestination.Sent"}
)
"""Types that Braze's sample files have had since then."""

USER_ORPHAN = "users.UserOrphan"
USER_DELETE_REQUEST = "users.UserDeleteRequest"
PROFILE_UPDATE = "users.profile.Update"
CUSTOM_EVENT = "users.behaviors.CustomEvent"
PURCHASE = "users.behaviors.Purchase"
WEBHOOKS = "users.messages.webhook."
BEHAVIORS = "users.behaviors."

# By Mixpanel's page on its Braze integration; whether it covers imports is for Mixpanel to say.
FREE_EVENTS = frozenset(
    {
        "Canvas Entry", "Email Send", "Email Delivery", "Email Bounce", "Email Soft Bounce", "Email Mark As Spam",
        "Email Unsubscribe", "Push Notification Send", "Push Notification Bounce", "Webhook Send", "SMS Send",
        "SMS Delivery", "SMS Delivery Failure", "SMS Rejection", "SMS Send to Carrier",
    }
)  # fmt: skip
"""Mixpanel's names of events that do not make a person a monthly tracked user."""

_FILLER_PARTS = frozenset({"users", "messages", "behaviors", "app"})
_CAMEL_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[_\-\s]+")


@dataclasses.dataclass(frozen=True)
class Field:
    """One column of an event type: its Avro type as written in the catalogue and its Mixpanel property (or None)."""

    name: str
    type: str
    mixpanel: str | None
    flags: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class EventType:
    """One Braze event type; ``mixpanel_event`` is None where the native connector does not send it.

    ``bound``: its rows say when a profile was on a device.
    """

    name: str
    mixpanel_event: str | None
    removed: str | None
    native: bool
    bound: bool
    fields: tuple[Field, ...]

    @functools.cached_property
    def properties(self) -> dict[str, str | None]:
        """Column name to Mixpanel property; None where the native connector drops the column."""
        return {field.name: field.mixpanel for field in self.fields}

    @property
    def sent_by_native_connector(self) -> bool:
        """Whether Braze's own connector sends this type today, as far as Braze's pages say so."""
        return self.mixpanel_event is not None and self.removed is None and self.native


@functools.cache
def event_types() -> dict[str, EventType]:
    """The whole catalogue by event type, in alphabetical order."""
    return {
        entry["event_type"]: EventType(
            name=entry["event_type"],
            mixpanel_event=entry["mixpanel_event"],
            removed=entry.get("removed"),
            native=entry.get("native", True),
            bound=entry.get("bound", False),
            fields=tuple(Field(f[0], f[1], f[2], frozenset(f[3] if len(f) > 3 else ())) for f in entry["fields"]),
        )
        for entry in entries()
    }


def entries() -> list[dict[str, Any]]:
    """The entries as they stand in the file."""
    found: list[dict[str, Any]] = json.loads(resources.files(__package__).joinpath("catalog.json").read_bytes())
    return found


def readable_name(event_type: str) -> str:
    """An event name for a type without a Mixpanel one: its last two parts, less filler, split into words.

    >>> readable_name("users.messages.newthing.ReadReceipt")
    'Newthing Read Receipt'
    >>> readable_name("users.behaviors.app.FooBar")
    'Foo Bar'
    """
    parts = [part for part in event_type.split(".")[-2:] if part and part not in _FILLER_PARTS]
    words = [word for part in parts for word in _CAMEL_BOUNDARY.split(part) if word]
    return " ".join(word[:1].upper() + word[1:] for word in words) or event_type


def mixpanel_name(event_type: str) -> str:
    """The event name under which rows of this type are sent (custom events have their own name appended)."""
    known = event_types().get(event_type)
    return known.mixpanel_event if known and known.mixpanel_event else readable_name(event_type)
