"""A bucket that gets new files all the time: what a run reads of it, and how it goes on after it was killed."""

from __future__ import annotations

import datetime
import json
import time
from pathlib import Path
from typing import Any

import pytest

from pipelines import currents_to_mixpanel as command
from pipelines.command_line import options
from pipelines.command_line.inputs import split_inputs
from tests.commands.whole_run import read_output
from tests.exports.small_exports import avro, path, rows, write
from transforms.output.claims import claim
from transforms.settings import Settings

pytestmark = pytest.mark.slow

NOON = 1_770_120_000  # 2026-02-03T12:00:00Z


def file_of(name: str, hour: int) -> dict[str, bytes]:
    return {path(name, hour=f"2026-02-03-{hour:02}"): avro(rows(name))}


def _nothing(*_: object) -> None:
    pass


def _fail(*_: object) -> None:
    raise RuntimeError("killed")


def at(moment: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: moment)


def killed(argv: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transforms.report.figures.finish", _fail)
        patch.setattr(command, "release", _nothing)
        assert command.main(argv) == 1


def test_a_run_reads_up_to_the_last_full_hour_before_its_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "in", file_of("a", 11) | file_of("b", 12) | {"loose.avro": avro(rows("c"))})
    at(NOON + 1_500, monkeypatch)
    assert command.main([f"--input={source}", f"--output={tmp_path / 'out'}"]) == 0
    report = read_output(tmp_path / "out").report
    assert report["files"]["read"] == 2
    assert report["listing"]["read_until"] == NOON
    assert report["listing"]["not_read"]["unfinished_hour"]["files"] == 1
    assert "1 left for later (of 2026-02-03 12:00 UTC and after)" in capsys.readouterr().out
    assert "left for later" in (tmp_path / "out" / "report.html").read_text("utf-8")

    assert command.main([f"--input={source}", f"--output={tmp_path / 'all'}", "--until=2026-02-04"]) == 0
    report = read_output(tmp_path / "all").report
    assert (report["files"]["read"], report["listing"]["read_until"]) == (3, None)


def test_the_same_command_after_a_kill_goes_on_although_files_have_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "in", file_of("a", 10) | file_of("b", 12))
    argv = [f"--input={source}", f"--output={tmp_path / 'out'}"]
    at(NOON + 1_500, monkeypatch)
    killed(argv)
    begun = json.loads((tmp_path / "out" / "_claim.json").read_bytes())
    assert begun["read_until"] == NOON

    write(source, file_of("c", 12) | file_of("d", 13))
    at(NOON + 7_500, monkeypatch)
    assert command.main([*argv, "--tag=other"]) == 2
    assert "belongs to another run" in capsys.readouterr().err
    assert command.main(argv) == 0
    report = read_output(tmp_path / "out").report
    assert report["files"]["read"] == 1
    assert report["listing"]["read_until"] == NOON
    assert report["listing"]["not_read"]["unfinished_hour"]["files"] == 3
    assert json.loads((tmp_path / "out" / "_claim.json").read_bytes()) == begun


def test_a_run_that_replaces_reads_up_to_its_own_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "in", file_of("a", 10) | file_of("b", 12))
    argv = [f"--input={source}", f"--output={tmp_path / 'out'}"]
    at(NOON + 1_500, monkeypatch)
    killed(argv)
    at(NOON + 7_500, monkeypatch)
    assert command.main([*argv, "--overwrite"]) == 0
    report = read_output(tmp_path / "out").report
    assert (report["files"]["read"], report["listing"]["read_until"]) == (2, NOON + 7_200)


def test_the_hour_follows_from_now_and_is_no_flag() -> None:
    moment = datetime.datetime.fromtimestamp(NOON + 3_599, datetime.timezone.utc).isoformat()
    given = options.parse(["--input=in", "--output=out", f"--now={moment}"])
    assert given.settings.read_until == NOON
    assert "read_until" not in options.shown_flags(given)
    assert options.parse(["--input=in", "--output=out", "--until=2026-01-01"]).settings.read_until is None


def test_two_equal_runs_on_either_side_of_an_hour_share_a_folder(tmp_path: Path) -> None:
    digests = {1: "files until 1", 2: "files until 2"}

    def take(hour: int | None, files: str, **more: Any) -> tuple[str, Settings]:
        settings = Settings(now=100 + (hour or 0), read_until=hour)
        return claim(
            str(tmp_path / "out"), files, settings, "a command", now_given=False, overwrite=False,
            digest_until=lambda wanted: digests[wanted or 0], **more,
        )  # fmt: skip

    first = take(1, digests[1])
    assert take(2, digests[2]) == first
    assert first[1].read_until == 1


# Names with commas


def test_an_input_with_a_comma_in_its_name_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a,b", file_of("a", 10))
    write(tmp_path / "c", file_of("c", 10))
    (tmp_path / "x, y,.avro").write_bytes(avro(rows("x")))
    assert split_inputs("a,b") == ("a,b",)
    assert split_inputs("c,a,b, c ,x, y,.avro") == ("c", "a,b", "c", "x, y,.avro")
    assert split_inputs(f"{tmp_path}/a,b,{tmp_path}/c") == (f"{tmp_path}/a,b", f"{tmp_path}/c")
    assert split_inputs(f"file://{tmp_path}/a,b") == (f"{tmp_path}/a,b",)
    assert split_inputs("p,q,") == ("p", "q")
    assert split_inputs("gs://no-such/a,gs://no-such/b") == ("gs://no-such/a", "gs://no-such/b")  # nobody is asked
    assert command.main(["--input=a,b,c", "--output=out"]) == 0
    assert read_output(tmp_path / "out").report["files"]["read"] == 2

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    capsys.readouterr()
    assert command.main(["--input=a,b", "--output=out2"]) == 2
    assert "--input a,b: a file or folder has exactly that name, and each of a, b exists too" in capsys.readouterr().err
    assert split_inputs("a?b") == ("a?b",)
    assert split_inputs("a,./b") == ("a", "./b")


def test_an_object_with_a_comma_in_its_name_is_one(store_emulator: Any) -> None:
    from transforms.stores.store import join, store_for

    url = store_emulator.url("in")
    with store_emulator.applied():
        store_for(url).put_if_absent(join(url, "a,b", "x.avro"), b"x")
        assert split_inputs(join(url, "a,b")) == (join(url, "a,b"),)
        assert split_inputs(join(url, "a,c")) == (join(url, "a"), "c")
