"""Who may have an output folder, and when it is published: on the disk and on each object store, with runs in step."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.servers.emulators import Emulator
from transforms.errors import Conflict, FolderTaken, OutputFolderError, StoreError
from transforms.output import claims, folder, publication
from transforms.output.claims import claim, hold, published_by_equal, release
from transforms.output.folder import CLAIM, MANIFEST, sweep
from transforms.output.publication import Written, finish, publish_file
from transforms.output.versions import output_versions
from transforms.settings import Settings
from transforms.stores import store
from transforms.stores.store import Store, join, store_for

FILES = 12


@pytest.fixture(params=["disk", "gcs", "s3", "azure"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An output folder that is not there yet."""
    if request.param == "disk":
        yield str(tmp_path / "out")
        return
    emulator: Emulator = request.getfixturevalue(request.param)
    url = emulator.url()
    with emulator.applied():
        yield join(url, "out")


def take(output: str, tag: str = "a", **flags: Any) -> str:
    """The digest under which a run with this tag has the folder."""
    given = {"now_given": True, "overwrite": False, **flags}
    return claim(output, "files", Settings(now=1, tag=tag), f"command --tag {tag}", **given)[0]


def write(output: str, tag: str = "a") -> list[Written]:
    """The files of a run."""
    return [
        publish_file(output, f"events/part-{number:05}.ndjson.gz", f"{tag} {number}".encode(), 1)
        for number in range(FILES)
    ]


def reports(name: str) -> dict[str, bytes]:
    return {"report.json": f"json of {name}".encode(), "report.html": f"page of {name}".encode()}


def names(output: str) -> set[str]:
    return {entry.path.removeprefix(join(output, "")) for entry in store_for(output).list(output)}


def held(output: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(store_for(output).get(join(output, CLAIM)) or b"{}")
    return found


def check_published(output: str, files: Sequence[Written]) -> None:
    """The manifest names what is there, and nothing else is there."""
    named = {
        entry["path"]: entry for entry in json.loads(store_for(output).get(join(output, MANIFEST)) or b"")["files"]
    }
    assert names(output) == {*named, MANIFEST, CLAIM}
    assert {file.path for file in files} | {"report.json", "report.html"} == set(named)
    for path, entry in named.items():
        data = store_for(output).get(join(output, path))
        assert data is not None
        assert publication.describe(path, data, entry["rows"]).sha256 == entry["sha256"]


def at_once(act: Callable[[int], Any], racers: int = 6) -> list[Any]:
    """What each of some threads returns, or raises, that begin together."""
    ready = threading.Barrier(racers)

    def race(number: int) -> Any:
        ready.wait()
        try:
            return act(number)
        except Exception as error:
            return error

    with ThreadPoolExecutor(racers) as pool:
        return list(pool.map(race, range(racers)))


# Claims


def test_of_many_different_runs_one_takes_the_folder(place: str) -> None:
    outcomes = at_once(lambda number: take(place, f"tag{number}"))
    (winner,) = (number for number, outcome in enumerate(outcomes) if isinstance(outcome, str))
    assert held(place)["digest"] == outcomes[winner]
    for number, outcome in enumerate(outcomes):
        if number != winner:
            assert isinstance(outcome, OutputFolderError)
            assert f"[command --tag tag{winner}]" in str(outcome)
            assert f"[command --tag tag{number}]" in str(outcome)


def test_of_many_equal_runs_each_takes_the_folder(place: str) -> None:
    assert len(set(at_once(lambda number: take(place)))) == 1


def test_of_many_different_runs_one_takes_the_folder_of_a_failed_one(place: str) -> None:
    failed = take(place, "failed")
    write(place, "failed")
    release(place, failed)
    outcomes = at_once(lambda number: take(place, f"tag{number}"))
    (winner,) = (number for number, outcome in enumerate(outcomes) if isinstance(outcome, str))
    assert [str(outcome) for outcome in outcomes if not isinstance(outcome, (str, OutputFolderError))] == []
    assert held(place) == {
        "format": 1,
        "digest": outcomes[winner],
        "now": 1,
        "command": f"command --tag tag{winner}",
        "versions": output_versions(),
    }
    assert names(place) == {CLAIM}
    with pytest.raises(FolderTaken, match="was taken by another run"):
        hold(place, failed)


def test_a_run_killed_while_it_clears_the_folder_is_gone_on_with(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(place, take(place, "old"), write(place, "old"), reports("old"))
    monkeypatch.setattr(claims, "_CLEARING_SECONDS", 0.3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(store_for(place)), "delete", _fail)
        patch.setattr(claims, "release", _nothing)
        with pytest.raises(StoreError, match="made to fail"):
            take(place, overwrite=True)
    assert store_for(place).get(join(place, MANIFEST)) is not None  # the old run's
    digest = held(place)["digest"]
    assert not published_by_equal(place, digest)
    with pytest.raises(FolderTaken):
        hold(place, digest)
    with pytest.raises(OutputFolderError, match="belongs to another run"):
        take(place, "other")
    assert len(names(place)) > FILES
    assert take(place) == digest
    assert names(place) == {CLAIM}
    finish(place, digest, (files := write(place)), reports("new"))
    check_published(place, files)


def test_a_run_that_fails_while_it_clears_the_folder_frees_it(place: str) -> None:
    finish(place, take(place, "old"), write(place, "old"), reports("old"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claims, "own_sizes", _fail)
        with pytest.raises(StoreError, match="made to fail"):
            take(place, overwrite=True)
    take(place, "other")
    assert names(place) == {CLAIM}


def test_a_run_that_comes_between_the_look_and_the_claim_has_the_folder(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    release(place, take(place, "failed"))
    kind: Any = type(store_for(place))
    load = kind.load
    looks: list[str] = []

    def load_and_wait(self: Store, path: str) -> Any:
        found = load(self, path)
        looks.append(path)
        if len(looks) == 1:
            take(place, "quick")
        return found

    monkeypatch.setattr(kind, "load", load_and_wait)
    with pytest.raises(OutputFolderError, match=r"belongs to another run: \[command --tag quick\]"):
        take(place, "slow")


def test_a_failed_run_does_not_free_the_folder_of_an_equal_one_that_is_about_to_publish(place: str) -> None:
    digest = take(place)
    files = write(place)
    release(place, digest)
    assert held(place)["failed"] is True
    finish(place, digest, files, reports("this"))
    assert "failed" not in held(place)
    release(place, digest)
    assert "failed" not in held(place)
    with pytest.raises(OutputFolderError, match="holds a finished run"):
        take(place, "other")


def test_a_failed_run_leaves_the_claim_of_another_alone(place: str) -> None:
    digest = take(place, "a")
    release(place, digest)
    take(place, "b")
    before = held(place)
    release(place, digest)
    assert held(place) == before


def test_whether_an_equal_run_has_published(place: str) -> None:
    assert not published_by_equal(place, "none")
    digest = take(place)
    assert not published_by_equal(place, digest)
    finish(place, digest, write(place), reports("this"))
    assert published_by_equal(place, digest)
    assert not published_by_equal(place, "another")


# Publication


def test_equal_runs_that_finish_at_once_all_succeed_and_the_manifest_names_the_reports_that_stand(place: str) -> None:
    digest = take(place)
    publish_file(place, "events/part-00099.ndjson.gz", b"left over", 1)
    publish_file(place, "_plan/part-00000.units", b"units", None)
    files = write(place)
    outcomes = at_once(lambda number: finish(place, digest, files, reports(f"run {number}")), 4)
    assert outcomes == [None] * 4
    check_published(place, files)


def test_a_slow_equal_run_writes_its_reports_after_the_others_manifest(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = take(place)
    files = write(place)
    kind: Any = type(store_for(place))
    put = kind.put
    overtaken: list[str] = []

    def put_late(self: Store, path: str, data: bytes, version: str | None = None) -> None:
        if path.endswith("report.json") and not overtaken:
            overtaken.append(path)
            finish(place, digest, files, reports("the fast one"))
            check_published(place, files)
        put(self, path, data, version)

    monkeypatch.setattr(kind, "put", put_late)
    finish(place, digest, files, reports("the slow one"))
    assert overtaken
    check_published(place, files)
    assert store_for(place).get(join(place, "report.html")) == b"page of the slow one"


def test_killed_while_it_replaces_an_equal_runs_reports_a_run_is_made_again(place: str) -> None:
    digest = take(place)
    files = write(place)
    finish(place, digest, files, reports("one"))
    with pytest.raises(OutputFolderError, match="holds a finished run"):
        take(place)
    store_for(place).put(join(place, "report.json"), b"json of one that was killed")
    with pytest.raises(OutputFolderError, match="holds a finished run"):
        take(place, "other")
    assert take(place) == digest
    finish(place, digest, files, reports("two"))
    check_published(place, files)


@pytest.mark.parametrize("harm", ["gone", "another size", "taken"])
def test_nothing_is_published_over_what_another_run_did(harm: str, place: str) -> None:
    digest = take(place)
    files = write(place)
    path = join(place, files[3].path)
    if harm == "gone":
        store_for(place).delete([path])
    elif harm == "another size":
        store_for(place).put(path, b"something else")
    else:
        take(place, "b", overwrite=True)
    with pytest.raises(FolderTaken if harm == "taken" else Conflict):
        finish(place, digest, files, reports("this"))
    assert store_for(place).get(join(place, MANIFEST)) is None


def test_files_are_not_looked_at_one_by_one(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = take(place)
    files = write(place)
    kind: Any = type(store_for(place))
    entry = kind.entry
    looked_at: list[str] = []

    def counted(self: Store, path: str) -> Any:
        looked_at.append(path)
        return entry(self, path)

    monkeypatch.setattr(kind, "entry", counted)
    finish(place, digest, files, reports("this"))
    assert not [path for path in looked_at if "/events/" in path]


# Files of others


@pytest.mark.parametrize("name", ["thesis.txt", "events/2026/part-00000.ndjson.gz", "events/part-1.csv", "eventsx/a"])
def test_files_of_others_are_refused_and_never_removed(name: str, place: str) -> None:
    store_for(place).put(join(place, name), b"the only copy")
    for overwrite in (False, True):
        with pytest.raises(OutputFolderError, match=f"holds \\[{name}\\], which is not a run's"):
            take(place, overwrite=overwrite)
    sweep(place, [])
    assert names(place) == {name}


def test_of_a_foreign_place_only_the_first_name_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[int] = []

    def endless(self: Store, path: str, beginning: str = "") -> Iterator[store.Entry]:
        for number in range(1_000_000):
            listed.append(number)
            yield store.Entry(join(path, f"{number:07}.parquet"), 1, "1")

    monkeypatch.setattr(type(store_for(str(tmp_path))), "list", endless)
    with pytest.raises(OutputFolderError, match=r"holds \[0000000.parquet\]"):
        folder.refuse_foreign(str(tmp_path))
    assert listed == [0]


def test_marks_of_folders_are_nobodys_files(store_emulator: Emulator) -> None:
    place = store_emulator.url("out")
    with store_emulator.applied():
        for mark in ("", "/", "/events", "/events/", "/identities/"):
            store_for(place).put(place + mark, b"")
        digest = take(place)
        finish(place, digest, write(place), reports("this"))
        assert published_by_equal(place, digest)
        store_for(place).put(place, b"content")
        with pytest.raises(OutputFolderError, match="is a file"):
            folder.refuse_foreign(place)


def _fail(*_: Any) -> Any:
    raise StoreError("made to fail")


def _nothing(*_: Any) -> None:
    return None
