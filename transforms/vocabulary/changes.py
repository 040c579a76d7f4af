"""What Mixpanel's limits, and odd values, change in what is sent."""

from __future__ import annotations

from transforms.vocabulary.terms import Labelled, Terms

LIMITS = Terms(
    "a kind of change",
    __name__,
    Labelled("events_cut", "longer than 255 bytes; cut on a character", "Event names cut"),
    Labelled("keys_cut", "longer than 255 bytes; cut on a character", "Property names cut"),
    Labelled(
        "key_collisions",
        "two names became one; the first in bytewise order stays, and of Mixpanel profile properties one of Braze's "
        "own before a custom one",
        "Properties lost to an equal name",
    ),
    Labelled(
        "nested_as_text",
        "nested too deep, too wide, or longer than 8,192 bytes as JSON",
        "Nested values sent as JSON text",
    ),
    Labelled(
        "properties_left_out",
        "more than 250 on one event (Mixpanel takes 254, and importers add their own)",
        "Properties left out",
    ),
    Labelled(
        "properties_not_json",
        "`properties`, or `custom_attributes`, held no JSON object",
        "Properties sent as plain text",
    ),
    Labelled("documents_unquoted", "the JSON object stood in a JSON string", "Documents opened twice"),
    Labelled("not_finite", "not a number, infinite, or beyond a double", "Values left out"),
    Labelled("invalid_utf8", "not UTF-8 in the export; by event type and column", "Texts sent with U+FFFD in them"),
    Labelled(
        "types_left_out",
        "the column's type in the file, or the value, cannot be made the catalogue's; by event type and column",
        "Values left out",
    ),
    Labelled(
        "bytes_as_base64",
        "not UTF-8, in a column that the catalogue lacks; by event type and column",
        "Bytes sent as base64",
    ),
    Labelled("integers_as_text", "beyond 64 bits; the text keeps their digits", "Integers sent as text"),
    Labelled("lone_surrogates", "half a surrogate pair, which UTF-8 cannot hold, became U+FFFD", "Characters replaced"),
    Labelled("duplicate_keys", "their key stood twice in one JSON object; the last one is sent", "Values left out"),
    Labelled("empty_keys", "their key in the JSON object is empty", "Values left out"),
)
