"""Which files an export has, in which order, and how they are cut into units."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from transforms.currents import paths
from transforms.currents.listing import discover
from transforms.currents.paths import SourceFile, Unit, cut_units, date_of, event_type_of
from transforms.errors import NoFilesFound

HOUR = 1_743_526_800  # 2025-04-01T17:00:00Z


@pytest.mark.parametrize(
    ("path", "event_type", "hour"),
    [
        ("c/event_type=users.behaviors.CustomEvent/date=2025-04-01-17/version=11/us-01/a+0+1.avro",
         "users.behaviors.CustomEvent", HOUR),
        ("event_type=users.canvas.Entry/date=2025-04-01-17/304/prod-01/a.avro", "users.canvas.Entry", HOUR),
        ("x/event_type%3Dusers.canvas.Entry/date%3D2025-04-01-17/9/us-01/a%2B0.avro", "users.canvas.Entry", HOUR),
        ("x/event_type%3dusers.canvas.Entry/date%3d2025-04-01-17/a.avro", "users.canvas.Entry", HOUR),
        ("loose/a.avro", None, None),
        ("my_event_type=x/a.avro", None, None),
        ("event_type=x", None, None),  # a file's name is not a folder
        ("update=2025-04-01-17/a.avro", None, None),
        ("event_type=x/date=2025-02-30-17/a.avro", "x", None),
        ("event_type=x/date=2025-04-01-24/a.avro", "x", None),
        ("event_type=x/date=2025-04-01/a.avro", "x", None),
    ],
)  # fmt: skip
def test_a_path_tells_its_type_and_its_hour(path: str, event_type: str | None, hour: int | None) -> None:
    assert event_type_of(path) == event_type
    date = date_of(path)
    assert (date.begin if date is not None and date.seconds == paths.HOUR else None) == hour


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def names(*inputs: Path | str, **limits: int | tuple[str, ...] | None) -> list[str]:
    return [file.name for file in discover([str(source) for source in inputs], **limits)]  # type: ignore[arg-type]


def test_files_come_in_the_order_of_their_names_bytes(tmp_path: Path) -> None:
    wanted = [
        "A.avro",
        "a b.avro",
        "a-b/1.avro",
        "a.avro",
        "a/10.avro",
        "a/9.avro",
        "b.avro",
        "z.avro",
        "ä.avro",
        "𝄞.avro",
    ]
    shuffled = wanted[:]
    random.Random(4).shuffle(shuffled)
    make(tmp_path, *shuffled, "notes.txt", "a.avro.tmp")
    assert names(tmp_path) == wanted


def test_a_prefix_is_a_whole_segment(tmp_path: Path) -> None:
    make(tmp_path, "in/a.avro", "in2/b.avro", "in.avro")
    assert names(tmp_path / "in") == ["a.avro"]
    assert names(f"{tmp_path}/in/") == ["a.avro"]
    assert names(f"{tmp_path}/in*") == ["in.avro", "in/a.avro", "in2/b.avro"]


def test_globs_take_the_files_and_folders_that_match(tmp_path: Path) -> None:
    make(tmp_path, "x/1/a.avro", "x/2/a.avro", "x/2/deep/b.avro", "x/[3]/a.avro", "y/a.avro")
    assert names(f"{tmp_path}/x/[12]/a.avro") == ["1/a.avro", "2/a.avro"]
    assert names(f"{tmp_path}/x/?") == ["1/a.avro", "2/a.avro", "2/deep/b.avro"]
    assert names(f"{tmp_path}/x/[!1]") == ["2/a.avro", "2/deep/b.avro"]
    assert names(f"{tmp_path}/*/a.avro") == ["y/a.avro"]
    assert len(names(f"{tmp_path}/**/a.avro")) == 4
    assert names(tmp_path / "x" / "[3]") == ["a.avro"]  # what exists is no pattern


def test_a_file_reached_twice_is_read_once_under_its_first_name(tmp_path: Path) -> None:
    make(tmp_path, "in/x/a.avro", "in/b.avro")
    assert names(tmp_path / "in", tmp_path / "in" / "x", tmp_path / "in" / "b.avro") == ["b.avro", "x/a.avro"]
    assert names(tmp_path / "in" / "x" / "a.avro", tmp_path / "in") == ["a.avro", "b.avro"]


def test_the_type_in_the_part_that_was_typed_counts(tmp_path: Path) -> None:
    make(tmp_path, "event_type=users.canvas.Entry/date=2025-04-01-17/a.avro")
    (file,) = discover([str(tmp_path / "event_type=users.canvas.Entry")])
    assert (file.name, file.event_type) == ("date=2025-04-01-17/a.avro", "users.canvas.Entry")
    (file,) = discover([str(tmp_path / "event_type=users.canvas.Entry" / "date=2025-04-01-17")], since=HOUR)
    assert file.name == "a.avro"


def test_hours_narrow_before_anything_is_opened(tmp_path: Path) -> None:
    make(tmp_path, *(f"date=2025-04-01-{hour}/a.avro" for hour in (16, 17, 18)), "loose.avro")
    assert names(tmp_path, since=HOUR, until=HOUR + 3600) == ["date=2025-04-01-17/a.avro", "loose.avro"]
    assert len(names(tmp_path, since=HOUR)) == 3
    assert len(names(tmp_path, until=HOUR)) == 2


def test_skip_leaves_files_out_by_name_and_path_and_refuses_what_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "in/a.avro", "in/b.avro", "in/c.avro")
    monkeypatch.chdir(tmp_path)
    assert names("in", skip=("in/a.avro", "b.avro")) == ["c.avro"]
    assert names("in", skip=(str(tmp_path / "in" / "c.avro"),)) == ["a.avro", "b.avro"]
    with pytest.raises(NoFilesFound, match=r"--skip d\.avro is none of the files found"):
        names("in", skip=("d.avro",))
    with pytest.raises(NoFilesFound, match="none of 0 files is left"):
        names("in/a.avro", skip=("in/a.avro",))


def test_units_are_cut_by_bytes_and_by_files() -> None:
    files = [SourceFile(f"/{n}", f"{n}", size, "v", None) for n, size in enumerate([5, 5, 5, 30, 1, 1, 1, 1])]
    units = list(cut_units(files, unit_bytes=10, unit_files=3))
    assert [[file.size for file in unit.files] for unit in units] == [[5, 5], [5], [30], [1, 1, 1], [1]]
    assert [unit.number for unit in units] == [0, 1, 2, 3, 4]
    assert list(cut_units([])) == []
    assert paths.UNIT_BYTES <= 64 << 20


def test_a_unit_survives_its_journey() -> None:
    unit = Unit(7, (SourceFile("/x/ä.avro", "ä.avro", 5, "1-2", "users.X"), SourceFile("/y", "y", 0, "", None)))
    assert Unit.from_bytes(unit.to_bytes()) == unit
