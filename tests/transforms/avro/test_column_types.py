"""Whole runs of exports whose columns have other types than the catalogue's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.whole_runs.test_values import properties, published
from transforms.currents import catalog

OPEN = "users.messages.email.Open"
UNION = ["null", "string", "long"]


def test_the_name_of_a_custom_event_in_a_union_of_types_has_no_quotes(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"id": "1", "name": "abc"}, {"id": "2", "name": 7}, {"id": "3", "name": None}]
    actual = published(tmp_path, {catalog.CUSTOM_EVENT: (rows, {"name": UNION})})
    found = sorted(json.loads(line)["event"] for line in actual.event_lines)
    assert found == ["[Braze Custom Event]", "[Braze Custom Event] 7", "[Braze Custom Event] abc"]


def test_an_open_by_a_machine_links_no_device_whatever_type_says_so(tmp_path: Path) -> None:
    for place, kind, value in (("union", UNION, "true"), ("flag", "boolean", True)):
        rows: list[dict[str, Any]] = [
            {"id": "1", "device_id": "d1", "machine_open": value},
            {"id": "2", "device_id": "d1", "user_id": "p2", "external_user_id": None, "machine_open": value},
        ]
        actual = published(tmp_path / place, {OPEN: (rows, {"device_id": "string", "machine_open": kind})})
        sent = properties(actual)
        assert [each["machine_open"] for each in sent.values()] == ["true", "true"]
        assert "$user_id" in sent["1"]
        assert "$user_id" not in sent["2"]


def test_plain_columns_of_another_type_become_the_catalogues_or_are_counted(tmp_path: Path) -> None:
    rows = [
        {"id": "1", "price": "9.99", "currency": True},
        {"id": "2", "price": "dear", "currency": False},
        {"id": "3", "price": "1e999", "currency": False},
    ]
    actual = published(tmp_path, {catalog.PURCHASE: (rows, {"price": "string", "currency": "boolean"})})
    sent = properties(actual)
    names = dict(catalog.event_types()[catalog.PURCHASE].properties)
    price, currency = str(names["price"]), str(names["currency"])
    found = {key: (each.get(price), each[currency]) for key, each in sent.items()}
    assert found == {"1": (9.99, "true"), "2": (None, "false"), "3": (None, "false")}
    assert actual.report["limits"] == {"types_left_out": {catalog.PURCHASE: {"price": 2}}}
    assert any("price" in warning for warning in actual.report["warnings"])
