"""Large blocks of a local run stay on disk: the same bytes come back, the same are counted, and nothing is left."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines import currents_to_mixpanel as command
from pipelines.launch import block_folder
from pipelines.launch.block_folder import PREFIX, blocks_kept
from pipelines.sample_export.__main__ import main as sample_export
from tests.commands import several_units
from tests.commands.several_units import REPORTS, published, start
from tests.commands.whole_run import ROOT
from transforms.errors import DiskFull, WrongBlock
from transforms.messages import blocks_on_disk
from transforms.messages.blocks_on_disk import TRAVELS
from transforms.messages.elements import LINKS, TALLY, Traffic, tag_and_size, tagged, untagged

pytestmark = pytest.mark.slow

SMALL, LARGE = b"s" * TRAVELS, b"l" * (TRAVELS + 1)
NOW = "--now=2027-01-01"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that blocks are kept in."""
    monkeypatch.setenv(blocks_on_disk.FOLDER_VARIABLE, str(tmp_path))
    yield tmp_path
    blocks_on_disk.close(str(tmp_path))


def file_of(folder: Path) -> Path:
    (path,) = folder.glob("*.blocks")
    return path


# Bodies


def test_a_large_body_stays_on_disk_and_comes_back(folder: Path) -> None:
    first, second = tagged(LINKS, LARGE), tagged(LINKS, LARGE[::-1] + b"x")
    assert max(len(first), len(second)) < 30
    assert untagged(second) == (LINKS, LARGE[::-1] + b"x")
    assert untagged(first) == (LINKS, LARGE)
    assert file_of(folder).stat().st_size == 2 * len(LARGE) + 1


def test_a_small_body_travels_and_so_do_figures_which_are_merged_on_the_way(folder: Path) -> None:
    assert tagged(LINKS, SMALL) == LINKS + SMALL
    assert tagged(TALLY, LARGE) == TALLY + LARGE
    assert list(folder.iterdir()) == []


def test_everything_travels_where_no_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(blocks_on_disk.FOLDER_VARIABLE, raising=False)
    assert tagged(LINKS, LARGE) == LINKS + LARGE


def test_what_stays_on_disk_is_counted_as_if_it_travelled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = [b"", SMALL, LARGE, LARGE * 3]

    def counted() -> tuple[Any, list[tuple[bytes, int]]]:
        traffic = Traffic()
        elements = [traffic.received(traffic.sent(tagged(LINKS, body))) for body in bodies]
        return traffic.figures, [tag_and_size(element) for element in elements]

    on_disk = counted()
    assert file_of(folder).stat().st_size == len(LARGE) * 4
    monkeypatch.delenv(blocks_on_disk.FOLDER_VARIABLE)
    assert counted() == on_disk
    assert on_disk[1] == [(LINKS, 1 + len(body)) for body in bodies]


def test_another_process_of_the_run_reads_it(folder: Path) -> None:
    program = (
        "import sys\n"
        "from transforms.messages.elements import tagged, untagged\n"
        "assert untagged(bytes.fromhex(sys.argv[1])) == (b'L', b'l' * 4097)\n"
        "print(tagged(b'N', b'n' * 5000).hex())\n"
    )
    argv = [sys.executable, "-c", program, tagged(LINKS, LARGE).hex()]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert untagged(bytes.fromhex(done.stdout)) == (b"N", b"n" * 5000)
    assert len(list(folder.glob("*.blocks"))) == 2


@pytest.mark.parametrize("at", [0, 2000, TRAVELS])
def test_a_byte_that_changed_on_disk_is_noticed(at: int, folder: Path) -> None:
    tagged(LINKS, LARGE)
    element = tagged(LINKS, LARGE)
    with file_of(folder).open("r+b") as file:
        file.seek(len(LARGE) + at)
        file.write(b"L")
    with pytest.raises(WrongBlock, match=f"{len(LARGE)} bytes at {len(LARGE)} of .* run again"):
        untagged(element)


def test_a_file_that_was_cut_or_removed_is_noticed(folder: Path) -> None:
    element = tagged(LINKS, LARGE)
    os.truncate(file_of(folder), TRAVELS)
    with pytest.raises(WrongBlock, match="run again"):
        untagged(element)
    blocks_on_disk.close(str(folder))
    file_of(folder).unlink()
    with pytest.raises(WrongBlock, match="No such file"):
        untagged(element)


def test_a_disk_that_takes_a_little_at_a_time_loses_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: pwrite(file, data[:1000], at))
    bodies = [bytes(range(256)) * 33, LARGE]
    elements = [tagged(LINKS, body) for body in bodies]
    assert [untagged(element)[1] for element in elements] == bodies


def test_a_full_disk_is_named_with_the_cure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwrite", _full)
    with pytest.raises(DiskFull, match=r"cannot write .*\.blocks.*No space left on device: free that disk, or"):
        tagged(LINKS, LARGE)


def _full(*_: Any) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


# The folder


def in_use() -> str | None:
    return os.environ.get(blocks_on_disk.FOLDER_VARIABLE)


def test_the_folder_is_beside_the_output_its_owners_alone_and_gone_afterwards(tmp_path: Path) -> None:
    with blocks_kept(str(tmp_path / "out")):
        kept = Path(in_use() or "")
        assert kept.parent == tmp_path
        assert kept.name.startswith(".")
        assert kept.stat().st_mode & 0o777 == 0o700
        tagged(LINKS, LARGE)
        assert file_of(kept).stat().st_mode & 0o777 == 0o600
    assert in_use() is None
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_blocks_is_gone_after_a_failure_too(tmp_path: Path) -> None:
    def interrupted() -> None:
        with blocks_kept(str(tmp_path / "out")):
            tagged(LINKS, LARGE)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    assert in_use() is None


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary folder, for the time being."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_of_an_output_in_a_bucket_it_is_in_the_temporary_folder(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://localhost:1")
    with blocks_kept("gs://blocks-kept-elsewhere/out"):
        assert Path(in_use() or "").parent == temporary


def test_blocks_go_to_the_temporary_folder_where_nothing_can_be_made_beside_the_output(
    tmp_path: Path, temporary: Path
) -> None:
    with blocks_kept(str(tmp_path / "no-such-folder" / "out")):
        assert Path(in_use() or "").parent == temporary


def test_nothing_is_kept_in_a_folder_that_is_memory(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    monkeypatch.setattr(block_folder, "_MOUNTS", str(mounts))
    line = f"36 35 {os.major(device)}:{os.minor(device)} / {tmp_path} rw shared:1 - %s none rw\n"
    mounts.write_text(line % "ext4")
    with blocks_kept(str(tmp_path / "out"), verbose=True):
        assert in_use()
    assert capsys.readouterr().err == ""
    mounts.write_text("22 1 0:1 / /proc rw - proc proc rw\n" + line % "tmpfs")
    with blocks_kept(str(tmp_path / "out")):
        assert in_use() is None
    assert capsys.readouterr().err == ""
    with blocks_kept(str(tmp_path / "out"), verbose=True):
        assert in_use() is None
    said = f"blocks of ids stay in memory: {tmp_path} is memory; {temporary} is memory\n"
    assert capsys.readouterr().err == said


def test_linux_says_what_is_memory() -> None:
    types = subprocess.run(["stat", "-f", "-c", "%T", "/dev/shm"], capture_output=True, text=True, check=False)
    if types.stdout.strip() != "tmpfs":
        pytest.skip("/dev/shm is no tmpfs here")
    assert block_folder._is_memory("/dev/shm")


def test_what_a_killed_run_left_is_removed_and_what_a_living_one_has_is_not(tmp_path: Path) -> None:
    left, begun, living, foreign = (tmp_path / f"{PREFIX}{name}" for name in ("left", "begun", "living", "foreign"))
    for place in (left, begun, living):
        place.mkdir()
    for place in (left, living):
        (place / "lock").touch()
        (place / "7.blocks").write_bytes(LARGE)
    foreign.write_text("a file of that name")
    with (living / "lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with blocks_kept(str(tmp_path / "out")):
            assert len(list(tmp_path.iterdir())) == 3
    assert {path.name for path in tmp_path.iterdir()} == {living.name, foreign.name}
    assert (living / "7.blocks").exists()


# Whole runs


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export whose blocks of ids are large enough to stay on disk."""
    folder = tmp_path_factory.mktemp("large") / "in"
    sample_export([f"--output={folder}", "--users=400", "--days=1", "--rows=30000", "--flush_minutes=0"])
    return folder / "currents"


@pytest.fixture(autouse=True)
def units_of_some_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that two workers have something to do."""
    monkeypatch.setattr(several_units, "UNIT_FILES", 20)
    several_units.cut_small(monkeypatch)


def run(export: Path, output: Path, *more: str) -> int:
    return command.main([f"--input={export}", f"--output={output}", NOW, *more])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_gives_the_same_bytes_with_its_blocks_on_disk_and_in_memory(
    workers: int, export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    close = blocks_on_disk.close

    def noted(folder: str) -> None:
        sizes.extend(path.stat().st_size for path in Path(folder).glob("*.blocks"))
        close(folder)

    monkeypatch.setattr(blocks_on_disk, "close", noted)
    assert run(export, tmp_path / "disk", f"--workers={workers}") == 0
    assert len(sizes) == workers
    assert min(sizes) > TRAVELS
    monkeypatch.setattr(block_folder, "_is_memory", lambda folder: True)
    assert run(export, tmp_path / "memory", f"--workers={workers}") == 0
    assert len(sizes) == workers
    assert published(tmp_path / "disk") == published(tmp_path / "memory")
    traffic = [_traffic(tmp_path / name / REPORTS[0]) for name in ("disk", "memory")]
    assert len(traffic[0]) > 5
    assert traffic[0] == traffic[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "memory"]


def _traffic(report: Path) -> dict[str, Any]:
    """Elements and bytes between steps, without the figures, whose seconds are never the same."""
    kinds: dict[str, Any] = command.json.loads(report.read_bytes())["timing"]["shuffled"]
    return {kind: counts for kind, counts in kinds.items() if kind != "figures"}


_QUIET = "import pipelines.launch.progress_line\npipelines.launch.progress_line._PLAIN_SECONDS = 3600"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_ends_the_run_in_one_line(workers: int, export: Path, tmp_path: Path) -> None:
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))"
    process = start(export, tmp_path / "out", f"--workers={workers}", patch=f"{limit}\n{_QUIET}", flags=(NOW,))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    assert errors.startswith(f"currents-to-mixpanel: cannot write {tmp_path / PREFIX}")
    assert "File too large: free that disk" in errors
    assert errors.count("\n") == 1
    assert not list(tmp_path.glob(f"{PREFIX}*"))


_STOPS = (
    "import transforms.resolve_identities\ntransforms.resolve_identities.resolve = lambda *_, **__: time.sleep(600)"
)


def test_what_a_killed_run_of_one_process_kept_goes_with_the_next(export: Path, tmp_path: Path) -> None:
    process = start(export, tmp_path / "out", "--workers=1", patch=_STOPS, flags=(NOW,))
    _wait_for_blocks(tmp_path, 1)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=10)
    assert len(list(tmp_path.glob(f"{PREFIX}*"))) == 1
    assert run(export, tmp_path / "out") == 0
    assert not list(tmp_path.glob(f"{PREFIX}*"))


def test_what_a_killed_run_of_two_kept_goes_with_its_workers(export: Path, tmp_path: Path) -> None:
    process = start(export, tmp_path / "out", "--workers=2", flags=(NOW,))
    _wait_for_blocks(tmp_path, 1)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=20)  # workers hold its standard error open
    until = time.monotonic() + 20
    while list(tmp_path.glob(f"{PREFIX}*")):
        assert time.monotonic() < until, "it stays"
        time.sleep(0.05)
    assert list((tmp_path / "temporary").iterdir()) == []


def _wait_for_blocks(folder: Path, files: int) -> None:
    until = time.monotonic() + 30
    while len(list(folder.glob(f"{PREFIX}*/*.blocks"))) < files:
        assert time.monotonic() < until, "no block comes"
        time.sleep(0.01)
