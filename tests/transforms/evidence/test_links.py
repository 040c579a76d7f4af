"""Links from rows, links made unique, and their blocks, against plain dicts."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.exports.link_tables import as_strings
from transforms.arrow.columns import bytewise_order
from transforms.currents import catalog
from transforms.evidence.ids import (
    DEVICE_ID,
    DISALLOWED,
    EXTERNAL_USER_ID,
    NOBODY,
    STOCK_DEVICES,
    USER_ID,
    sent_by_connector,
    usable,
)
from transforms.evidence.links import (
    LINKS,
    NO_PROFILE,
    UnitIds,
    UnitLinks,
    pack,
    split,
    unpack,
)

Row = dict[str, Any]


def usable_by_hand(text: Any, id_type: int = USER_ID, no_id: tuple[str, ...] = ()) -> bool:
    if text is None:
        return False
    folded = text.strip().casefold()
    if id_type == EXTERNAL_USER_ID and text.strip().startswith("$device:"):
        return False
    words = DISALLOWED | NOBODY | set(no_id) | (STOCK_DEVICES if id_type == DEVICE_ID else set())
    return folded not in words and bool(folded) and set(folded) > set() and not set(folded) <= {"0", "-"}


def users(texts: pa.Array) -> list[bool]:
    found: list[bool] = usable(texts, USER_ID).tolist()
    return found


@pytest.mark.parametrize("around", ["{}", " {}", "{}\t", "\u00a0{}\u2003", "\x1f{}\x85"])
@pytest.mark.parametrize("word", [*sorted(DISALLOWED | NOBODY), "", "000", "--", "0-0", "un\u212anown", "fal\u017fe"])
def test_ids_that_name_no_one(word: str, around: str) -> None:
    texts = [around.format(text) for text in (word, word.upper(), word.title())]
    for id_type in (DEVICE_ID, EXTERNAL_USER_ID, USER_ID):
        assert usable(pa.array([*texts, None]), id_type).tolist() == [False] * 4


@pytest.mark.parametrize("around", ["{}", " {}", "\u3000{}\n"])
@pytest.mark.parametrize("device", sorted(STOCK_DEVICES))
def test_stock_devices_are_no_devices_and_may_be_anything_else(device: str, around: str) -> None:
    texts = pa.array([around.format(text) for text in (device, device.upper())])
    assert not usable(texts, DEVICE_ID).any()
    assert usable(texts, USER_ID).all()
    assert usable(texts, EXTERNAL_USER_ID).all()


def test_an_external_id_that_mixpanel_would_take_for_a_device_is_no_known_user() -> None:
    texts = pa.array(["$device:p", " $device:p", "\u00a0$device:", "$device", "$Device:p", "a$device:p", "$devices:p"])
    assert usable(texts, EXTERNAL_USER_ID).tolist() == [False] * 3 + [True] * 4
    assert usable(texts, USER_ID).all()


def test_own_words_are_nobody_in_any_case_and_alphabet() -> None:
    texts = pa.array(["Kein Nutzer", "\u2003kein nutzer", "KEIN", "ПРИВЕТ", "stra\u00dfe", "STRASSE", "kein nutzer 1"])
    no_id = ("kein nutzer", "привет", "strasse", "a word as long as any that an application could ever send")
    assert usable(texts, EXTERNAL_USER_ID, no_id).tolist() == [False, False, True, False, False, False, True]
    assert usable(texts, EXTERNAL_USER_ID).all()


def test_the_connector_sends_what_is_not_empty_and_not_refused_by_mixpanel() -> None:
    sent = ["guest", "(null)", "ada", " ", "000", "$device:p", "\u00e9", "null.", "9774d56d682e549c"]
    refused = ["", None, "null", "NULL", " None ", "0", "-1", "00000000-0000-0000-0000-000000000000", "\u2003nil", "[]"]
    assert sent_by_connector(pa.array(sent)).tolist() == [True] * len(sent)
    assert sent_by_connector(pa.array(refused)).tolist() == [False] * len(refused)
    assert sent_by_connector(pa.array([*sent, "x" * 1_000_000])).tolist() == [True] * len(sent) + [False]


def test_usable_ids_stay_usable() -> None:
    texts = ["0a", "00-1", "-", "a nil", "nil.", "anonymou", "1", "-2", "é", " x ", "000é", "nonе", "[ ]", "0\u00a00"]
    expected = [text != "-" for text in texts]
    assert users(pa.array(texts)) == expected
    assert users(pa.array(texts)[3:9]) == expected[3:9]
    assert users(pa.array(texts, pa.large_string())) == expected


WORDS = [*sorted(DISALLOWED | NOBODY | STOCK_DEVICES), "$device:", "$", " ", "0", "É", "\u2003", "-"]
SOME = st.one_of(st.sampled_from(WORDS), st.text(max_size=4))


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.tuples(SOME, SOME).map("".join)), max_size=20),
    st.integers(0, 3),
    st.sampled_from([DEVICE_ID, EXTERNAL_USER_ID, USER_ID]),
    st.lists(SOME.map(lambda text: text.strip().casefold()), max_size=2).map(tuple),
)
def test_usable_ids_are_those_of_the_rule_by_hand(
    texts: list[str | None], skip: int, id_type: int, no_id: tuple[str, ...]
) -> None:
    array = pa.array(texts, pa.string())[skip:]
    expected = [usable_by_hand(text, id_type, no_id) for text in texts[skip:]]
    assert usable(array, id_type, no_id).tolist() == expected


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.sets(st.one_of(st.text(max_size=5), st.text("a\0é", max_size=20), st.text("a\0", min_size=38, max_size=50))))
def test_the_bytewise_order_of_texts_is_that_of_their_utf_8(texts: set[str]) -> None:
    array = pa.array(list(texts), pa.string())
    assert array.take(pa.array(bytewise_order(array))).to_pylist() == sorted(texts, key=str.encode)


IDS = [None, "x", "y", "é", "nil", " 0 ", "X", "\U0001f600"]
EVENTS = [None, "", "a", "é", "\uffff", "\U0001f600", "12345678a", "12345678b"]


def random_rows(seed: int) -> list[Row]:
    """Dense rows: few values, so that most links and much evidence come twice."""
    chance = random.Random(seed)
    ids = chance.sample(IDS, chance.randint(2, len(IDS)))
    events = chance.sample(EVENTS, chance.randint(1, 3))
    return [
        {
            **{name: chance.choice(ids) for name in ("user_id", "external_user_id", "device_id", "orphaned_by_id")},
            "machine_open": chance.choice([None, "true", "false"]),
            "event_id": chance.choice(events),
            "time": chance.randint(-1, 1),
            "evidence": chance.random() < 0.8,
            "file": chance.randint(0, 2),
        }
        for _ in range(chance.randint(0, 40))
    ]


TYPES = [
    "users.behaviors.app.SessionStart",
    "users.messages.email.Open",
    "users.messages.webhook.Send",
    "users.UserOrphan",
]
PATHS = ["z/\U0001f600.avro", "z/\uffff.avro", "a.avro"]


def links_by_hand(
    event_type: str, rows: list[Row]
) -> tuple[dict[tuple[int, str, str], tuple[Any, ...]], set[tuple[int, str]]]:
    found: dict[tuple[int, str, str], tuple[Any, ...]] = {}
    nodes: set[tuple[int, str]] = set()
    for row in rows:
        if not row["evidence"]:
            continue
        ends = [(0, "external_user_id", 1)]
        if "webhook" not in event_type and row.get("machine_open") != "true":
            ends.append((2, "device_id", 0))
        if event_type == "users.UserOrphan":
            ends = [(1, "orphaned_by_id", 2)]
        a = row["user_id"]
        if usable_by_hand(a):
            nodes.add((2, a))
        for rank, column, kind in ends:
            b: Any = row.get(column)
            if not usable_by_hand(b):
                continue
            nodes.add((kind, b))
            if usable_by_hand(a) and (rank != 1 or a != b):
                evidence = row["time"], (row["event_id"] or "").encode(), PATHS[row["file"]].encode()
                bound = rank == 2 and event_type in catalog.event_types() and catalog.event_types()[event_type].bound
                for kind_of_link in (rank, 3) if bound else (rank,):
                    latest = row["time"] if kind_of_link == 3 else 0
                    least, last = found.get((kind_of_link, a, b), (evidence, latest))
                    found[kind_of_link, a, b] = (min(evidence, least), max(last, latest))
    return found, nodes


def as_dict(rows: list[Row]) -> dict[tuple[int, str, str], tuple[Any, ...]]:
    found = {
        (row["rank"], row["a"], row["b"]): (
            (row["time"], row["event_id"].encode(), row["file"].encode()), row["last"]
        )
        for row in rows
    }  # fmt: skip
    assert len(found) == len(rows)
    return found


def take_rows(
    event_type: str, rows: list[Row], absent: set[str], size: int = 1000, no_id: tuple[str, ...] = ()
) -> UnitIds:
    """What a unit of these rows says, which come ``size`` at a time, the last of the unit first."""
    found = UnitLinks(PATHS, no_id)
    for begin in reversed(range(0, len(rows), size)):
        part = rows[begin : begin + size]
        names = {"user_id", "external_user_id", "device_id", "orphaned_by_id", "machine_open"}
        columns = {name: pa.array([row[name] for row in part], pa.string()) for name in names - absent}
        found.add(
            event_type,
            **{"user_id": None, **columns},
            event_id=pa.array([row["event_id"] for row in part], pa.string()),
            time=pa.array([row["time"] if row["evidence"] else None for row in part], pa.int64()),
            evidence=np.array([row["evidence"] for row in part], dtype=bool),
            file_index=np.array([row["file"] for row in part], dtype=np.int32),
            unit_row=np.arange(begin, begin + len(part)),
            deletes=np.array([row["machine_open"] == "true" for row in part], dtype=bool),
        )
    return found.result(len(rows))


@pytest.mark.parametrize("event_type", TYPES)
@pytest.mark.parametrize("seed", range(25))
def test_the_links_of_rows_are_those_found_by_hand(seed: int, event_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = random_rows(seed)
    columns = ["user_id", "external_user_id", "device_id", "orphaned_by_id", "machine_open"]
    absent = set(random.Random(seed).sample(columns, 2)) if seed % 4 == 0 else set()
    expected, nodes = links_by_hand(event_type, [{**row, **dict.fromkeys(absent)} for row in rows])
    for at_once, size in ((1 << 18, 1000), (1 << 18, 3), (4, 3)):
        monkeypatch.setattr("transforms.evidence.links._ROWS_AT_ONCE", at_once)
        said = take_rows(event_type, rows, absent, size)
        assert said.links.schema.equals(LINKS)
        assert as_dict(as_strings(said.names, said.links)) == expected
        assert sorted((kind, name) for kind in range(3) for name in said.names[kind].to_pylist()) == sorted(nodes)
        profiles = [said.names[2][int(at)].as_py() if at != NO_PROFILE else None for at in said.profile]
        if "user_id" not in absent:
            known = {name for kind, name in nodes if kind == 2}
            assert profiles == [row["user_id"] if row["user_id"] in known else None for row in rows]
            gone = {row["user_id"] for row in rows if row["evidence"] and row["machine_open"] == "true"}
            assert {said.names[2][int(at)].as_py() for at in said.deleted} == {
                name for name in gone if usable_by_hand(name)
            }
        else:
            assert set(profiles) <= {None}


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_any_string_type_will_do(kind: pa.DataType) -> None:
    columns = {
        name: pa.array(["x", None, "y"], pa.string()).cast(kind) for name in ("user_id", "device_id", "event_id")
    }
    if not pa.types.is_dictionary(kind):
        columns["user_id"] = pa.chunked_array([columns["user_id"].slice(0, 1), columns["user_id"].slice(1)])
    found = UnitLinks(["f"])
    found.add(
        "users.a",
        **columns,
        time=pa.array([1, 2, 3]),
        evidence=np.ones(3, dtype=bool),
        file_index=np.zeros(3, dtype=np.int32),
        unit_row=np.arange(3),
    )
    said = found.result(3)
    rows = as_strings(said.names, said.links)
    assert as_dict(rows) == {(2, "x", "x"): ((1, b"x", b"f"), 0), (2, "y", "y"): ((3, b"y", b"f"), 0)}
    assert sum(map(len, said.names)) == 4


def test_blocks_carry_any_rows_in_equal_bytes() -> None:
    names = [f"{n * 2654435761 % 2**32:024x}" for n in range(3000)]
    numbers = [n * 7919 % 3000 for n in range(3000)]
    columns = {
        "rank": [0] * 3000,
        "a": numbers,
        "b": numbers,
        "time": range(3000),
        "event_id": names,
        "file": ["f"] * 3000,
        "last": [0] * 3000,
    }
    table = pa.table(columns, schema=LINKS)
    chunked = pa.concat_tables([table.slice(0, 17), table.slice(17)])
    assert unpack(pack(chunked)).equals(table)
    assert pack(chunked) == pack(table) == pack(pa.table(columns, schema=LINKS))
    blocks = split(table, 5000)
    assert blocks == split(pa.Table.from_pylist(table.to_pylist(), schema=LINKS), 5000)
    assert blocks == [pack(pa.Table.from_pylist(unpack(block).to_pylist(), schema=LINKS)) for block in blocks]
    assert max(map(len, blocks)) <= 5000
    assert pa.concat_tables([unpack(block) for block in blocks]).equals(table)
    assert split(table.slice(0, 0)) == []
    assert len(split(table.slice(0, 2), 1)) == 2
