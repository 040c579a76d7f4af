"""Custom properties: the quick way says what the careful one says, and the limits hold at their edges."""

from __future__ import annotations

from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.mixpanel.custom_properties import CustomProperties, Notes
from transforms.mixpanel.json_documents import key_counts
from transforms.mixpanel.limits import nested

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(st.text(max_size=8) | st.just("k" * 240), VALUES, max_size=6)


def both(text: str | None, room: int = 250) -> list[tuple[bytes, dict[str, Any]]]:
    found = []
    for careful in (False, True):
        notes = Notes()
        properties = CustomProperties("[p]", ["event"], notes)
        key_count = int(key_counts(pa.array([text], pa.string()))[0])
        found.append(
            (
                properties._careful(text, room, 0) if careful else properties.fragment(text, room, 0, key_count),
                notes.counts,
            )
        )
    return found


@settings(max_examples=100, deadline=None)
@given(DOCUMENTS, st.integers(0, 8))
def test_the_quick_way_gives_what_the_careful_one_gives(document: dict[str, Any], room: int) -> None:
    quick, careful = both(orjson.dumps(document).decode(), room)
    assert quick == careful


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "  ",
        "{}",
        "null",
        "[1]",
        "7",
        "{",
        '{"a":NaN}',
        '{"a":null}',
        '{"a":1,"a":2}',
        '{"a" : "b:c", "a": 1}',
        '{"":1}',
        '{"a":12345678901234567890}',
        '{"a":"\\":"}',
    ],
)
def test_odd_documents_of_properties_are_read_alike_by_the_quick_and_the_careful_way(text: str | None) -> None:
    quick, careful = both(text)
    assert quick == careful


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ([0] * 254, True),
        ([0] * 255, False),
        ({str(n): n for n in range(254)}, True),
        ({str(n): n for n in range(255)}, False),
        ([[[0]]], True),
        ([[[[0]]]], False),
        ({"a": {"b": {"c": 1}}}, True),
        ({"a": {"b": {"c": {}}}}, False),
        (["x" * 8188], True),
        (["x" * 8189], False),
    ],
)
def test_a_nested_value_is_text_beyond_mixpanels_limits(value: Any, fits: bool) -> None:
    assert nested(value) == (value if fits else orjson.dumps(value).decode())
    fragment, _ = both(orjson.dumps({"k": value}).decode())[0]
    assert orjson.loads(b"{" + fragment[1:] + b"}") == {"[p] k": nested(value)}
