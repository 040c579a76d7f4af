"""Places that only Beam's FileSystems can reach, here a made scheme over a folder of this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from apache_beam.io.filesystem import BeamIOError, FileMetadata
from apache_beam.io.localfilesystem import LocalFileSystem

from tests.commands import several_units
from transforms.errors import Conflict, DataChanged, StoreError, StoreUnavailable
from transforms.stores.store import Store, join, store_for

ROOTS: list[str] = []


class MadeFileSystem(LocalFileSystem):
    """made://x is the file x of a test's folder."""

    @classmethod
    def scheme(cls) -> str:
        return "made"

    def join(self, basepath: str, *paths: str) -> str:
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path: str) -> tuple[str, str]:
        head, _, tail = path.rpartition("/")
        return head, tail

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        folder = os.path.dirname(_local(dir_or_prefix))
        for found in super()._list(folder):
            name = os.path.relpath(found.path, ROOTS[-1]).replace(os.sep, "/")
            yield FileMetadata(f"made://{name}", found.size_in_bytes, found.last_updated_in_seconds)

    def create(self, path: str, *args: Any, **keywords: Any) -> Any:
        os.makedirs(os.path.dirname(_local(path)), exist_ok=True)
        return super().create(_local(path), *args, **keywords)

    def open(self, path: str, *args: Any, **keywords: Any) -> Any:
        return super().open(_local(path), *args, **keywords)

    def exists(self, path: str) -> bool:
        found: bool = super().exists(_local(path))
        return found

    def metadata(self, path: str) -> FileMetadata:
        found = super().metadata(_local(path))
        return FileMetadata(path, found.size_in_bytes, found.last_updated_in_seconds)

    def delete(self, paths: list[str]) -> None:
        for path in paths:
            os.unlink(_local(path))


class FoldersFileSystem(MadeFileSystem):
    """folders://x is likewise, listed as Beam's HDFS does it: one folder at a time, its folders as files of no size."""

    @classmethod
    def scheme(cls) -> str:
        return "folders"

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        folder = _local(dir_or_prefix)
        if not os.path.isdir(folder):
            wrong = "is not a directory" if os.path.exists(folder) else "does not exist"
            raise BeamIOError("List operation failed", {dir_or_prefix: RuntimeError(f"{dir_or_prefix} {wrong}")})
        for name in os.listdir(folder):
            status = os.stat(os.path.join(folder, name))
            size = status.st_size if os.path.isfile(os.path.join(folder, name)) else 0
            yield FileMetadata(f"{dir_or_prefix}/{name}", size, status.st_mtime)


def _local(path: str) -> str:
    return os.path.join(ROOTS[-1], path.partition("://")[2])


@pytest.fixture(params=["made", "folders"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    ROOTS.append(str(tmp_path))
    yield f"{request.param}://some/folder"
    ROOTS.pop()


@pytest.fixture
def store(place: str) -> Store:
    return store_for(place)


def test_files_are_listed_read_and_removed(place: str, store: Store) -> None:
    names = ["a", "a-b", "b/c d.avro", "b/d/[0-9]*/e?.avro", "b/é.avro", "empty"]
    for name in reversed(names):
        assert store.put_if_absent(join(place, name), b"" if name == "empty" else name.encode())
    found = list(store.list(place))
    assert [entry.path for entry in found] == [join(place, name) for name in names]
    assert [store.read(entry) for entry in found] == [*(name.encode() for name in names[:-1]), b""]
    assert [store.entry(entry.path) for entry in found] == found
    assert [entry.path for entry in store.list(place, "b/c")] == [join(place, "b/c d.avro")]
    assert [entry.path for entry in store.list(join(place, "b"), "d/[")] == [join(place, names[3])]
    assert list(store.list(join(place, "c"))) == list(store.list(join(place, "a"))) == []
    assert store.entry(join(place, "b")) is None
    assert store.is_folder(join(place, "b"))
    assert not store.is_folder(join(place, "c"))
    assert store.get(join(place, "c")) is None
    store.delete([entry.path for entry in found] + [join(place, "never there")])
    assert [entry for entry in store.list(place) if not os.path.isdir(_local(entry.path))] == []


def test_a_file_is_the_one_that_was_listed(place: str, store: Store) -> None:
    path = join(place, "file")
    store.put(path, b"first")
    (listed,) = store.list(place)
    store.put(path, b"and more")
    with pytest.raises(DataChanged, match="changed while the run was reading it"):
        store.read(listed)
    store.delete([path])
    with pytest.raises(DataChanged, match="is gone now"):
        store.read(listed)


def test_names_are_looked_at_before_they_are_written(place: str, store: Store) -> None:
    path = join(place, "file")
    assert store.put_if_absent(path, b"ours")
    assert not store.put_if_absent(path, b"ours")
    with pytest.raises(Conflict, match="holds other bytes"):
        store.put_if_absent(path, b"mine")
    found = store.load(path)
    assert found is not None
    store.put(path, b"longer", found[1])
    with pytest.raises(Conflict):
        store.put(path, b"longest", found[1])


@pytest.mark.parametrize("failing", ["_list", "metadata", "delete"])
def test_an_error_is_no_missing_file(failing: str, place: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    path = join(place, "file")
    store.put(path, b"x")

    def fail(*_: object) -> NoReturn:
        raise BeamIOError("failed", {path: RuntimeError("no answer")})

    for system in (MadeFileSystem, FoldersFileSystem):
        monkeypatch.setattr(system, failing, fail)
    acts = {"_list": store.is_folder, "metadata": store.get, "delete": _delete_one(store)}
    with pytest.raises(StoreError, match=r"cannot (list|look at|delete) .*no answer"):
        acts[failing](path)


def _delete_one(store: Store) -> Callable[[str], object]:
    def delete(path: str) -> None:
        store.delete([path])

    return delete


def test_hdfs_is_found_through_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HDFS_HOST", "namenode")
    monkeypatch.delenv("HDFS_PORT", raising=False)
    monkeypatch.setenv("HDFS_USER", "")
    with pytest.raises(StoreUnavailable, match="hdfs:// needs HDFS_PORT, HDFS_USER in the environment"):
        store_for("hdfs://folder/x")


@pytest.mark.parametrize("scheme", ["nosuch", "hdfs"])
def test_what_beam_does_not_know_is_refused(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"HDFS_HOST": "namenode", "HDFS_PORT": "9870", "HDFS_USER": "me"}.items():
        monkeypatch.setenv(name, value)  # of Beam's extra hadoop nothing is installed
    with pytest.raises(
        StoreUnavailable, match=f"{scheme}:// is not a store that this program or Beam can reach"
    ) as caught:
        store_for(f"{scheme}://bucket/x")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_run_reads_and_publishes_there(place: str, tmp_path: Path, small_units: None) -> None:
    several_units.write_source(tmp_path / "in")
    assert several_units.run(tmp_path / "in", tmp_path / "out") == 0
    scheme = place.partition("://")[0]
    assert several_units.run(f"{scheme}://in", f"{scheme}://elsewhere") == 0
    there, here = (several_units.published(tmp_path / name) for name in ("elsewhere", "out"))
    assert there.pop("claim") != here.pop("claim")  # a version is another thing there
    assert there == here
