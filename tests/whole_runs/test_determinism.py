"""The same input and flags give the same bytes, in whatever order files are listed and however many processes work."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines import currents_to_mixpanel as command
from tests.commands.several_units import FLAGS, cut_small, published, run, start, write_source


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """An export of several units, and what one process publishes of it."""
    folder = tmp_path_factory.mktemp("reference")
    source = write_source(folder / "in")
    with pytest.MonkeyPatch.context() as patch:
        cut_small(patch)
        assert run(source, folder / "out") == 0
    files = published(folder / "out")
    assert {name.split("/")[0] for name in files} >= {"events", "profiles", "rejects", "deletions", "identities"}
    assert len([name for name in files if name.startswith("events/")]) > 3
    return source, files


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_small(monkeypatch)


def content(files: dict[str, Any]) -> dict[str, Any]:
    """What does not depend on when the input files were written."""
    return {name: data for name, data in files.items() if name != "claim"}


def test_a_second_run_has_the_same_bytes(reference: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    source, expected = reference
    assert run(source, tmp_path / "out") == 0
    assert published(tmp_path / "out") == expected


def test_two_processes_elsewhere_with_other_hashes_have_the_same_bytes(
    reference: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    source, expected = reference
    process = start(source, tmp_path / "out", "--workers=2", PYTHONHASHSEED="12345")
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert published(tmp_path / "out") == expected


def test_a_relative_input_has_the_same_bytes(
    reference: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, expected = reference
    monkeypatch.chdir(source.parent)
    assert command.main(["--input=in", f"--output={tmp_path / 'out'}", *FLAGS]) == 0
    assert published(tmp_path / "out") == expected


class _Shuffled:
    """Stands in for ``os.scandir``: the same entries in another order."""

    def __init__(self, folder: str) -> None:
        with _scandir(folder) as entries:
            self._entries = list(entries)
        random.Random(str(folder)).shuffle(self._entries)

    def __enter__(self) -> Iterator[os.DirEntry[str]]:
        return iter(self._entries)

    def __exit__(self, *_: object) -> None:
        pass


_scandir = os.scandir


def test_files_written_and_listed_in_another_order_have_the_same_bytes(
    reference: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    source, expected = reference
    paths = [path.relative_to(source) for path in source.rglob("*.avro")]
    random.Random(1).shuffle(paths)
    for path in paths:
        (tmp_path / "in" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, tmp_path / "in" / path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", _Shuffled)
        assert run(tmp_path / "in", tmp_path / "out") == 0
    assert content(published(tmp_path / "out")) == content(expected)


def test_no_gzip_header_holds_a_time_or_a_name(reference: tuple[Path, dict[str, Any]]) -> None:
    _, files = reference
    headers = {data[:10] for name, data in files.items() if name.endswith(".gz")}
    assert headers == {b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"}
