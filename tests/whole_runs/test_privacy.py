"""Rules on whole runs: a canary in each field of each type, looked for in every byte that a run leaves."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import apache_beam as beam
import orjson
import psutil
import pyarrow.parquet
import pytest

from pipelines import currents_to_mixpanel
from pipelines.command_line.options import parse
from pipelines.graph import build
from tests.commands.whole_run import MODULE, ROOT, read_output, run_cli
from tests.exports import canaries
from tests.exports.random_exports import random_export, write_export
from tests.exports.small_exports import NOW
from transforms import Plan, RunContext
from transforms.currents import catalog
from transforms.errors import CredentialsError
from transforms.privacy.marks import UNMARKED

pytestmark = pytest.mark.slow

KEY = "the-key-that-no-byte-of-a-run-holds"
ENVIRONMENT = {"CURRENTS_HASH_KEY": KEY}
ALWAYS = (f"--now={NOW}", "--max_reject_share=1", "--mixed_workspaces", "--properties=all", "--event_types=*")


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return canaries.write(tmp_path_factory.mktemp("canaries"))


def every_byte(*folders: Path) -> bytes:
    """All files below the folders, opened, with their names."""
    found = []
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        elif path.suffix == ".parquet":
            content += orjson.dumps(pyarrow.parquet.read_table(path).to_pylist())
        found += [str(path).encode(), content]
    return b"\n".join(found)


def run(export: Path, folder: Path, *flags: str) -> bytes:
    """Every byte of a run: its output, its temporary folder, all it printed, and its processes' command lines."""
    temporary = folder / "temporary"
    temporary.mkdir(parents=True)
    command = [sys.executable, "-m", MODULE, f"--input={export}", f"--output={folder / 'out'}", *ALWAYS, *flags]
    environment = {**os.environ, **ENVIRONMENT, "TMPDIR": str(temporary)}
    lines: set[str] = set()
    with (folder / "printed").open("wb") as printed:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=printed, stderr=subprocess.STDOUT)
        while process.poll() is None:
            for each in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
                try:
                    lines.add(" ".join(each.cmdline()))
                except psutil.Error:
                    continue
            try:
                process.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
    assert process.returncode == 0, (folder / "printed").read_text()
    return every_byte(folder) + "\n".join(lines).encode()


def marks(field_of: Any) -> list[bytes]:
    """The canaries of the fields that a predicate names."""
    return [
        canaries.canary(event_type, field.name).encode()
        for event_type, kind in catalog.event_types().items()
        for field in kind.fields
        if field.type.strip("?").startswith(("string", "array")) and field_of(event_type, field)
    ]


def is_pii(_: str, field: catalog.Field) -> bool:
    return "pii" in field.flags and field.name not in ("user_id", "external_user_id")


def is_id(_: str, field: catalog.Field) -> bool:
    return field.name in ("user_id", "external_user_id", "orphaned_by_id")


def is_custom(event_type: str, field: catalog.Field) -> bool:
    return field.name in canaries.DOCUMENTS


@pytest.mark.parametrize(("verb", "group"), [("drop", "pii"), ("hash", "pii+")])
def test_no_byte_of_a_run_has_a_value_that_a_rule_drops_or_hashes(
    verb: str, group: str, export: Path, tmp_path: Path
) -> None:
    rules = f"{group},[*] mail,[*] deep,profile:mail,profile:deep,users.*:platform,$device"
    left = run(export, tmp_path, f"--{verb}={rules}", "--hash=" + ("" if verb == "drop" else rules + ",") + "user_id,"
               "external_user_id,device_id", "--verbose", "--workers=2")  # fmt: skip

    gone = [*marks(is_pii), *marks(is_id)]
    gone += marks(lambda _, field: field.name in ("platform", "device_model", "device_id"))
    gone += marks(lambda _, field: field.name in UNMARKED) if group == "pii+" else []
    assert len(gone) > 300
    assert [mark for mark in gone if mark in left] == []
    custom = marks(is_custom)
    assert {left.count(mark) - left.count(b"kept-" + mark) for mark in custom} == {0}, (
        "keys that rules do not name stay"
    )
    assert b"kept-" + custom[0] in left
    assert canaries.canary(catalog.CUSTOM_EVENT, "cut").encode() not in left, "a document that cannot be opened"
    kept = marks(lambda _, field: field.name == "campaign_name")
    assert [mark for mark in kept if mark not in left] == []
    assert KEY.encode() not in left


def test_numbers_are_dropped_and_hashed_too(export: Path, tmp_path: Path) -> None:
    left = run(export, tmp_path, "--drop=*atitude,*ong*", "--hash=price,duration")
    for event_type, kind in catalog.event_types().items():
        for field in kind.fields:
            if field.name in ("latitude", "longitude", "price", "duration"):
                assert str(canaries.number(event_type, field.name)).encode() not in left, (event_type, field.name)


def test_raw_rejects_keep_the_record_alone(export: Path, tmp_path: Path) -> None:
    run(export, tmp_path, "--drop=email_address", "--raw_rejects")
    mark = canaries.canary("users.messages.email.Open", "email_address").encode()
    out = tmp_path / "out"
    assert mark in every_byte(out / "rejects")
    assert mark not in every_byte(out / "events", out / "profiles") + (out / "report.json").read_bytes()


def test_neither_the_graph_nor_the_settings_hold_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURRENTS_HASH_KEY", KEY)
    options = parse(["--input=in", "--output=out", "--hash=user_id"])
    pipeline = beam.Pipeline()
    context = RunContext("out", "", options.settings, Plan.for_input(1, 1, 1), "", {}, {}, 0.0, 0)
    build(pipeline, (), context)
    graph = pipeline.to_runner_api(return_context=False).SerializeToString()
    assert options.settings.hash_key_seal is not None
    assert KEY.encode() not in graph


def test_hashes_are_equal_over_runs_and_persons_are_those_of_real_ids(tmp_path: Path) -> None:
    write_export(random_export(31), tmp_path / "in", codec="null")
    shared = (f"--now={NOW}", "--max_reject_share=1")
    hashing = ("--hash=user_id,external_user_id,email_address,device_id",)
    for name, flags in (("real", ()), ("one", hashing), ("two", (*hashing, "--workers=2"))):
        assert run_cli(tmp_path / "in", tmp_path / name, *shared, *flags, env=ENVIRONMENT).returncode == 0
    real, one, two = (read_output(tmp_path / name) for name in ("real", "one", "two"))
    assert {path: entry["sha256"] for path, entry in one.manifest.items() if "report" not in path} == {
        path: entry["sha256"] for path, entry in two.manifest.items() if "report" not in path
    }

    def persons(lines: list[bytes]) -> Counter[int]:
        return Counter(Counter(orjson.loads(line)["properties"]["distinct_id"] for line in lines).values())

    assert persons(one.event_lines) == persons(real.event_lines)
    assert one.report["persons"] == real.report["persons"]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--drop=email_adress",), "did you mean email_address?"),
        (("--hash_key_file=gs://a/b",), "nothing is hashed"),
        (("--hash=pii", "--hash_key_file=/nowhere/key"), "is empty or not there"),
        (("--drop=@/nowhere/rules",), "is not a file"),
        (("--hash_key=abc", "--hash=pii"), "CURRENTS_HASH_KEY"),
    ],
)
def test_rules_that_cannot_be_obeyed_end_with_2_before_anything_is_read(
    flags: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    done = run_cli(tmp_path / "in", tmp_path / "out", *flags)
    assert (done.returncode, told in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("more", [(), ("--verbose",)])
def test_the_words_of_a_fault_are_not_shown_where_rules_say_what_may_leave(
    more: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    value = "@".join(("ada", "example.org"))

    def fault(*_: object, **__: object) -> None:
        raise KeyError(value)  # the line is shown, and must not hold it itself

    monkeypatch.setattr(currents_to_mixpanel, "run", fault)
    for rules, shown in (((), True), (("--drop=pii",), False)):
        assert currents_to_mixpanel.main(["--input=in", "--output=out", *rules, *more]) == 1
        told = capsys.readouterr()
        assert (value in told.out + told.err) is shown


def test_workers_elsewhere_are_not_left_without_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURRENTS_HASH_KEY", KEY)
    elsewhere = ["--input=gs://a/b", "--output=gs://a/c", "--runner=FlinkRunner", "--flink_master=host:8081"]
    with pytest.raises(CredentialsError, match="workers elsewhere do not have this environment"):
        parse(
            [
                *elsewhere,
                "--environment_type=PROCESS",
                '--environment_config={"command": "/boot"}',
                "--prepared_workers",
                "--hash=pii",
            ]
        )


def test_another_key_is_another_run_and_another_place_of_it_is_not(export: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    place = ("--hash=user_id", f"--hash_key_file={tmp_path / 'key'}")
    assert run_cli(export, tmp_path / "out", *ALWAYS, *place).returncode == 0
    (tmp_path / "out" / "_manifest.json").unlink()
    other = run_cli(export, tmp_path / "out", *ALWAYS, "--hash=user_id", env={"CURRENTS_HASH_KEY": "another key"})
    assert (other.returncode, "belongs to another run" in other.stderr) == (2, True), other.stderr
    same = run_cli(export, tmp_path / "out", *ALWAYS, "--hash=user_id", env=ENVIRONMENT)
    assert same.returncode == 0, same.stderr
