"""What sources say of ids, cut, packed and put together again, against plain dicts."""

from __future__ import annotations

import functools
import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.exports.link_tables import as_strings, graph_of, source_of
from tests.transforms.evidence.test_links import PATHS, Row, as_dict
from transforms.arrow.numbering import Numbering
from transforms.errors import AccountingError
from transforms.evidence import tables as module
from transforms.evidence.links import LINKS, split
from transforms.evidence.sources import by_profile, pack_source, place_of, unpack_source
from transforms.evidence.tables import LinkTable
from transforms.identity.gathering import Gathered
from transforms.identity.graph import undirected


def random_links(seed: int) -> list[Row]:
    chance = random.Random(seed)
    events = chance.sample(["", "a", "\uffff", "\U0001f600", "12345678a", "12345678b"], 2)
    names = chance.choice(["pé", ["\uffff", "\U0001f600"], ["s", *("long" * 20 + end for end in "pq")]])
    return [
        {
            "rank": (rank := chance.randint(0, 3)),
            "a": chance.choice(names),
            "b": chance.choice(["u", *names]),
            "time": chance.randint(0, 1),
            "event_id": chance.choice([*events, "12345678a", "12345678b"]),
            "file": chance.choice(PATHS),
            "last": chance.randint(1, 3) if rank == 3 else 0,
        }
        for _ in range(chance.randint(0, 60))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_unique_links_do_not_depend_on_order_or_blocks(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, chance = random_links(seed), random.Random(seed)
    size = chance.randint(1, 7)
    expected: dict[tuple[int, str, str], tuple[Any, ...]] = {}
    for row in rows:
        key, evidence = (row["rank"], row["a"], row["b"]), (row["time"], row["event_id"].encode(), row["file"].encode())
        least, last = expected.get(key, (evidence, 0))
        expected[key] = (min(evidence, least), max(last, row["last"]))
    nodes = {(kind, name) for rank, a, b in expected for kind, name in ((2, a), ((1, 2, 0, 0)[rank], b))}
    for compaction, ids_at_once in ((2, 1), (1000, 1 << 20), (2, 1 << 20)):
        monkeypatch.setattr("transforms.evidence.tables._ROWS_A_COMPACTION", compaction)
        monkeypatch.setattr("transforms.identity.gathering._IDS_AT_ONCE", ids_at_once)
        sources = [source_of(rows[at : at + size]) for at in range(0, len(rows), size)]
        parts = [part for number, source in enumerate(sources) for part in pack_source(number, source)]
        gathered = Gathered(chance.sample(parts, len(parts)), keep_externals=True)
        names = [numbering.names for numbering in gathered.numberings]
        links = gathered.links()
        assert links.schema.equals(LINKS)
        assert as_dict(as_strings(names, links)) == expected
        keys = [(row["rank"], row["a"], row["b"]) for row in links.to_pylist()]
        assert keys == sorted(keys)
        assert {(kind, name) for kind in range(3) for name in names[kind].to_pylist()} == nodes
        for number, source in enumerate(sources):  # each source's numbers stand for its ids, in their order
            for kind in range(3):
                ids = names[kind].take(pa.array(gathered.numbers[number][kind]))
                assert ids.to_pylist() == source.names[kind].to_pylist()
        graph, place = gathered.graph()
        assert graph.names.to_pylist() == [
            name for _, name in sorted(nodes, key=lambda node: (node[0], node[1].encode()))
        ]
        assert names[2].take(pa.array(np.argsort(place))).to_pylist() == graph.of_type(2).to_pylist()
        rows = chance.sample(rows, len(rows))


def test_memory_follows_distinct_links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROWS_A_COMPACTION", 100)
    table = LinkTable()
    for time in range(100):
        rows = [{"rank": 0, "a": n, "b": 0, "time": time, "event_id": "", "file": "f", "last": 0} for n in range(50)]
        table.add(pa.Table.from_pylist(rows, schema=LINKS))
        assert sum(part.num_rows for part in table._pending) <= 200
    assert table.result().num_rows == 50


def test_only_what_a_link_has_earlier_evidence_of_goes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROWS_A_COMPACTION", 0)
    first = {"rank": 0, "a": 3, "b": 4, "time": 1, "event_id": "", "file": "f", "last": 0}
    table = LinkTable()
    table.add(pa.Table.from_pylist([first], schema=LINKS))
    others = [{**first, "rank": 1, "time": 5}, {**first, "a": 4, "b": 3, "time": 5}, {**first, "b": 5, "time": 5}]
    rows = pa.Table.from_pylist([first, {**first, "time": 5}, {**first, "time": 0}, *others], schema=LINKS)
    keys, times = module._keys(rows), np.asarray(rows["time"])
    assert table._says_it(keys, times, np.asarray(rows["last"])).tolist() == [False, True, False, False, False, False]
    table.add(rows)
    assert table.result().num_rows == 4


def test_strings_keep_their_numbers_whatever_comes_later() -> None:
    numbering = Numbering()
    columns = [
        pa.array(["x", None, "y"]),
        pa.array([], pa.string()),
        pa.array(["y"], pa.large_string()),
        pa.array([None], pa.string()),
    ]
    assert [numbers.tolist() for numbers in numbering.number(columns)] == [[0, -1, 1], [], [1], [-1]]
    assert [numbers.tolist() for numbers in numbering.number([pa.array(["z", "x"])])] == [[2, 0]]
    assert numbering.names.to_pylist() == ["x", "y", "z"]
    assert numbering.number([]) == []


def test_a_source_travels_in_parts_that_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(5)
    rows: list[dict[str, Any]] = [
        {"rank": rank, "a": f"p{chance.random()}", "b": f"b{chance.random()}", "time": 1, "event_id": "e", "file": "f"}
        for rank in (0, 1, 2) * 50
    ]
    source = source_of(rows, [(1, "alone"), (3, "asked")], deleted=[rows[7]["a"], "gone"])
    monkeypatch.setattr("transforms.evidence.sources.MAX_BLOCK", 2000)
    monkeypatch.setattr("transforms.evidence.sources.split", functools.partial(split, max_bytes=2000))
    parts = pack_source(7, source)
    assert len(parts) >= 5
    assert max(map(len, parts)) < 4500
    assert [place_of(part) for part in parts] == [(7, at, len(parts)) for at in range(len(parts))]
    again = unpack_source(parts)
    assert [names.to_pylist() for names in again.names] == [names.to_pylist() for names in source.names]
    assert again.links.to_pylist() == source.links.to_pylist()
    assert (again.deleted.tolist(), again.told) == (source.deleted.tolist(), source.told)
    assert again.anonymous.tolist() == source.anonymous.tolist() != [0] * len(source.anonymous)
    for broken, what in ((parts[1:], "lost"), ([*parts, parts[2]], "doubled"), ([*parts[:3], parts[2]], "doubled")):
        with pytest.raises(AccountingError, match=f"the runner {what} elements"):
            Gathered(broken)


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_shards_of_a_source_say_together_what_it_says(count: int) -> None:
    for seed in range(20):
        nodes = [(1, "alone"), (0, "x"), (2, "p"), (3, "asked"), (3, "other")]
        source = source_of(random_links(seed), nodes, deleted=["p", "unheard of"])
        cut, position = by_profile(source, count)
        assert cut[0][0] == 0
        told: list[str] = []
        links: list[Row] = []
        gone: list[str] = []
        homes: dict[str, int] = {}
        anonymous: dict[str, int] = {}
        named: dict[int, set[str]] = {kind: set() for kind in range(4)}
        for shard, part in cut:
            assert part.begin == len(told)
            profiles = part.names[2].to_pylist()
            told += profiles[: part.told]
            assert not part.anonymous[part.told :].any()
            anonymous |= dict(zip(profiles[: part.told], part.anonymous.tolist(), strict=False))
            homes |= dict.fromkeys(profiles[: part.told], shard)
            gone += [profiles[at] for at in part.deleted]
            found = as_strings(part.names, part.links)
            assert {row["a"] for row in found} <= set(profiles[: part.told])
            links += found
            for kind in range(4):
                texts = part.names[kind].to_pylist()
                assert len(texts) == len(set(texts))
                named[kind] |= set(texts)
        assert len(homes) == len(told)
        assert anonymous == dict(zip(source.names[2].to_pylist(), source.anonymous.tolist(), strict=True))
        assert [told[at] for at in position] == source.names[2].to_pylist()
        everything = as_strings(source.names, source.links)
        assert sorted(map(str, links)) == sorted(map(str, everything))
        assert sorted(gone) == sorted(source.names[2].take(pa.array(source.deleted)).to_pylist())
        assert named == {kind: set(source.names[kind].to_pylist()) for kind in range(4)}


def test_orphan_links_of_both_directions_are_one_with_the_lesser_evidence() -> None:
    rows: list[dict[str, Any]] = [
        {"rank": 1, "a": "p1", "b": "p2", "time": 20, "event_id": "x", "file": "f"},
        {"rank": 1, "a": "p2", "b": "p1", "time": 10, "event_id": "y", "file": "f"},
        {"rank": 1, "a": "p2", "b": "p3", "time": 10, "event_id": "y", "file": "f"},
        {"rank": 0, "a": "p2", "b": "p1", "time": 30, "event_id": "z", "file": "f"},
    ]
    left = undirected(graph_of(rows))
    ends = [(rank, left.name(a), left.name(b)) for rank, a, b in zip(left.rank, left.a, left.b, strict=True)]
    assert ends == [(0, "p2", "p1"), (1, "p2", "p1"), (1, "p2", "p3")]
    assert [ends[at] for at in left.order] == ends
    assert left.links["event_id"].to_pylist() == ["z", "y", "y"]


@pytest.mark.parametrize("seed", range(40))
def test_of_two_directions_the_one_with_the_least_evidence_stays(seed: int) -> None:
    chance = random.Random(seed)
    names = ["p", "q", "\uffff", "\U0001f600"]
    found = {
        (row["a"], row["b"]): row
        for row in (
            {
                "rank": 1,
                "a": chance.choice(names),
                "b": chance.choice(names),
                "time": chance.randint(0, 1),
                "event_id": chance.choice(["", "a", "\uffff"]),
                "file": chance.choice(PATHS),
            }
            for _ in range(20)
        )
        if row["a"] != row["b"]
    }

    def strength(row: Row) -> tuple[Any, ...]:
        return row["time"], *(row[name].encode() for name in ("event_id", "file", "a", "b"))

    expected = {(a, b) for (a, b), row in found.items() if strength(row) <= strength(found.get((b, a), row))}
    left = undirected(graph_of(chance.sample(list(found.values()), len(found))))
    assert {(left.name(a), left.name(b)) for a, b in zip(left.a, left.b, strict=True)} == expected
    assert sorted(left.order.tolist()) == list(range(len(expected)))
