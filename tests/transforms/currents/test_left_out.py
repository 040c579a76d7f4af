"""What is listed and not read: by name, by date, by flag, because it is archived; and that each is counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.servers.emulators import Emulator
from transforms.currents import listing
from transforms.currents.left_out import Kind, LeftOut, Listing, kind_of
from transforms.currents.listing import discover, survey
from transforms.errors import InputError, NoFilesFound
from transforms.report import not_read
from transforms.stores.store import Entry, join, store_for

HOUR = 1_743_526_800  # 2025-04-01T17:00:00Z
DAY_FOLDER = "event_type=x/date=2025-04-01/a.avro"


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def listed(*inputs: Path | str, **flags: Any) -> tuple[list[str], Listing]:
    """(Names that are read, the report's ``listing``)."""
    left_out = LeftOut()
    names = [file.name for file in discover([str(source) for source in inputs], left_out=left_out, **flags)]
    return names, left_out.figures(flags.get("read_until"))


def counts(found: Listing) -> dict[str, int]:
    return {reason: one["files"] for reason, one in found["not_read"].items()}


# Names


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("event_type=x/a.avro", Kind.DATA),
        ("A.AVRO", Kind.DATA),
        ("a.Avro", Kind.DATA),
        ("a_b/c.d.avro", Kind.DATA),
        ("._a.avro", Kind.HIDDEN),
        ("x/_temporary/0/a.avro", Kind.HIDDEN),
        (".git/a.avro", Kind.HIDDEN),
        ("_SUCCESS", Kind.HIDDEN),
        ("a.avro.gz", Kind.LOOKALIKE),
        ("a.avro.snappy", Kind.LOOKALIKE),
        ("a.AVRO.1", Kind.LOOKALIKE),
        ("part-00001", Kind.LOOKALIKE),
        ("x/part-r-00000", Kind.LOOKALIKE),
        ("000000_0", Kind.LOOKALIKE),
        ("dataexport.prod-05.S3.integration.aa+0+7", Kind.LOOKALIKE),
        ("event_type=x/date=2025-04-01-17/9f0c", Kind.LOOKALIKE),
        ("event_type%3Dx/9f0c.gz", Kind.LOOKALIKE),
        ("notes", Kind.OTHER),
        ("notes.txt", Kind.OTHER),
        ("event_type=x/readme.txt", Kind.OTHER),
        ("part-1/notes.txt", Kind.OTHER),
    ],
)
def test_the_kind_of_a_file_by_its_name(name: str, kind: Kind) -> None:
    assert kind_of(name) is kind


def test_hidden_files_and_folders_are_counted_and_not_read(tmp_path: Path) -> None:
    make(tmp_path / "in", "a.avro", "x/._a.avro", "_temporary/0/b.avro", "x/_SUCCESS", ".c/d.avro", "notes.txt")
    names, found = listed(tmp_path / "in")
    assert names == ["a.avro"]
    assert counts(found) == {"hidden": 4}
    assert found["hidden_avro"] == 3
    assert found["not_read"]["hidden"]["example"] == ".c/d.avro"
    assert found["not_read"]["hidden"]["bytes"] == sum(
        map(len, ["x/._a.avro", "_temporary/0/b.avro", "x/_SUCCESS", ".c/d.avro"])
    )
    assert not_read.in_short(found).startswith("4 files: 4 hidden")
    (told,) = not_read.warnings(found)
    assert told.startswith("3 .avro files")
    assert ".c/d.avro" in told


def test_what_is_hidden_is_read_where_the_input_names_it(tmp_path: Path) -> None:
    make(tmp_path, "_in/a.avro", "in/_x/b.avro", "in/c.avro", "in/_y/d.avro", "in/.e.avro")
    assert listed(tmp_path / "_in")[0] == ["a.avro"]
    assert listed(tmp_path / "in" / ".e.avro")[0] == [".e.avro"]
    names, found = listed(f"{tmp_path}/in/_x*")
    assert (names, counts(found)) == (["_x/b.avro"], {})
    names, found = listed(f"{tmp_path}/in/*")
    assert (names, counts(found)) == (["c.avro"], {"hidden": 3})
    names, found = listed(tmp_path / "in", tmp_path / "in" / "_x")
    assert (names, counts(found)) == (["b.avro", "c.avro"], {"hidden": 2})


def test_files_that_look_like_exports_are_warned_of_with_an_example(tmp_path: Path) -> None:
    make(tmp_path, "a.avro", "b.AVRO", "c.avro.gz", "part-00001", "d.avro.snappy", "e.txt")
    names, found = listed(tmp_path, tmp_path)  # twice: counted once
    assert (names, counts(found)) == (["a.avro", "b.AVRO"], {"other_name": 3})
    (told,) = not_read.warnings(found)
    assert told.startswith("3 files")
    assert "such as c.avro.gz" in told
    assert "gunzip" in told
    assert listed(tmp_path / "part-00001")[0] == ["part-00001"]  # named itself, it is read


def test_an_input_of_nothing_but_such_files_says_so(tmp_path: Path) -> None:
    make(tmp_path, "_x/a.avro", "c.avro.gz", "d.avro.gz")
    with pytest.raises(NoFilesFound, match=r"holds no \.avro file; 1 there: its name.*; 2 there: looks like an export"):
        listed(tmp_path)


def test_a_name_that_is_no_text_can_be_shown(tmp_path: Path) -> None:
    make(tmp_path, "a.avro")
    (Path(str(tmp_path)) / b"_\xff\n.avro".decode("utf-8", "surrogateescape")).write_bytes(b"")
    found = listed(tmp_path)[1]
    assert found["not_read"]["hidden"]["example"] == "_\ufffd\ufffd.avro"


# --skip


def test_skip_takes_globs_beside_names(tmp_path: Path) -> None:
    make(tmp_path / "in", "x/a.avro", "x/b.avro", "y/a.avro", "y/c.avro", "y/b.avro")
    assert listed(tmp_path / "in", skip=("x/*.avro",))[0] == ["y/a.avro", "y/b.avro", "y/c.avro"]
    assert listed(tmp_path / "in", skip=(f"{tmp_path}/in/**/a.avro",))[0] == ["x/b.avro", "y/b.avro", "y/c.avro"]
    names, found = listed(tmp_path / "in", skip=("a.*", "x/b.avro"))  # without a slash: wherever it lies
    assert (names, counts(found)) == (["y/b.avro", "y/c.avro"], {"skipped": 3})
    # A glob is used by a file that is named by itself too.
    assert listed(tmp_path / "in", skip=(f"{tmp_path}/in/x/b.avro", "x/*"))[0] == ["y/a.avro", "y/b.avro", "y/c.avro"]
    assert listed(tmp_path / "in", skip=("y/c.avro", "**/c.avro"))[0] == [
        "x/a.avro",
        "x/b.avro",
        "y/a.avro",
        "y/b.avro",
    ]
    with pytest.raises(NoFilesFound, match=r"--skip z\*\.avro is none of the files found"):
        listed(tmp_path / "in", skip=("z*.avro", "a.*"))


# Dates


def test_a_date_without_an_hour_is_the_whole_day(tmp_path: Path) -> None:
    day = HOUR - 17 * 3600
    make(tmp_path, DAY_FOLDER, "event_type=x/date=2025-04-02-00/b.avro")
    assert len(listed(tmp_path)[0]) == 2
    assert listed(tmp_path, since=day, until=day + 86400)[0] == [DAY_FOLDER]
    names, found = listed(tmp_path, since=day + 86400)
    assert (names, counts(found)) == (["event_type=x/date=2025-04-02-00/b.avro"], {"outside_hours": 1})
    assert listed(tmp_path, until=day + 86400)[0] == [DAY_FOLDER]


@pytest.mark.parametrize("limit", ["since", "until"])
def test_a_limit_inside_such_a_day_is_refused_by_name(limit: str, tmp_path: Path) -> None:
    make(tmp_path, DAY_FOLDER, "event_type=x/date=2025-04-01-18/b.avro")
    with pytest.raises(InputError, match=rf"--{limit} lies inside the day of \[date=2025-04-01\]"):
        listed(tmp_path, **{limit: HOUR})
    make(tmp_path, "event_type=x/date=2025-04-01-16/b.avro")
    assert len(listed(tmp_path, **{limit: HOUR}, skip=("**/date=2025-04-01",))[0]) == 1


@pytest.mark.parametrize("folder", ["date=2025-02-30-17", "date=20250401", "date=", "date=2025-04-01-24", "date=today"])
def test_a_date_that_cannot_be_read(folder: str, tmp_path: Path) -> None:
    make(tmp_path, f"{folder}/a.avro", "b.avro")
    names, found = listed(tmp_path, read_until=HOUR)
    assert names == ["b.avro", f"{folder}/a.avro"]
    assert found["unreadable_dates"] == {"files": 1, "example": f"{folder}/a.avro"}
    (told,) = not_read.warnings(found)
    assert f"such as {folder}/a.avro" in told
    for limit in ("since", "until"):
        with pytest.raises(InputError, match=r"\[date=[^\]]*\] in .* is neither an hour"):
            listed(tmp_path, **{limit: HOUR})


def test_an_hour_that_is_not_over_is_left_for_later(tmp_path: Path) -> None:
    hours = [f"date=2025-04-01-{hour}/a.avro" for hour in (16, 17, 18)]
    make(tmp_path, *hours, "date=2025-04-01/b.avro", "loose.avro")
    names, found = listed(tmp_path, read_until=HOUR)
    assert names == ["date=2025-04-01-16/a.avro", "date=2025-04-01/b.avro", "loose.avro"]
    assert counts(found) == {"unfinished_hour": 2}
    assert "2 left for later (of 2025-04-01 17:00 UTC and after)" in not_read.in_short(found)
    with pytest.raises(NoFilesFound, match=r"2 lie in an hour that is not over by the clock of this run"):
        listed(f"{tmp_path}/*-1[78]", read_until=HOUR)


# Archives


class Archive:
    """A store of which every object but the first is archived."""

    remote = True

    def list(self, folder: str, beginning: str = "") -> Any:
        for number in range(4):
            yield Entry(f"s3://b/date=2025-04-01-1{number}/a.avro", 10, "v", "GLACIER" if number else "")

    def entry(self, path: str) -> None:
        return None

    def is_folder(self, path: str) -> bool:
        return path == "s3://b"

    def absolute(self, path: str) -> str:
        return path


def test_archived_objects_are_refused_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "store_for", lambda _: Archive())
    with pytest.raises(InputError) as raised:
        survey(["s3://b"])
    assert str(raised.value).startswith(
        "3 of the files are archived, 30 bytes in all, and cannot be read as they are (such as "
        "s3://b/date=2025-04-01-11/a.avro, GLACIER): restore them (S3 Batch Operations"
    )
    assert "--skip_archived" in str(raised.value)
    assert survey(["s3://b"], until=HOUR - 6 * 3600).files == 1  # the others are not wanted
    names, found = listed("s3://b", skip_archived=True)
    assert (names, counts(found)) == (["date=2025-04-01-10/a.avro"], {"archived": 3})
    (told,) = not_read.warnings(found)
    assert told.startswith("3 files (30 bytes) are archived")


def test_the_archived_storage_classes_of_s3_are_told_from_those_that_can_be_read(s3: Emulator) -> None:
    url = s3.url("in")
    with s3.applied():
        store: Any = store_for(url)
        client, bucket = store._bucket._client, store._bucket._name
        for name in ("STANDARD", "GLACIER", "DEEP_ARCHIVE", "GLACIER_IR", "STANDARD_IA"):
            client.put_object(Bucket=bucket, Key=f"in/{name}.avro", Body=b"x", StorageClass=name)
        found = {entry.path.rpartition("/")[2]: entry.archived for entry in store.list(url)}
        assert {name for name, archived in found.items() if archived} == {"GLACIER.avro", "DEEP_ARCHIVE.avro"}
        assert found["GLACIER.avro"] == "GLACIER"
        assert all(store.entry(entry.path) == entry for entry in store.list(url))
        with pytest.raises(InputError, match=r"2 of the files are archived, 2 bytes"):
            survey([url])
        with pytest.raises(InputError, match=r"1 of the files are archived"):
            survey([join(url, "GLACIER.avro")])
        assert survey([url], skip_archived=True).files == 3


@pytest.mark.parametrize(
    ("status", "archived"),
    [
        ({"IsRestoreInProgress": False, "RestoreExpiryDate": "2030"}, ""),
        ({"IsRestoreInProgress": True}, "GLACIER"),
        ({}, "GLACIER"),
    ],
)
def test_a_restored_object_of_s3_can_be_read(s3: Emulator, status: dict[str, Any], archived: str) -> None:
    url = s3.url("in")
    with s3.applied():
        store: Any = store_for(url)
        bucket = store._bucket
        real = bucket._client.list_objects_v2

        def answer(**asked: Any) -> Any:
            found = real(**{key: value for key, value in asked.items() if key != "OptionalObjectAttributes"})
            if "OptionalObjectAttributes" in asked:
                found["Contents"][0]["RestoreStatus"] = status
            return found

        bucket._client.put_object(Bucket=bucket._name, Key="in/a.avro", Body=b"x", StorageClass="GLACIER")
        bucket._client.list_objects_v2 = answer
        assert [entry.archived for entry in store.list(url)] == [archived]


def test_objects_in_the_archive_tier_of_azure_are_refused_with_the_cure(azure: Emulator) -> None:
    url = azure.url("in")
    with azure.applied():
        store: Any = store_for(url)
        for name in ("Hot", "Cool", "Archive"):
            path = join(url, f"{name}.avro")
            store.put(path, b"x")
            store._bucket._client.get_blob_client(store._key(path)).set_standard_blob_tier(name)
        found = {entry.path.rpartition("/")[2]: entry.archived for entry in store.list(url)}
        assert found == {"Hot.avro": "", "Cool.avro": "", "Archive.avro": "Archive"}
        with pytest.raises(InputError, match=r"az storage blob set-tier"):
            survey([url])
        assert survey([url], skip_archived=True).files == 2


def test_every_store_tells_hidden_files_and_lookalikes(store_emulator: Emulator) -> None:
    url = store_emulator.url("in")
    with store_emulator.applied():
        store = store_for(url)
        for name in ("a.avro", "b.AVRO", "_x/c.avro", "y/._d.avro", "e.avro.gz", "f.txt"):
            store.put_if_absent(join(url, name), b"x")
        names, found = listed(url)
        assert (names, counts(found)) == (["a.avro", "b.AVRO"], {"hidden": 2, "other_name": 1})
        assert listed(url, skip=("*.AVRO",))[0] == ["a.avro"]
