"""Folders behind symbolic links: read, loops and doubles once, by whatever input they are reached."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipelines import currents_to_mixpanel as command
from tests.exports.small_exports import NOW, avro, path, rows, write
from tests.transforms.currents.test_left_out import counts, listed, make
from transforms.currents.left_out import missing
from transforms.report import not_read
from transforms.stores.local import LocalStore


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """``in`` with a file, and ``other`` beside it with two."""
    make(tmp_path, "in/m.avro", "other/a.avro", "other/x/b.avro")
    return tmp_path / "in"


def found(*inputs: Path | str, **flags: Any) -> tuple[list[str], dict[str, int]]:
    names, figures = listed(*inputs, **flags)
    return names, counts(figures)


def test_a_linked_folder_is_read_under_the_name_of_the_link(export: Path) -> None:
    (export / "2025").symlink_to("../other")
    assert found(export) == (["2025/a.avro", "2025/x/b.avro", "m.avro"], {})
    assert found(export.parent / "in" / "2025") == (["a.avro", "x/b.avro"], {})


def test_folders_linked_in_a_loop_are_read_once(export: Path) -> None:
    (export / "2025").symlink_to("../other")
    (export.parent / "other" / "back").symlink_to("../in")
    (export.parent / "other" / "x" / "up").symlink_to("..")
    (export / "self").symlink_to(".")
    (export / "nothing").symlink_to("nothing")  # leads to itself
    assert found(export) == (["2025/a.avro", "2025/x/b.avro", "m.avro"], {"linked_twice": 3})


def test_a_link_to_the_folder_above_finds_what_lies_beside(export: Path) -> None:
    (export / "up").symlink_to("..")
    assert found(export) == (["m.avro", "up/other/a.avro", "up/other/x/b.avro"], {"linked_twice": 1})


def test_a_folder_that_two_links_lead_to_is_read_once(export: Path) -> None:
    for name, target in (("l1", "../other/x"), ("l2", "../other"), ("l3", "../other"), ("l4", "../other/x")):
        (export / name).symlink_to(target)
    assert found(export) == (["l1/b.avro", "l2/a.avro", "m.avro"], {"linked_twice": 3})


def test_a_folder_of_the_input_itself_is_read_at_its_own_place(export: Path) -> None:
    make(export, "z/c.avro")
    (export / "a").symlink_to("z")
    assert found(export) == (["m.avro", "z/c.avro"], {"linked_twice": 1})
    assert found(f"{export}/*/c.avro") == (["z/c.avro"], {"linked_twice": 1})
    assert found(f"{export}/a/c.avro")[0] == ["c.avro"]
    assert found(f"{export}/[a]/c.avro")[0] == ["a/c.avro"]


def test_what_is_hidden_at_its_own_place_is_read_through_a_link(export: Path) -> None:
    make(export, ".store/k/c.avro")
    (export / "k").symlink_to(".store/k")
    (export / "_no").symlink_to("../other")  # a hidden link is not gone through
    assert found(export) == (["k/c.avro", "m.avro"], {"hidden": 1})


def test_two_inputs_reach_a_folder_once(export: Path) -> None:
    (export / "2025").symlink_to("../other")
    (export.parent / "again").symlink_to("in")
    other = export.parent / "other"
    assert found(export, other)[0] == ["a.avro", "m.avro", "x/b.avro"]
    assert found(other, export)[0] == ["a.avro", "m.avro", "x/b.avro"]
    assert found(export, export.parent / "again")[0] == ["2025/a.avro", "2025/x/b.avro", "m.avro"]
    assert found(export, other / "a.avro")[0] == ["2025/x/b.avro", "a.avro", "m.avro"]
    assert found(export, export / "2025" / "x")[0] == ["2025/a.avro", "b.avro", "m.avro"]


def test_a_link_that_leads_nowhere_is_named(export: Path) -> None:
    (export / "gone.avro").symlink_to("../not-here.avro")
    (export / "gone.txt").symlink_to("../not-here.txt")
    names, figures = listed(export)
    assert (names, counts(figures)) == (["m.avro"], {"link_nowhere": 1})
    (told,) = not_read.warnings(figures)
    assert "gone.avro" in told


def test_what_is_no_regular_file_is_told_of_and_not_opened(export: Path) -> None:
    os.mkfifo(export / "pipe.avro")
    os.mkfifo(export / "pipe.txt")
    names, figures = listed(export)
    assert (names, counts(figures)) == (["m.avro"], {"not_regular": 1})
    (told,) = not_read.warnings(figures)
    assert "pipe.avro" in told


@pytest.mark.parametrize("name", [".a.avro.icloud", "a.avro.nextcloud", "a.avro.owncloud"])
@pytest.mark.parametrize("typed", ["", "*.avro"])
def test_what_a_cloud_drive_has_not_downloaded_is_told_of(name: str, typed: str, export: Path) -> None:
    (export / name).write_bytes(b"bplist00")
    (export / ".notes.txt.icloud").write_bytes(b"bplist00")
    names, figures = listed(export / typed)
    assert names == ["m.avro"]
    assert counts(figures)["placeholder"] == 1
    assert any(name in told and "download" in told for told in not_read.warnings(figures))
    assert f"1 file is not here, only links or placeholders in its place (such as {name}" in missing(figures)


def test_a_run_over_files_that_are_not_here_is_published_and_ends_with_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "in", {path("a.avro"): avro(rows("a"))})
    (tmp_path / "in" / "gone.avro").symlink_to(".git/annex/objects/gone.avro")
    status = command.main([f"--input={tmp_path}/in", f"--output={tmp_path}/out", f"--now={NOW}", "--json"])
    captured = capsys.readouterr()
    assert status == 3
    assert "published, but 1 file is not here" in captured.err
    assert "gone.avro" in captured.err
    told = json.loads(captured.out.splitlines()[-1])
    assert (told["status"], told["exit_status"]) == ("published", 3)
    assert (tmp_path / "out" / "_manifest.json").exists()


def test_the_folder_for_lost_files_at_the_root_of_a_disk_is_passed_over(
    export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (export / "lost+found").mkdir()
    (export / "lost+found" / "x.avro").write_bytes(b"")
    assert listed(export)[0] == ["lost+found/x.avro", "m.avro"]
    monkeypatch.setattr(os.path, "ismount", lambda path: os.fspath(path) == str(export))
    assert listed(export)[0] == ["m.avro"]


def test_a_run_s_own_folder_is_listed_without_links(export: Path) -> None:
    (export / "2025").symlink_to("../other")
    assert [entry.path for entry in LocalStore().list(str(export))] == [str(export / "m.avro")]
