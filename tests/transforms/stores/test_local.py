"""The local store: whole files or none, under their final name, whoever else is writing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from transforms.errors import Conflict, DataChanged, StoreError, StoreUnavailable
from transforms.stores import local
from transforms.stores.local import LocalStore
from transforms.stores.store import Entry, is_temporary, join, store_for

STORE = LocalStore()


def entry_of(path: Path) -> Entry:
    found = STORE.entry(str(path))
    assert found is not None
    return found


def test_a_listing_has_every_file_below_and_follows_no_link_to_a_folder(tmp_path: Path) -> None:
    (tmp_path / "x" / "y").mkdir(parents=True)
    for name in ("a", "x/b", "x/y/c"):
        (tmp_path / name).write_text(name)
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    found = {Path(entry.path).relative_to(tmp_path).as_posix(): entry.size for entry in STORE.list(str(tmp_path))}
    assert found == {"a": 1, "x/b": 3, "x/y/c": 5, "link": 1}


def test_a_listing_bears_with_files_that_go_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a").touch()
    listing = STORE.list(str(tmp_path))
    scandir = os.scandir

    def swept(folder: str) -> Any:
        if folder.endswith("x"):
            (tmp_path / "x" / "a").unlink()
            (tmp_path / "x").rmdir()
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", swept)
    assert list(listing) == []


def test_a_version_changes_with_the_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    first = entry_of(path)
    assert STORE.read(first) == b"one"
    os.utime(path, ns=(1, 1))
    assert entry_of(path).version != first.version
    with pytest.raises(DataChanged, match="changed while the run was reading it: run again"):
        STORE.read(first)
    (tmp_path / "b").write_text("one")
    os.utime(tmp_path / "b", ns=(1, 1))
    os.replace(tmp_path / "b", path)  # another file in its place, of equal size and time
    with pytest.raises(DataChanged):
        STORE.read(first._replace(version=first.version.replace(first.version.split("-")[0], "1")))
    path.unlink()
    with pytest.raises(DataChanged, match="is gone now"):
        STORE.read(first)
    assert STORE.entry(str(path)) is None


def test_put_if_absent_keeps_the_first(tmp_path: Path) -> None:
    path = str(tmp_path / "new" / "folder" / "a")
    assert STORE.put_if_absent(path, b"one")
    assert not STORE.put_if_absent(path, b"one")
    with pytest.raises(Conflict, match="holds other bytes than this run would write"):
        STORE.put_if_absent(path, b"two")
    assert STORE.get(path) == b"one"
    assert os.listdir(os.path.dirname(path)) == ["a"]


@pytest.mark.parametrize(("rival", "outcome"), [(b"mine", False), (b"other", None)])
def test_a_rival_may_be_first_at_the_last_moment(
    rival: bytes, outcome: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    link = os.link

    def beaten(source: str, target: str) -> None:
        path.write_bytes(rival)
        link(source, target)

    monkeypatch.setattr(os, "link", beaten)
    if outcome is None:
        with pytest.raises(Conflict):
            STORE.put_if_absent(str(path), b"mine")
    else:
        assert STORE.put_if_absent(str(path), b"mine") is outcome
    assert path.read_bytes() == rival
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("act", ["put", "put_if_absent"])
def test_a_temporary_file_swept_away_is_written_again(
    act: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept: list[str] = []
    write = local._write_temporary

    def written_and_swept(path: str, data: bytes) -> str:
        temporary = write(path, data)
        if not swept:
            swept.append(temporary)
            os.unlink(temporary)
        return temporary

    monkeypatch.setattr(local, "_write_temporary", written_and_swept)
    getattr(STORE, act)(str(tmp_path / "a"), b"x")
    assert swept
    assert (tmp_path / "a").read_bytes() == b"x"


def test_a_put_on_disk_replaces_what_was_there(tmp_path: Path) -> None:
    path = str(tmp_path / "a")
    STORE.put(path, b"one")
    STORE.put(path, b"two")
    assert STORE.get(path) == b"two"
    assert os.listdir(tmp_path) == ["a"]


def test_delete_takes_an_empty_folder_with_it_and_is_silent(tmp_path: Path) -> None:
    STORE.put(str(tmp_path / "x" / "a"), b"")
    STORE.put(str(tmp_path / "x" / "b"), b"")
    STORE.delete([str(tmp_path / "x" / "a")])
    assert os.listdir(tmp_path / "x") == ["b"]
    STORE.delete([str(tmp_path / "x" / "b")])
    assert not (tmp_path / "x").exists()
    STORE.delete([str(tmp_path / "x" / "b")])


def test_a_failed_write_leaves_nothing_and_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for act in (STORE.put, STORE.put_if_absent):
        with pytest.raises(StoreError, match=f"cannot write {tmp_path / 'a'}: No space left") as caught:
            act(str(tmp_path / "a"), b"x")
        assert not isinstance(caught.value, StoreUnavailable)  # the disk is not a fault of the command
    assert os.listdir(tmp_path) == []


def test_places_that_cannot_be_used_are_denied(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match=r"cannot write .*file is a file, not a folder"):
        STORE.put(str(tmp_path / "file" / "a"), b"x")
    with pytest.raises(StoreUnavailable, match="nosuch:// is not a store that this program or Beam can reach"):
        store_for("nosuch://bucket/x")
    with pytest.raises(StoreUnavailable, match=r"s3a://b/x: write s3://BUCKET/PATH instead"):
        store_for("s3a://b/x")
    with pytest.raises(StoreUnavailable, match=r"gs:/// names no bucket: write gs://BUCKET/PATH"):
        store_for("gs:///")
    assert STORE.get(str(tmp_path / "file" / "a")) is None


def test_names_on_disk_are_joined_and_temporary_ones_are_known(tmp_path: Path) -> None:
    assert join("/a/", "b", "c") == "/a/b/c"
    assert is_temporary(local._write_temporary(str(tmp_path / "a"), b""))
    assert not is_temporary("events/part-00000.ndjson.gz")
