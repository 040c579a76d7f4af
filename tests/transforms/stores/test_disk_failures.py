"""Disks, folders and names as some machines have them: read all the same, or one line with the place and the cure."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import currents_to_mixpanel as command
from tests.commands.whole_run import ROOT
from tests.exports.small_exports import NOW, avro, path, rows, write
from tests.pipelines.command_line.test_command_line import refusal
from transforms.currents.listing import survey
from transforms.errors import StoreError, StoreUnavailable
from transforms.stores import store as stores
from transforms.stores.disk_failures import failure
from transforms.stores.local import LocalStore
from transforms.stores.places import place
from transforms.stores.store import Entry

DEEP = 1_200  # more than Python's functions can call themselves


@pytest.fixture
def export(tmp_path: Path) -> Path:
    return write(tmp_path / "in", {path("a"): avro(rows("a"))})


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.ENOSPC, StoreError, "df -i"),
        (errno.EDQUOT, StoreError, "quota"),
        (errno.EMFILE, StoreError, "ulimit -n"),
        (errno.EFBIG, StoreError, "ulimit -f"),
        (errno.EIO, StoreError, "dmesg"),
        (errno.EACCES, StoreUnavailable, "permission denied"),
        (errno.EROFS, StoreUnavailable, "read-only"),
        (errno.ELOOP, StoreUnavailable, "leads to itself"),
        (errno.ENXIO, StoreError, "cannot write /x: No such device or address"),
    ],
)
def test_what_the_system_says_comes_with_its_place_and_a_cure(number: int, kind: type[StoreError], words: str) -> None:
    error = failure("write", "/x", OSError(number, os.strerror(number)))
    assert type(error) is kind
    assert str(error).startswith("cannot write /x: ")
    assert words in str(error)


def test_folders_are_listed_however_deep_they_are(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    descriptor = os.open(tmp_path / "in", os.O_RDONLY)
    for _ in range(DEEP):
        os.mkdir("d", dir_fd=descriptor)
        below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    file = os.open("z.avro", os.O_WRONLY | os.O_CREAT, dir_fd=descriptor)
    os.write(file, b"x")
    os.close(file)
    os.close(descriptor)
    (tmp_path / "in" / "e.avro").write_bytes(b"x")
    names = [entry.path[len(str(tmp_path / "in")) + 1 :] for entry in LocalStore().list(str(tmp_path / "in"))]
    assert names == ["d/" * DEEP + "z.avro", "e.avro"]
    assert survey([str(tmp_path / "in")]).files == 2
    subprocess.run(["rm", "-rf", tmp_path / "in"], check=True)  # shutil.rmtree calls itself


def test_a_folder_that_may_not_be_entered_is_named_and_not_taken_for_empty(
    export: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Tests may run as root, who may enter every folder.
    stat, closed = os.stat, str(export / "closed")

    def refused(path: int | str, *args: object, **more: object) -> os.stat_result:
        if str(path).startswith(closed):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return stat(path, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", refused)
    said = refusal(capsys, f"--input={closed}/below", f"--output={export}-out")
    assert f"cannot look at {closed}/below: Permission denied: permission denied: give this user the right" in said


def test_a_link_that_leads_to_itself_is_named(export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    for argv in (
        [f"--input={tmp_path}/one", f"--output={tmp_path}/out"],
        [f"--input={export}", f"--output={tmp_path}/one/out"],
    ):
        assert "a symbolic link on the way leads to itself" in refusal(capsys, *argv)


def test_a_file_that_memory_does_not_hold_is_named_with_both_sizes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    huge = tmp_path / "in" / "huge.avro"
    huge.parent.mkdir()
    with huge.open("wb") as file:
        file.truncate(1 << 43)
    assert command.main([f"--input={tmp_path}/in", f"--output={tmp_path}/out", f"--now={NOW}"]) == 1
    said = capsys.readouterr().err
    assert f"cannot read {huge}: it has {1 << 43:,} bytes, and this machine has {stores._memory():,}" in said
    assert said.count("\n") == 1


def test_what_cannot_be_held_after_all_is_named_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.avro"
    file.write_bytes(b"x")
    (entry,) = LocalStore().list(str(tmp_path))

    def no_memory(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(os, "read", no_memory)
    with pytest.raises(StoreError, match="it has 1 bytes"):
        LocalStore().read(Entry(*entry))


def test_names_that_are_not_utf_8_are_refused_with_their_bytes(export: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"the name b'n\\xff/in' is not UTF-8"):
        place(b"n\xff/in".decode("utf-8", "surrogateescape"))


@pytest.mark.slow
@pytest.mark.parametrize("fate", ["deleted", "not UTF-8"])
def test_a_working_folder_that_cannot_be_named_is_refused_for_relative_paths_alone(
    fate: str, export: Path, tmp_path: Path
) -> None:
    folder = os.fsencode(tmp_path) + (b"/gone" if fate == "deleted" else b"/n\xff")
    os.mkdir(folder)
    leave = "os.rmdir(os.getcwd()); " if fate == "deleted" else ""
    begin = f"import os; {leave}from pipelines import currents_to_mixpanel as command; command.cli()"
    paths = {"relative": ["--input=in", "--output=out"], "absolute": [f"--input={export}", f"--output={tmp_path}/out"]}
    done = {
        form: subprocess.run(
            [sys.executable, "-c", begin, *argv, f"--now={NOW}"], cwd=folder if form == "relative" or leave == "" else
            os.fsencode(_again(folder)), env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
            check=False, timeout=120,
        )
        for form, argv in paths.items()
    }  # fmt: skip
    assert done["absolute"].returncode == 0, done["absolute"].stderr
    assert done["relative"].returncode == 2
    assert ("has been deleted" if leave else "is not UTF-8") in done["relative"].stderr
    assert done["relative"].stderr.count("\n") == 1


def _again(folder: bytes) -> bytes:
    os.makedirs(folder, exist_ok=True)
    return folder


@pytest.mark.slow
def test_a_run_leaves_no_warning_of_pythons(export: Path, tmp_path: Path) -> None:
    for workers in (1, 2):
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.currents_to_mixpanel", f"--input={export}", f"--now={NOW}",
             f"--output={tmp_path}/out{workers}", f"--workers={workers}"],
            cwd=ROOT, env={**os.environ, "PYTHONWARNINGS": "error"}, capture_output=True, text=True, check=False,
            timeout=120,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
