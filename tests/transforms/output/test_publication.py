"""A run's folder: who may have it, and what two runs at once do to it."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from pipelines import currents_to_mixpanel as command
from tests.commands.several_units import Source, let_go, looks_finished, published, run, start
from tests.commands.whole_run import read_output
from transforms.currents.listing import Export
from transforms.currents.paths import SourceFile
from transforms.errors import StoreError
from transforms.output import publication
from transforms.output.claims import claim_digest
from transforms.settings import Settings
from transforms.stores import local

pytestmark = [pytest.mark.usefixtures("small_units"), pytest.mark.slow]


# Claims


def test_the_digest_is_of_inputs_and_of_what_shapes_the_output() -> None:
    files = [SourceFile("/x/a.avro", "a.avro", 10, "v1", None), SourceFile("/x/b.avro", "b.avro", 20, "v1", None)]
    base = claim_digest(digest_of(files), Settings(now=1))
    elsewhere = [dataclasses.replace(file, path=f"/y/{file.name}") for file in files]
    assert base == claim_digest(digest_of(elsewhere), Settings(now=1))
    others = [
        claim_digest(digest_of(files[:1]), Settings(now=1)),
        claim_digest(digest_of([SourceFile("/x/c.avro", "c.avro", 10, "v1", None), files[1]]), Settings(now=1)),
        claim_digest(digest_of([SourceFile("/x/a.avro", "a.avro", 11, "v1", None), files[1]]), Settings(now=1)),
        claim_digest(digest_of([SourceFile("/x/a.avro", "a.avro", 10, "v2", None), files[1]]), Settings(now=1)),
        claim_digest(digest_of(files), Settings(now=2)),
        claim_digest(digest_of(files), Settings(now=1, tag="x")),
        claim_digest(digest_of(files), Settings(now=1, device_links="first")),
        claim_digest(digest_of(files), Settings(now=1, event_types=("a",))),
    ]
    assert len({base, *others}) == 9
    for same in (Settings(now=1, max_reject_share=0.5), Settings(now=1, mixed_workspaces=True)):
        assert claim_digest(digest_of(files), same) == base


def digest_of(files: list[SourceFile]) -> str:
    export = Export()
    export.add(files)
    return export.digest


def test_an_equal_run_takes_over_the_clock_and_a_different_one_is_refused(
    undisturbed: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, _ = undisturbed
    argv = [f"--input={source}", f"--output={tmp_path / 'out'}", "--max_reject_share=1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transforms.report.figures.finish", _fail)
        patch.setattr(command, "release", _nothing)  # as if it had been killed
        assert command.main(argv) == 1
    begun = json.loads((tmp_path / "out" / "_claim.json").read_bytes())
    assert abs(begun["now"] - time.time()) < 60
    assert not looks_finished(tmp_path / "out")

    capsys.readouterr()
    assert command.main([*argv, "--tag=other"]) == 2
    message = capsys.readouterr().err
    assert f"{tmp_path / 'out'} belongs to another run" in message
    assert "--tag other" in message
    assert "--overwrite" in message
    assert command.main([*argv, f"--now={begun['now'] + 1}"]) == 2

    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 5000)
    assert command.main(argv) == 0
    assert read_output(tmp_path / "out").report["now"] == begun["now"]
    assert json.loads((tmp_path / "out" / "_claim.json").read_bytes()) == begun


def test_the_folder_of_a_failed_run_is_free_for_another(undisturbed: Source, tmp_path: Path) -> None:
    source, expected = undisturbed
    output = tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transforms.report.figures.finish", _fail)
        assert run(source, output, "--tag=failed") == 1
    assert json.loads((output / "_claim.json").read_bytes())["failed"] is True
    assert not looks_finished(output)
    assert run(source, output) == 0
    assert published(output) == expected
    assert "failed" not in json.loads((output / "_claim.json").read_bytes())


def test_a_failed_run_is_finished_by_the_same_command(undisturbed: Source, tmp_path: Path) -> None:
    source, expected = undisturbed
    output = tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transforms.report.figures.finish", _fail)
        assert run(source, output) == 1
    assert run(source, output) == 0
    assert published(output) == expected
    assert "failed" not in json.loads((output / "_claim.json").read_bytes())


def test_a_finished_folder_is_refused_and_overwrite_removes_its_manifest_first(
    undisturbed: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, expected = undisturbed
    output = tmp_path / "out"
    assert run(source, output, "--tag=old") == 0
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    capsys.readouterr()
    for more in ((), ("--tag=old",)):
        assert run(source, output, *more) == 2
        assert f"{output} holds a finished run" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}

    deleted: list[str] = []
    delete = local.LocalStore.delete

    def recorded(self: local.LocalStore, paths: Iterable[str]) -> None:
        listed = list(paths)
        deleted.extend(listed)
        delete(self, listed)

    monkeypatch.setattr(local.LocalStore, "delete", recorded)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transforms.read_ids.gather", _fail)
        assert run(source, output, "--overwrite") == 1
    assert deleted[0] == str(output / "_manifest.json")
    assert not looks_finished(output)
    assert [path.name for path in output.rglob("*") if path.is_file()] == ["_claim.json"]

    assert run(source, output) == 0
    assert published(output) == expected


def test_files_of_someone_else_are_never_touched(
    undisturbed: Source, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, _ = undisturbed
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("the only copy")
    for more in ((), ("--overwrite",)):
        assert run(source, tmp_path / "out", *more) == 2
        assert "holds [thesis.txt], which is not a run's" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_what_a_dead_run_left_is_swept(undisturbed: Source, tmp_path: Path) -> None:
    source, expected = undisturbed
    output = tmp_path / "out"
    (output / "events").mkdir(parents=True)
    (output / "events" / "part-00099.ndjson.gz").write_bytes(b"of a run with more units")
    (output / "events" / ".part-00001.ndjson.gz.0123456789ab.unpublished").write_bytes(b"half")
    (output / "._claim.json.0123456789ab.unpublished").write_bytes(b"half")
    assert run(source, output) == 0
    assert published(output) == expected


# Two runs at once


def test_two_equal_runs_at_once_both_succeed(undisturbed: Source, tmp_path: Path) -> None:
    source, expected = undisturbed
    output, go = tmp_path / "out", tmp_path / "go"
    both = [start(source, output, GO=str(go)) for _ in range(2)]
    let_go(go, 2)
    ended = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    assert published(output) == expected


def test_of_two_different_runs_at_once_one_wins(undisturbed: Source, tmp_path: Path) -> None:
    source, _ = undisturbed
    output, go = tmp_path / "out", tmp_path / "go"
    both = [start(source, output, f"--tag={tag}", GO=str(go)) for tag in "ab"]
    let_go(go, 2)
    ended = [process.communicate(timeout=60) for process in both]
    assert sorted(process.returncode for process in both) == [0, 2], ended
    loser = 0 if both[0].returncode else 1
    assert "belongs to another run" in ended[loser][1]
    assert ended[loser][1].count("\n") == 1
    tags = {json.loads(line)["properties"]["braze_import"] for line in read_output(output).event_lines}
    assert tags == {"ba"[loser]}


@pytest.mark.parametrize(
    ("moment", "winner_flags", "loser_flags"),
    [
        ("identities/links", (), ("--tag=loser",)),  # equal names, other bytes
        ("events/", (), ("--tag=loser",)),
        ("profiles/", ("--profile_updates=off",), ()),  # a file more than the winner has
        ("finish", (), ("--profile_updates=off",)),  # a file less: it must not be swept
    ],
)
def test_a_run_whose_folder_is_taken_by_force_leaves_it_alone(
    moment: str,
    winner_flags: tuple[str, ...],
    loser_flags: tuple[str, ...],
    undisturbed: Source,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, _ = undisturbed
    assert run(source, tmp_path / "alone", *winner_flags) == 0
    output = tmp_path / "out"
    put, finish = local.LocalStore.put_if_absent, publication.finish
    winners: list[tuple[str, str]] = []

    def let_the_other_win() -> None:
        if not winners:
            winners.append(start(source, output, "--overwrite", *winner_flags).communicate(timeout=60))

    def put_after_the_other(self: local.LocalStore, path: str, data: bytes) -> bool:
        if moment in path:
            let_the_other_win()
        return put(self, path, data)

    def finish_after_the_other(*arguments: Any) -> None:
        if moment == "finish":
            let_the_other_win()
        finish(*arguments)

    monkeypatch.setattr(local.LocalStore, "put_if_absent", put_after_the_other)
    monkeypatch.setattr("transforms.report.figures.finish", finish_after_the_other)
    assert run(source, output, *loser_flags) == 1
    message = capsys.readouterr().err
    assert "was taken by another run" in message or "holds other bytes" in message
    assert message.count("\n") == 1
    assert published(output) == published(tmp_path / "alone")


def _fail(*_: Any, **__: Any) -> None:
    raise StoreError("made to fail")


def _nothing(*_: Any, **__: Any) -> None:
    return None
