"""Every store does the same: the disk, and an emulator of each cloud's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.servers.emulators import Emulator
from transforms.currents.listing import survey
from transforms.errors import Conflict, DataChanged, InputError, NoFilesFound, StoreUnavailable
from transforms.stores.store import Entry, Store, join, store_for

NAMES = (
    "event_type%3Dusers.messages.email.Open/date%3D2025-04-01-17/9/us-01/a+0+1.avro",
    "event_type=users.messages.email.Open/date=2025-04-01-17/version=9/us-01/a b.avro",
    "a",
    "a-b",
    "a/b",
    "a/ü & #?.avro",
    "empty",
)


@pytest.fixture(params=["local", "gcs", "s3", "azure"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh folder in each kind of store."""
    if request.param == "local":
        yield str(tmp_path / "folder")
        return
    emulator: Emulator = request.getfixturevalue(request.param)
    url = emulator.url("some/folder")
    with emulator.applied():
        yield url


@pytest.fixture
def store(place: str) -> Store:
    return store_for(place)


def names_of(place: str, entries: Iterator[Entry]) -> list[str]:
    return [entry.path.removeprefix(join(place, "")) for entry in entries]


def test_names_come_in_the_order_of_their_bytes(place: str, store: Store) -> None:
    names = [name for name in NAMES if name != "a" or not name_clashes(place)]
    for name in names:
        store.put(join(place, name), b"" if name == "empty" else name.encode())
    store.put(join(f"{place}-beside", "other"), b"")
    assert names_of(place, store.list(place)) == sorted(names, key=str.encode)
    assert names_of(place, store.list(place, "a/")) == [
        name for name in sorted(names, key=str.encode) if name[:2] == "a/"
    ]
    assert names_of(place, store.list(place, "event_type=users.mess")) == [NAMES[1]]
    for entry in store.list(place):
        content = store.read(entry)
        assert len(content) == entry.size
        assert store.get(entry.path) == content
        assert store.load(entry.path) == (content, entry.version)
        assert store.entry(entry.path) == entry


def name_clashes(place: str) -> bool:
    """Whether a name may not be a file and a folder at once, as on a disk."""
    return "://" not in place


def test_a_listing_has_as_many_pages_as_it_needs(place: str, store: Store) -> None:
    names = [f"{number:05d}" for number in range(1100)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(store.put, [join(place, name) for name in names], [b"x"] * len(names)))
    assert names_of(place, store.list(place)) == names
    store.delete([join(place, name) for name in (*names[5:], "never there")])
    assert names_of(place, store.list(place)) == names[:5]


def test_an_object_that_is_not_there_is_none(place: str, store: Store) -> None:
    assert not store.is_folder(place)
    store.put(join(place, "a", "file"), b"x")
    assert store.is_folder(place)
    assert store.is_folder(join(place, "a"))
    assert not store.is_folder(join(place, "b"))
    assert not store.is_folder(join(place, "a", "file"))
    assert store.entry(join(place, "b")) is None
    assert store.entry(join(place, "a")) is None
    assert store.get(join(place, "b")) is None
    assert store.load(join(place, "b")) is None
    assert list(store.list(join(place, "b"))) == []


def test_a_read_is_of_the_version_that_was_listed(place: str, store: Store) -> None:
    path = join(place, "file")
    store.put(path, b"first")
    (listed,) = store.list(place)
    store.put(path, b"other")  # of the same size
    with pytest.raises(DataChanged, match="changed while the run was reading it"):
        store.read(listed)
    (listed,) = store.list(place)
    assert store.read(listed) == b"other"
    store.delete([path])
    with pytest.raises(DataChanged):
        store.read(listed)


def test_a_name_is_given_once(place: str, store: Store) -> None:
    path = join(place, "file")
    assert store.put_if_absent(path, b"ours")
    assert not store.put_if_absent(path, b"ours")
    for others in (b"oursandmore", b"mine"):
        with pytest.raises(Conflict, match="holds other bytes"):
            store.put_if_absent(path, others)
    assert store.get(path) == b"ours"


def test_one_of_many_racers_wins(place: str, store: Store) -> None:
    path = join(place, "file")
    start = threading.Barrier(16)

    def race(number: int) -> bool:
        start.wait()
        try:
            return store.put_if_absent(path, b"%02d" % number)
        except Conflict:
            return False

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(race, range(16)))
    assert sum(won) == 1
    assert store.get(path) == b"%02d" % won.index(True)


def test_a_put_may_ask_for_a_version(place: str, store: Store) -> None:
    path = join(place, "file")
    store.put(path, b"first")
    found = store.load(path)
    assert found is not None
    store.put(path, b"second", found[1])
    with pytest.raises(Conflict):
        store.put(path, b"third", found[1])
    assert store.get(path) == b"second"
    store.delete([path])
    with pytest.raises(Conflict):
        store.put(path, b"third", found[1])
    assert store.get(path) is None


@pytest.mark.slow
def test_a_large_object_comes_whole(place: str, store: Store) -> None:
    data = b"".join(number.to_bytes(4, "big") for number in range(10 << 20))
    assert store.put_if_absent(join(place, "large"), data)
    (entry,) = store.list(place)
    assert entry.size == len(data)
    assert store.read(entry) == data
    assert not store.put_if_absent(join(place, "large"), data)


def test_names_of_object_stores_alone(store_emulator: Emulator) -> None:
    place = store_emulator.url()
    with store_emulator.applied():
        store = store_for(place)
        for name in ("//twice/a.avro", "marker/", "x/y"):
            store.put(f"{place}/{name}" if name[0] != "/" else f"{place}{name}", b"x")
        assert [entry.path for entry in store.list(place)] == [f"{place}//twice/a.avro", f"{place}/x/y"]
        assert store.absolute(f"{place}/") == place
        assert store_for(join(place, "deep", "er")) is store


def test_a_folder_that_an_empty_object_marks_is_a_folder(store_emulator: Emulator) -> None:
    place = store_emulator.url("export")
    with store_emulator.applied():
        store = store_for(place)
        store.put(place, b"")
        with pytest.raises(NoFilesFound):
            survey([place])
        for name in ("a.avro", "b/c.avro", "day.avro/part-0.avro"):
            store.put(join(place, name), b"content")
        store.put(join(place, "day.avro"), b"")  # as Spark names the folder that it writes
        for typed in (place, f"{place}/", f"{place}/*"):
            export = survey([typed])
            found = [file.name for unit in export.in_order() for file in unit.files]
            assert found == ["a.avro", "b/c.avro", "day.avro/part-0.avro"]
            assert export.left_out.counts["empty_object"]["files"] == 1


def test_where_an_object_has_the_name_of_a_folder_both_forms_are_told(store_emulator: Emulator) -> None:
    place = store_emulator.url("export")
    with store_emulator.applied():
        store = store_for(place)
        store.put(place, b"content")
        assert survey([place]).files == 1
        store.put(join(place, "a.avro"), b"content")
        with pytest.raises(InputError, match="a folder too") as refused:
            survey([place])
        forms = [word.rstrip(",") for word in str(refused.value).split() if word.startswith(place[:-1])][1:]
        assert forms == [f"{place}/", f"{place[:-1]}[t]"]
        names = [[file.name for unit in survey([form]).in_order() for file in unit.files] for form in forms]
        assert names == [["a.avro"], ["export"]]


def test_who_may_not_ask_for_a_name_may_list_the_folder(
    store_emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = store_emulator.url("export")
    with store_emulator.applied():
        store: Any = store_for(place)
        store.put(join(place, "a.avro"), b"content")

        def refused(path: str) -> None:
            raise StoreUnavailable(f"cannot look at {path}: refused")

        monkeypatch.setattr(store, "entry", refused)
        assert survey([place]).files == survey([f"{place}/"]).files == 1


def test_a_page_of_a_listing_may_be_empty(store_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    place = store_emulator.url("export")
    with store_emulator.applied():
        store: Any = store_for(place)
        store.put(join(place, "a.avro"), b"content")
        page = store._bucket.page
        empty: Any = [], "more"

        def empty_first(prefix: str, token: str | None, most: int) -> Any:
            return empty if token is None else page(prefix, None, most)

        monkeypatch.setattr(store._bucket, "page", empty_first)
        assert store.is_folder(place)
        assert [entry.path for entry in store.list(place)] == [join(place, "a.avro")]


def test_a_bucket_that_is_not_there_is_named(store_emulator: Emulator) -> None:
    place = store_emulator.root("no-such-bucket")
    with store_emulator.applied():
        store = store_for(place)
        with pytest.raises(StoreUnavailable, match=f"there is no (bucket|container) {place}"):
            store.is_folder(join(place, "x"))
        with pytest.raises(StoreUnavailable, match=f"there is no (bucket|container) {place}"):
            list(store.list(place))
        with pytest.raises(StoreUnavailable, match=f"there is no (bucket|container) {place}"):
            store.put_if_absent(join(place, "x"), b"")
