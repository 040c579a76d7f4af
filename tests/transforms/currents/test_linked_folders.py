"""Folders behind symbolic links: read, loops and doubles once, by whatever input they are reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.transforms.currents.test_left_out import counts, listed, make
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


def test_loops_are_read_once(export: Path) -> None:
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


def test_a_run_s_own_folder_is_listed_without_links(export: Path) -> None:
    (export / "2025").symlink_to("../other")
    assert [entry.path for entry in LocalStore().list(str(export))] == [str(export / "m.avro")]
