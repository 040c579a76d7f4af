"""Which fields are personal: those that Braze marks so, and those that hold personal values without a mark."""

from __future__ import annotations

import functools

from transforms.currents import catalog

IDS = ("user_id", "external_user_id")
"""Braze marks them on every type; they are hashed everywhere or nowhere, so ``pii`` leaves them out."""

UNMARKED = frozenset(
    (
        *("message_body", "media_urls", "quick_reply_text"),
        *("from_phone_number", "inbound_phone_number", "to_phone_number", "user_phone_number", "phone_number"),
        *("sending_ip", "user_agent", "bsuid", "native_line_id", "from_rcs_sender", "to_rcs_sender"),
        *("push_token", "push_to_start_token", "update_token", "push_token_device_id"),
        *("web_push_token_public_key", "web_push_token_user_auth", "web_push_token_vapid_public_key"),
        *("raw_response", "retry_log", "endpoint_url", "tool_arguments"),
        *("answer_long_string", "answer_single_string", "answer_multiple_strings"),
    )
)
"""Fields with what people wrote, addresses, tokens and answers of other systems, which Braze does not mark.

``device_id``, ``timezone``, ``properties`` and ``custom_attributes`` are not among them: without the first two much of
a measurement is lost, and documents are ruled key by key.
"""


def is_marked(event_type: str, field: str) -> bool:
    """Whether Braze marks the field of this type as personal; of a type that the catalogue lacks, of any type."""
    known = catalog.event_types().get(event_type)
    if known is None or field not in known.properties:
        return field in marked_anywhere()
    return field in _marked()[event_type]


def is_personal(event_type: str, field: str) -> bool:
    """Whether the field is marked, on this type or on another one, or known to be personal without a mark."""
    return is_marked(event_type, field) or field in marked_anywhere() or field in UNMARKED


@functools.cache
def marked_anywhere() -> frozenset[str]:
    """Fields that Braze marks on at least one type."""
    return frozenset[str]().union(*_marked().values())


@functools.cache
def _marked() -> dict[str, frozenset[str]]:
    return {
        name: frozenset(field.name for field in kind.fields if "pii" in field.flags)
        for name, kind in catalog.event_types().items()
    }
