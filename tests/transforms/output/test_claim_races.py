"""Folders that are taken, or begun again, while a run is at its last act: no manifest names what is gone."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.commands import several_units
from tests.transforms.output.test_claims import FILES, check_published, held, names, place, reports, take, write
from tests.whole_runs.test_regressions import SESSION, avro, put, row
from transforms.errors import Conflict, FolderTaken, OutputFolderError
from transforms.output import claims
from transforms.output.folder import MANIFEST
from transforms.output.publication import finish
from transforms.stores.store import join, store_for

__all__ = ["place"]


def test_an_equal_run_that_clears_before_the_reports_leaves_no_manifest(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, files = take(place), write(place)
    kind: Any = type(store_for(place))
    put_report = kind.put

    def put_after(self: Any, path: str, data: bytes, version: str | None = None) -> None:
        if path.endswith("report.json"):
            monkeypatch.setattr(kind, "put", put_report)
            assert take(place, overwrite=True) == digest
        put_report(self, path, data, version)

    monkeypatch.setattr(kind, "put", put_after)
    with pytest.raises(FolderTaken):
        finish(place, digest, files, reports("slow"))
    assert MANIFEST not in names(place)
    finish(place, digest, write(place), reports("new"))
    check_published(place, files)


def test_a_manifest_on_its_way_while_another_run_takes_the_folder_is_taken_back(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, files = take(place), write(place)
    kind: Any = type(store_for(place))
    put_if_absent = kind.put_if_absent

    def put_after(self: Any, path: str, data: bytes) -> bool:
        if path.endswith(MANIFEST):
            monkeypatch.setattr(kind, "put_if_absent", put_if_absent)
            take(place, "b", overwrite=True)
        done: bool = put_if_absent(self, path, data)
        return done

    monkeypatch.setattr(kind, "put_if_absent", put_after)
    with pytest.raises(FolderTaken, match="was taken by another run"):
        finish(place, digest, files, reports("slow"))
    assert MANIFEST not in names(place)


def test_who_is_taken_for_dead_while_it_clears_deletes_nothing_more(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(place, take(place, "old"), write(place, "old"), reports("old"))
    monkeypatch.setattr(claims, "_CLEARING_SECONDS", 0.0)
    monkeypatch.setattr(claims, "_DELETED_AT_ONCE", 5)
    kind: Any = type(store_for(place))
    delete, deleted, new = kind.delete, [], []

    def delete_slowly(self: Any, paths: Any) -> None:
        deleted.append(list(paths))
        delete(self, deleted[-1])
        if len(deleted) == 2:  # the manifest and one batch: now another run comes, clears and writes
            monkeypatch.setattr(kind, "delete", delete)
            take(place, overwrite=True)
            new.extend(write(place))

    monkeypatch.setattr(kind, "delete", delete_slowly)
    assert take(place, overwrite=True) == held(place)["digest"]  # it joins the other, which is equal
    assert len(new) == FILES
    finish(place, held(place)["digest"], new, reports("new"))
    check_published(place, new)


def test_a_run_that_is_begun_again_says_so_and_keeps_its_plan(place: str) -> None:
    digest = take(place)
    write(place)
    plan = join(place, "_plan/part-00000.units")
    store_for(plan).put(plan, b"units")
    claims.begin_again(place, digest, ["_plan/part-00000.units"])
    assert names(place) == {"_claim.json", "_plan/part-00000.units"}
    assert held(place)["read_whole_rows"] is True
    write(place)
    claims.begin_again(place, digest, [])  # an equal one beside it, which finds that it was begun again
    assert len(names(place)) == FILES + 2
    with pytest.raises(FolderTaken):
        claims.begin_again(place, "another", [])


def test_a_store_that_does_not_mind_conditions_is_refused(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind: Any = type(store_for(place))

    def put_anyway(self: Any, path: str, data: bytes) -> bool:
        self.put(path, data)
        return True

    monkeypatch.setattr(kind, "put_if_absent", put_anyway)
    with pytest.raises(OutputFolderError, match="overwrites in spite of the condition"):
        take(place)
    assert names(place) == set()


def test_a_claim_that_was_cut_off_is_replaced_when_asked(place: str) -> None:
    store_for(place).put(join(place, "_claim.json"), b'{"format": 1, "dig')
    with pytest.raises(OutputFolderError, match=r"_claim.json is cut off: .*--overwrite"):
        take(place)
    assert take(place, overwrite=True) == held(place)["digest"]


def test_a_folder_that_changes_hands_meanwhile_is_not_begun_again(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = take(place)
    take_over = claims._take_over

    def lose(*_: Any) -> None:
        monkeypatch.setattr(claims, "_take_over", take_over)
        take(place, "b", overwrite=True)
        raise Conflict("made to conflict")

    monkeypatch.setattr(claims, "_take_over", lose)
    with pytest.raises(FolderTaken):
        claims.begin_again(place, digest, [])


KILLED = """
import signal
from transforms.report import figures
def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)
figures.finish = die
"""


@pytest.mark.slow
def test_a_run_killed_in_its_second_attempt_is_gone_on_with(tmp_path: Path, small_units: None) -> None:
    known = [row(f"{n:08x}-1111-4111-8111-{n:012x}", user_id=f"p{n}", external_user_id=f"2049{n}") for n in range(4)]
    content = avro([{**each, "device_id": None, "sdk": "7.1"} for each in known], event_type=SESSION, block_rows=2)
    at = content.index(b"\x0a20492")  # damage that only whole rows show, as in test_second_look
    source = tmp_path / "in"
    put(source, "a", SESSION, content[:at] + b"\x08" + content[at + 1 :])
    clean = [row("other", user_id="q", external_user_id="2049"), row("clean-1", user_id="p2")]
    put(source, "b", SESSION, avro(clean, event_type=SESSION))
    process = several_units.start(source, tmp_path / "out", "--workers=1", patch=KILLED)
    process.communicate(timeout=100)
    assert process.returncode == -signal.SIGKILL
    assert held(str(tmp_path / "out"))["read_whole_rows"] is True
    assert several_units.run(source, tmp_path / "out") == 0
    assert several_units.run(source, tmp_path / "alone") == 0
    assert several_units.published(tmp_path / "out") == several_units.published(tmp_path / "alone")
