"""JSON in a string: what Python's and JavaScript's parsers read arrives, and each change is counted by its key."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracle import values as oracle_values
from transforms.mixpanel.json_documents import key_counts, open_document, quick_object
from transforms.mixpanel.limits import compact_json

LONG = "7" * 5_000
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=4),
    st.sampled_from(["a:b", ":", '":', " :", "{", "{}", "\ud800", "\udc00x", "\U0001f4f1"]),
)
KEYS = st.sampled_from(["", "a", "b", "a:", '"', "\ud83d", " "])


class Repeated(dict[str, Any]):
    """An object that ``json`` writes with keys that may stand twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self._pairs = pairs

    def items(self) -> Any:
        return self._pairs


OBJECTS = st.deferred(lambda: st.lists(st.tuples(KEYS, VALUES), max_size=4).map(Repeated))
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(KEYS, inner), max_size=3).map(Repeated)
)


@pytest.mark.parametrize(
    ("text", "values", "changes"),
    [
        ('{"score": NaN, "plan": "gold"}', {"plan": "gold"}, [("not_finite", "score")]),
        ('{"a": Infinity, "b": -Infinity, "c": 1e400}', {}, [("not_finite", key) for key in "abc"]),
        ('{"a": [1, NaN, {"b": NaN, "c": 2}]}', {"a": [1, {"c": 2}]}, [("not_finite", "a")] * 2),
        ('{"a": 99999999999999999999}', {"a": "99999999999999999999"}, [("integers_as_text", "a")]),
        ('{"a": [-9223372036854775809]}', {"a": ["-9223372036854775809"]}, [("integers_as_text", "a")]),
        ('{"a": 18446744073709551615, "b": -9223372036854775808}', {"a": 2**64 - 1, "b": -(2**63)}, []),
        ('{"a": 9007199254740993, "b": 0.1}', {"a": 2**53 + 1, "b": 0.1}, []),
        ('{"a": ' + LONG + "}", {"a": LONG}, [("integers_as_text", "a")]),
        ('{"a": 12345678901234567890.5}', {"a": 12345678901234567890.5}, []),
        (r'{"a": "x\ud800", "b": 1}', {"a": "x\ufffd", "b": 1}, [("lone_surrogates", "a")]),
        (r'{"\udc00": 1}', {"\ufffd": 1}, [("lone_surrogates", "\ufffd")]),
        (r'{"a": "\ud83d\udcf1"}', {"a": "\U0001f4f1"}, []),
        ('{"a": 1, "b": 2, "a": 3}', {"a": 3, "b": 2}, [("duplicate_keys", "a")]),
        ('{"a" :"http://x" , "a":3}', {"a": 3}, [("duplicate_keys", "a")]),
        ('{"a": {"b": 1, "b": 2}}', {"a": {"b": 2}}, [("duplicate_keys", "a")]),
        ('{"": 1, "a": {"": 2}}', {"a": {"": 2}}, [("empty_keys", "")]),
        ('"{\\"plan\\": \\"gold\\"}"', {"plan": "gold"}, [("documents_unquoted", None)]),
        ('"null"', {}, [("documents_unquoted", None)]),
        ("null", {}, []),
        ('""', {}, []),
        ('" "', {}, []),
        (" {} ", {}, []),
        (None, {}, []),
        ("\n", {}, []),
        ('"\\"{}\\""', None, []),
        ('"text"', None, []),
        ("[]", None, []),
        ("7", None, []),
        ("NaN", {}, [("not_finite", None)]),
        ('{"a": 1', None, []),
        ('{"a": 1,}', None, []),
        ('{"a": [1,]}', None, []),
        ('{"a": 01}', None, []),
        ('{"a": +1}', None, []),
        ('{"a": -NaN}', None, []),
        ('{"a": NaN} x', None, []),
        ('{"a": NaN]', None, []),
        ('{a: NaN}', None, []),
        ('{"a": NaN, "b": "\n"}', None, []),
        ('{"a" NaN}', None, []),
        ("{,}", None, []),
    ],
)  # fmt: skip
def test_a_document_is_read_and_its_changes_are_counted(
    text: str | None, values: dict[str, Any] | None, changes: list[tuple[str, str | None]]
) -> None:
    assert open_document(text) == (values, changes)


@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"k":', "}")])
@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_nesting_however_deep_arrives_as_text(opened: str, closed: str, depth: int) -> None:
    deep = opened * depth + "1" + closed * depth
    values, changes = open_document('{"deep":' + deep + ',"plan":"gold"}')
    assert values is not None
    assert values["plan"] == "gold"
    assert compact_json(values["deep"]) == deep
    assert changes == []
    assert open_document('{"deep":' + opened * depth) == (None, [])


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(OBJECTS, st.sampled_from([None, 1]), st.sampled_from([":", " : ", ": "]))
def test_any_document_is_read_as_the_oracle_reads_it(document: Any, indent: Any, colon: str) -> None:
    text = json.dumps(document, indent=indent, separators=(",", colon))
    values, changes = open_document(text)
    assert values == oracle_values.parse_object(text)
    assert (quick(text) is not None) <= (not changes)
    orjson.dumps(values)


def quick(text: str) -> dict[str, Any] | None:
    return quick_object(text, int(key_counts(pa.array([text]))[0]))


def test_nothing_that_was_changed_takes_the_quick_way() -> None:
    for text in ('{"at": "10:30", "url": "http://x", "n": {"a": [1]}}', '{"number": 1234567890123456.25}', "{}"):
        assert quick(text) is not None, text
    for text in (
        '{"a":1,"a":2}',
        '{"a":{"a":1,"a":2}}',
        '{"":1}',
        '{"a":12345678901234567890}',
        '{"a": "b:c","a" : 1}',
    ):
        assert quick(text) is None, text
