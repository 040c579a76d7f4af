"""The command line as a person meets it: help, refusals that name the cure, what is read, and the exit status."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines import currents_to_mixpanel as command
from pipelines.command_line import options
from pipelines.command_line.failures import cause
from tests.commands.whole_run import ROOT, read_output, run_cli
from tests.exports.small_exports import NOW, SCHEMA, avro, path, rows, write

HERE = ("--input=in", "--output=out")


def refusal(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line that a command line is refused with."""
    assert command.main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("currents-to-mixpanel: ")
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--inptu", "in", "--output=out"], "--inptu is not a flag: did you mean --input?"),
        ([*HERE, "--device-link=sole"], "--device-link is not a flag: did you mean --device_links?"),
        ([*HERE, "--overwrit"], "--overwrit is not a flag: did you mean --overwrite?"),
        ([*HERE, "-output=x"], "-output is not a flag: did you mean --output?"),
        ([*HERE, "--zzz=1"], "--zzz is not a flag: --help lists them"),
        ([*HERE, "--temp_location=x"], "--temp_location is an option of DataflowRunner, and this is DirectRunner"),
        ([*HERE, "more"], "more has no flag before it: every value needs one"),
        (["--input=in"], "required: --output"),
        (["--output=out"], "required: --input"),
        (["--input=,", "--output=out"], "--input is empty"),
        (["--input=in", "--output="], "--output is empty"),
        ([*HERE, "--since=yesterday"], "--since yesterday is not a time: write UNIX seconds or ISO 8601, e.g. 2026"),
        ([*HERE, "--until=2026-13-01"], "--until 2026-13-01 is not a time"),
        ([*HERE, "--now=99999999999999999999"], "--now 99999999999999999999 is not a time"),
        ([*HERE, "--native_since=0x"], "--native_since 0x is not a time"),
        ([*HERE, "--since=2026-03-02", "--until=2026-03-01"], "--since 2026-03-02 is not before --until 2026-03-01"),
        ([*HERE, "--events_since=5", "--events_until=5"], "--events_since 5 is not before --events_until 5"),
        ([*HERE, "--events_until=soon"], "--events_until soon is not a time"),
        ([*HERE, "--users_share=1.5"], "1.5 is not a share: write a number from 0 to 1"),
        ([*HERE, "--users_share=nan"], "nan is not a share"),
        ([*HERE, "--max_reject_share=-1"], "-1 is not a share"),
        ([*HERE, "--workers=0"], "0 is not a count: write a whole number from 1 on"),
        ([*HERE, "--workers=two"], "two is not a count"),
        ([*HERE, "--max_profiles_per_device=²"], "² is not a count"),
        ([*HERE, "--anonymous=some"], "invalid choice: 'some'"),
        ([*HERE, "--id_merge=original"], "--id_merge original is not supported yet: use simplified, none or native"),
        ([*HERE, "--device_stay=-1"], "-1 is not a number of days: write one such as 7 or 0.5, or any"),
        ([*HERE, "--device_stay=all"], "all is not a number of days"),
        ([*HERE, "--device_stay=nan"], "nan is not a number of days"),
        ([*HERE, "--device_links=sole", "--device_stay=2"], "--device_stay 2.0 is for --device_links next, and it is"),
        ([*HERE, "--device_links=none", "--device_stay=any"], "--device_stay any is for --device_links next"),
        ([*HERE, "--runner=DaskRunner"], "--runner DaskRunner is refused, since it lost or doubled data in trials"),
        ([*HERE, "--tag= "], "--tag is empty"),
        ([*HERE, "--event_types="], "--event_types is empty"),
        ([*HERE, "--exclude_events=,"], "--exclude_events is empty"),
        ([*HERE, "--direct_running_mode=in_memory", "--workers=2"], "in_memory is one process"),
    ],
)  # fmt: skip
def test_a_command_that_cannot_be_obeyed_is_refused(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refusal(capsys, *argv)


@pytest.mark.parametrize(
    ("flag", "variable"),
    [
        ("--s3_secret_access_key", "AWS_SECRET_ACCESS_KEY"),
        ("--s3-secret-access-key", "AWS_SECRET_ACCESS_KEY"),
        ("--s3_access_key_id", "AWS_ACCESS_KEY_ID"),
        ("--s3_session_token", "AWS_SESSION_TOKEN"),
        ("--azure_connection_string", "AZURE_STORAGE_CONNECTION_STRING"),
        ("--token", "MIXPANEL_TOKEN"),
        ("--my_password", "environment"),
    ],
)
@pytest.mark.parametrize("joined", [True, False])
def test_secrets_are_refused_and_never_repeated(
    flag: str, variable: str, joined: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "hunter2-hunter2"
    message = refusal(capsys, *HERE, *([f"{flag}={secret}"] if joined else [flag, secret]))
    assert flag in message
    assert variable in message
    assert secret not in message


def test_an_event_type_that_nobody_knows_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = avro(rows("b"), schema={**SCHEMA, "name": "dataexport.S3.inner.users.new.Thing"})
    write(tmp_path / "in", {path("a"): avro(rows("a")), path("b", event_type="users.new.Thing"): new})
    where = (f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}", f"--now={NOW}")
    message = refusal(capsys, *where, "--event_types=users.messages.email.Opne")
    assert (
        "--event_types users.messages.email.Opne is not an event type: did you mean users.messages.email.Open?"
        in message
    )
    assert not (tmp_path / "out").exists()

    # A glob, and a type that only the export knows.
    assert command.main([*where, "--event_types=users.new.*"]) == 0
    assert read_output(tmp_path / "out").report["rows"]["events"] == 12


def test_an_input_without_files_is_refused_with_the_nearest_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "in2", {path("a"): avro(rows("a"))})
    (tmp_path / "empty" / "deep").mkdir(parents=True)
    output = f"--output={tmp_path / 'out'}"
    for source, nearest in {
        tmp_path / "in": f"the nearest folder that exists is {tmp_path}\n",  # a prefix is a whole path segment
        tmp_path / "in2" / "event_type=x" / "*.avro": f"the nearest folder that exists is {tmp_path / 'in2'}\n",
        tmp_path / "in2" / "*.parquet": f"the nearest folder that exists is {tmp_path / 'in2'}\n",
        tmp_path / "empty": "the folder is there, but holds no .avro file\n",
    }.items():
        message = refusal(capsys, f"--input={source}", output)
        assert f"no .avro file matches --input {source}" in message
        assert message.endswith(nearest)
    message = refusal(capsys, f"--input={tmp_path / 'in2'},{tmp_path / 'gone'}", output)
    assert f"no .avro file matches --input {tmp_path / 'gone'}" in message
    assert "nosuch:// is not a store" in refusal(capsys, "--input=nosuch://bucket/x", output)
    assert not (tmp_path / "out").exists()


def test_an_output_inside_an_input_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "in", {path("a"): avro(rows("a"))})
    inputs = (source, source / "*", f"{source}/**/*.avro", f"{tmp_path}/i?")
    for given, output in [
        *((one, source / "x" / "a.avro") for one in inputs),
        (source, source),
        (source, f"{source}/"),
    ]:
        assert "name a folder outside of it" in refusal(capsys, f"--input={given}", f"--output={output}")
    monkeypatch.chdir(source)
    assert "name a folder outside of it" in refusal(capsys, "--input=.", "--output=out")
    assert "name a folder outside of it" in refusal(capsys, "--input=.", f"--output=../{source.name}/out")
    assert options_of("--input=in", "--output=in2") is None


def options_of(*argv: str) -> str | None:
    """The input that a command line's output lies in."""
    found = options.parse(argv)
    return command.inside(found.output, found.inputs)


def test_since_and_until_read_the_hours_between_them_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {path(hour, hour=f"2026-02-01-{hour}"): avro(rows(hour)) for hour in ("15", "16", "17", "18")}
    files["loose/undated.avro"] = avro(rows("undated"))
    source = write(tmp_path / "in", files)
    argv = [f"--input={source}", f"--output={tmp_path / 'out'}", f"--now={NOW}"]

    assert command.main([*argv, "--since=2026-02-01-16", "--until=2026-02-01T18:00:00Z"]) == 0

    summary = capsys.readouterr().out
    report = read_output(tmp_path / "out").report
    assert report["rows"]["read"] == 36  # two hours and the file without one
    assert any("--since and --until" in warning for warning in report["warnings"])
    assert "warning    who is who was decided on the hours between --since and --until only" in summary

    (source / "loose/undated.avro").unlink()
    message = refusal(capsys, argv[0], f"--output={tmp_path / 'out2'}", "--since=2027-01-01")
    assert "none of 4 files is left by --since, --until and --skip: widen them" in message


def test_several_inputs_globs_and_files_read_each_file_once(tmp_path: Path) -> None:
    write(tmp_path / "one", {path("a"): avro(rows("a")), path("b"): avro(rows("b"))})
    write(tmp_path / "two", {path("c"): avro(rows("c")), "notes.txt": b"not an export"})
    inputs = [tmp_path / "one", tmp_path / "on*", tmp_path / "one" / path("a"), f"{tmp_path}/two/**/*.avro"]
    argv = [f"--input={','.join(map(str, inputs))}", f"--output={tmp_path / 'out'}", f"--now={NOW}"]
    assert command.main(argv) == 0
    report = read_output(tmp_path / "out").report
    assert report["files"]["read"] == 3
    assert report["rows"] == {**dict.fromkeys(report["rows"], 0), "read": 36, "events": 36}


def test_skip_takes_a_path_as_typed_or_as_rejects_name_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "in", {path("a"): b"", path("b"): avro(rows("b")), path("c"): b""})
    monkeypatch.chdir(tmp_path)
    argv = ["--input=in", "--output=out", f"--now={NOW}"]
    assert command.main([*argv, "--skip", f"in/{path('a')}", "--skip", path("c")]) == 0
    assert read_output(tmp_path / "out").report["files"]["read"] == 1
    capsys.readouterr()
    message = refusal(capsys, *argv, "--skip=nowhere.avro")
    assert "--skip nowhere.avro is none of the files found" in message


def test_rows_of_two_workspaces_fail_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {path("a"): avro(rows("a")), path("b"): avro(rows("b", app_group_id="workspace-2"))}
    source = write(tmp_path / "in", files)
    argv = [f"--input={source}", f"--output={tmp_path / 'out'}", f"--now={NOW}"]
    capsys.readouterr()
    assert command.main(argv) == 1
    message = capsys.readouterr().err
    assert f"[workspace-1] in {path('a')}, [workspace-2] in {path('b')}" in message
    assert "--mixed_workspaces" in message
    assert message.count("\n") == 1
    assert not (tmp_path / "out" / "_manifest.json").exists()
    assert command.main([*argv, "--mixed_workspaces"]) == 0


def test_a_truth_file_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "in", {path("a"): avro(rows("a"))})
    message = refusal(capsys, f"--input={source}", f"--output={tmp_path / 'out'}", f"--truth={tmp_path}/truth.json")
    assert "is not a file" in message


def test_folders_that_may_not_be_used_are_the_users_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "in", {path("a"): avro(rows("a"))})
    (tmp_path / "file").write_text("")
    message = refusal(capsys, f"--input={source}", f"--output={tmp_path / 'file' / 'out'}")
    assert f"cannot write {tmp_path / 'file' / 'out'}" in message
    assert "is a file: name a folder" in refusal(capsys, f"--input={source}", f"--output={tmp_path / 'file'}")
    scandir = os.scandir

    def no_entry(folder: str) -> Any:  # root may enter every folder, so that a mode would prove nothing here
        if folder == str(source):
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", no_entry)
    message = refusal(capsys, f"--input={source}", f"--output={tmp_path / 'out'}")
    assert f"cannot list {source}: Permission denied" in message


@pytest.mark.slow
@pytest.mark.parametrize(("more", "status"), [((), 0), (("--mixed_workspace",), 2), (("--max_reject_share=0",), 4)])
def test_the_process_ends_with_its_status_and_without_a_traceback(
    more: tuple[str, ...], status: int, tmp_path: Path
) -> None:
    damaged = avro(rows("a", 1200), block_rows=100)[:-5]
    source = write(tmp_path / "in", {path("a"): damaged})
    completed = run_cli(source, tmp_path / "out", f"--now={NOW}", "--max_reject_share=1", *more)
    assert completed.returncode == status
    assert "Traceback" not in completed.stderr
    if status:
        assert completed.stdout == ""
        assert completed.stderr.startswith("currents-to-mixpanel: ")
    else:
        assert completed.stderr == ""  # not a word of Beam's own
        assert 6 <= len(completed.stdout.splitlines()) <= 12


@pytest.mark.slow
def test_a_reader_that_leaves_early_does_not_undo_a_published_run(tmp_path: Path) -> None:
    source = write(tmp_path / "in", {path("a"): avro(rows("a"))})
    reader, writer = os.pipe()
    os.close(reader)
    argv = [sys.executable, "-m", "pipelines.currents_to_mixpanel", f"--input={source}", f"--output={tmp_path / 'out'}"]
    completed = subprocess.run(
        [*argv, f"--now={NOW}"], stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False, timeout=120
    )
    os.close(writer)
    assert (completed.returncode, completed.stderr) == (0, "")
    read_output(tmp_path / "out")


def test_a_fault_of_the_program_is_one_line_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "in", {path("a"): avro(rows("a"))})
    argv = [f"--input={source}", f"--output={tmp_path / 'out'}", f"--now={NOW}"]

    def broken(*_: Any) -> None:
        raise KeyError("colour")

    monkeypatch.setattr("transforms.read_ids.gather", broken)
    assert command.main(argv) == 1
    message = capsys.readouterr().err
    assert message == "currents-to-mixpanel: KeyError colour: a fault of this program; --verbose shows where\n"

    assert command.main([*argv, "--verbose"]) == 1
    message = capsys.readouterr().err
    assert "in broken\n" in message  # the place
    assert message.splitlines()[-1].startswith("currents-to-mixpanel: KeyError colour")


def test_an_error_of_a_worker_process_is_told_like_any_other() -> None:
    text = (
        "Traceback (most recent call last):\n  File \"x.py\", line 1, in process\n"
        "transforms.errors.TooManyRejects: 2% of 10 rows:\n  not_avro: 3, e.g. a: b\n\n"
        "During handling of the above exception, another exception occurred:\n\n"
        "Traceback (most recent call last):\n  File \"y.py\", line 2, in run\n"
        "RuntimeError: transforms.errors.TooManyRejects: [currents-to-mixpanel: TooManyRejects] "
        "2% of 10 rows:\n  not_avro: 3, e.g. a: b "
        "[while running 'Publish/PublishRun']\n\n"
    )  # fmt: skip
    assert cause(RuntimeError(text)) == "2% of 10 rows:\n  not_avro: 3, e.g. a: b"


def test_run_local_passes_its_arguments_on_from_where_it_is_called(tmp_path: Path) -> None:
    """In a copy whose environment is this one: neither the arguments nor the folder may get lost on the way."""
    project = tmp_path / "project"
    (project / ".venv" / "bin").mkdir(parents=True)
    for name in ("run_local.sh", "environment.sh", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, project / name)
    (project / ".venv" / "bin" / "activate").write_text(f'PATH="{tmp_path}:$PATH"\n')
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\necho "$PWD: $*"\n')
    fake.chmod(0o755)
    (project / ".venv" / "installed-run").touch()
    caller = tmp_path / "caller"
    caller.mkdir()
    shown = subprocess.run(
        [str(project / "run_local.sh"), "--input", "in", "--output", "out"], cwd=caller, capture_output=True, text=True
    )
    assert shown.stdout.splitlines()[-1] == f"{caller}: {project}/currents_to_mixpanel --input in --output out", shown


@pytest.mark.parametrize(("given", "stay"), [((), 1.0), (("--device_stay=0.5",), 0.5), (("--device_stay=any",), None)])
def test_a_device_stay_is_a_number_of_days_or_any(given: tuple[str, ...], stay: float | None) -> None:
    settings = options.parse([*HERE, *given]).settings
    assert (settings.device_links, settings.device_stay) == ("next", stay)
