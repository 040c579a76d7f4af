"""Units that are too many for the graph: written to the output's ``_plan/``, read by the job, gone in the end."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from pathlib import Path

import pytest

from pipelines import currents_to_mixpanel as command
from tests.commands.several_units import Source, let_go, looks_finished, published, run, start
from tests.whole_runs import test_regressions as second_look
from transforms.currents.listing import survey
from transforms.currents.paths import Unit
from transforms.errors import StoreError
from transforms.output import plan_files
from transforms.output.plan_files import PlanFiles, hand_out, read_units

pytestmark = pytest.mark.slow

SESSION = second_look.SESSION
SMALL = """
from transforms.output import plan_files
plan_files.INLINE_BYTES = 0
plan_files._FILE_BYTES = 600
"""


@pytest.fixture
def in_files(monkeypatch: pytest.MonkeyPatch, small_units: None) -> None:
    """Every plan in several files."""
    monkeypatch.setattr(plan_files, "INLINE_BYTES", 0)
    monkeypatch.setattr(plan_files, "_FILE_BYTES", 600)


@pytest.mark.usefixtures("in_files")
def test_units_are_dealt_out_largest_first_and_the_files_hold_them_all(undisturbed: Source, tmp_path: Path) -> None:
    export = survey([str(undisturbed[0])], unit_files=4)
    work = hand_out(export, str(tmp_path / "out"))
    assert isinstance(work, PlanFiles)
    assert len(work.paths) > 2
    assert [path.name for path in sorted((tmp_path / "out").rglob("*.units"))] == [
        f"part-{number:05d}.units" for number in range(len(work.paths))
    ]
    units = [Unit.from_bytes(packed) for path in work.paths for _, packed in read_units(path)]
    sizes = [sum(file.size for file in unit.files) for unit in units]
    assert sizes == sorted(sizes, reverse=True)
    assert sorted(units, key=lambda unit: unit.number) == list(export.in_order())
    assert len(work) == export.units == len(units)
    again = hand_out(export, str(tmp_path / "out"))  # an equal run's files are these very bytes
    assert again == work


def test_few_units_stay_in_the_graph(undisturbed: Source, tmp_path: Path) -> None:
    export = survey([str(undisturbed[0])], unit_files=4)
    work = hand_out(export, str(tmp_path / "out"))
    assert not isinstance(work, PlanFiles)
    sizes = [sum(file.size for file in unit.files) for unit in work]
    assert sizes == sorted(sizes, reverse=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("in_files")
@pytest.mark.parametrize("workers", [1, 2])
def test_units_in_files_give_the_same_bytes_as_units_in_the_graph(
    workers: int, undisturbed: Source, tmp_path: Path
) -> None:
    source, expected = undisturbed
    put: list[str] = []
    write = plan_files.hand_out

    def recorded(export: object, output: str) -> object:
        work = write(export, output)  # type: ignore[arg-type]
        put.extend(work.paths)  # type: ignore[union-attr]
        return work

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "hand_out", recorded)
        assert run(source, tmp_path / "out", f"--workers={workers}") == 0
    assert len(put) > 2
    assert published(tmp_path / "out") == expected
    assert not (tmp_path / "out" / "_plan").exists()


@pytest.mark.usefixtures("in_files")
def test_two_equal_runs_at_once_both_succeed(undisturbed: Source, tmp_path: Path) -> None:
    source, expected = undisturbed
    output, go = tmp_path / "out", tmp_path / "go"
    both = [start(source, output, GO=str(go), patch=SMALL) for _ in range(2)]
    let_go(go, 2)
    ended = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    assert published(output) == expected


@pytest.mark.usefixtures("in_files")
def test_a_run_whose_plan_an_equal_one_swept_while_it_finished_is_published(
    undisturbed: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, expected = undisturbed
    output = tmp_path / "out"
    winner = tmp_path / "winner"
    assert run(source, winner) == 0
    manifest = (winner / "_manifest.json").read_bytes()

    def swept(*_: object) -> bool:
        """What the winner does between its sweep and its manifest, as the slower run sees it."""
        shutil.rmtree(output / "_plan")
        for path in winner.rglob("*"):
            if path.is_file() and path.name not in ("_manifest.json", "_claim.json"):
                (output / path.relative_to(winner)).parent.mkdir(exist_ok=True)
                shutil.copyfile(path, output / path.relative_to(winner))
        threading.Timer(1.0, (output / "_manifest.json").write_bytes, [manifest]).start()
        raise StoreError("a plan file is gone")

    monkeypatch.setattr(command, "_work", swept)
    assert run(source, output) == 0
    assert published(output) == expected


@pytest.mark.usefixtures("in_files")
def test_a_run_whose_plan_somebody_removed_fails_and_says_so(
    undisturbed: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, expected = undisturbed
    output = tmp_path / "out"
    write = plan_files.hand_out

    def lost(export: object, where: str) -> object:
        work = write(export, where)  # type: ignore[arg-type]
        os.unlink(work.paths[1])  # type: ignore[union-attr]
        return work

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "hand_out", lost)
        patch.setattr(command, "FINISHING_SECONDS", 0.5)
        assert run(source, output) == 1
    message = capsys.readouterr().err
    assert f"{output}/_plan/part-00001.units is gone" in message
    assert message.count("\n") == 1
    assert not looks_finished(output)
    assert run(source, output) == 0
    assert published(output) == expected


_KILL = """
import signal
count = 0
def dying(act):
    def counted(*arguments, **named):
        global count
        if "_plan" in str(arguments):
            count += 1
            if count == %d:
                os.kill(os.getpid(), signal.SIGKILL)
        return act(*arguments, **named)
    return counted
for name in ("link", "unlink"):
    setattr(os, name, dying(getattr(os, name)))
"""


@pytest.mark.usefixtures("in_files")
@pytest.mark.parametrize("moment", [1, 3, 8])
def test_a_run_killed_over_its_plan_is_finished_by_the_same_command(
    moment: int, undisturbed: Source, tmp_path: Path
) -> None:
    source, expected = undisturbed
    output = tmp_path / "out"
    killed = start(source, output, patch=SMALL + _KILL % moment)
    _, errors = killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL, errors
    assert not looks_finished(output)
    assert (output / "_plan").exists()

    assert run(source, output) == 0
    assert published(output) == expected
    assert not (output / "_plan").exists()


@pytest.mark.usefixtures("in_files")
def test_a_run_that_is_made_again_from_whole_rows_keeps_its_plan(tmp_path: Path) -> None:
    """Damage that only whole rows show: the first attempt's files go, and the second one reads the same plan."""
    write_torn(tmp_path / "in")
    assert run(tmp_path / "in", tmp_path / "out") == 0
    assert looks_finished(tmp_path / "out")
    assert not (tmp_path / "out" / "_plan").exists()


@pytest.mark.usefixtures("small_units")
def test_a_run_that_would_be_made_again_leaves_what_an_equal_one_has_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_torn(tmp_path / "in")
    needs_whole_rows = command.needs_whole_rows
    before: list[dict[str, object]] = []

    def needs_whole_rows_late(error: BaseException) -> bool:
        monkeypatch.setattr(command, "needs_whole_rows", needs_whole_rows)
        assert run(tmp_path / "in", tmp_path / "out") == 0
        before.append(published(tmp_path / "out"))
        monkeypatch.setattr(command, "sweep", None)
        return needs_whole_rows(error)

    monkeypatch.setattr(command, "needs_whole_rows", needs_whole_rows_late)
    assert run(tmp_path / "in", tmp_path / "out") == 0
    assert [published(tmp_path / "out")] == before


def write_torn(folder: Path) -> None:
    known = [second_look.row(f"{n:08x}-1111-4111-8111-{n:012x}", external_user_id=f"2049{n}") for n in range(4)]
    content = second_look.avro([{**each, "device_id": None, "sdk": "7.1"} for each in known], event_type=SESSION)
    at = content.index(b"\x0a20492")
    second_look.put(folder, "a", SESSION, content[:at] + b"\x08" + content[at + 1 :])
    second_look.put(folder, "b", SESSION, second_look.avro([second_look.row("x")], event_type=SESSION))
