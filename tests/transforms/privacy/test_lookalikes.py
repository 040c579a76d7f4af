"""Values that look personal, and values that only nearly do."""

from __future__ import annotations

import orjson
import pyarrow as pa
import pytest

from transforms.privacy.lookalikes import in_fragments, in_values, is_luhn, kinds_of


def fragment(**values: object) -> bytes:
    return b"," + orjson.dumps(values)[1:-1]


@pytest.mark.parametrize(
    ("name", "value", "kinds"),
    [
        ("note", "ada@example.org", {"email"}),
        ("note", "write to Ada <ada@example.co.uk>!", {"email"}),
        ("note", "10 @ 5 each", set()),
        ("note", "+49 30 901820", {"phone"}),
        ("note", "(555) 123-4567", {"phone"}),
        ("note", "0049301234567", {"phone"}),
        ("mobile", "5551234567", {"phone"}),
        ("mobile_phone", 4915112345679, {"phone"}),
        ("order", "5551234567", set()),
        ("day", "2026-03-01", set()),
        ("day", "01.03.2026", set()),
        ("price", "1234567.89", set()),
        ("sent", 1770000000, set()),
        ("pan", "4111 1111 1111 1111", {"card"}),
        ("pan", 5500005555555559, {"card"}),
        ("pan", "378282246310005", {"card"}),
        ("pan", "4111 1111 1111 1112", set()),
        ("host", "192.168.0.1", {"ip"}),
        ("host", "2001:db8::1", {"ip"}),
        ("host", "999.168.0.1", set()),
        ("at", "12:30:15", set()),
        ("id", "550e8400-e29b-41d4-a716-446655440000", set()),
        ("deep", [{"to": ["ada@example.org"]}, "10.0.0.1"], {"email", "ip"}),
    ],
)
def test_a_value_looks_like_what_it_is_also_where_a_whole_column_is_looked_at(
    name: str, value: object, kinds: set[str]
) -> None:
    assert kinds_of(name, value) == kinds
    plain = fragment(plan="pro", count=3)
    found = in_fragments(pa.array([plain, fragment(**{name: value}), plain], pa.large_binary()))
    assert found == {(kind, name): 1 for kind in kinds}
    texts = pa.array([orjson.dumps(value).decode(), '"pro"'])
    if not (isinstance(value, int) and kinds):  # the name of an attribute does not stand beside its value
        assert in_values(pa.array([name, "plan"]), texts) == {(kind, name): 1 for kind in kinds}


def test_an_escaped_character_hides_nothing() -> None:
    assert in_fragments(pa.array([b',"a":"ada\\u0040example.org"'], pa.large_binary())) == {("email", "a"): 1}


def test_check_digits_are_checked() -> None:
    assert [number for number in range(4111111111111100, 4111111111111120) if is_luhn(str(number))] == [
        4111111111111103, 4111111111111111,
    ]  # fmt: skip
