"""One table of exit statuses, and one object as the last line with ``--json``, for every verb and every way it ends."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines import catalog_entry, currents_to_mixpanel, deliver, flex_template
from pipelines.command_line.exit_status import Status
from pipelines.command_line.failures import passes_limit
from pipelines.sample_export import __main__ as sample_export
from tests.commands import several_units
from tests.commands.deliveries import write_run
from tests.commands.whole_run import ROOT
from tests.exports.small_exports import NOW, avro, path, rows, write
from transforms.errors import AccountingError, TooManyRejects
from transforms.vocabulary.rows import OUTCOMES

Main = Callable[[Sequence[str]], int]
VERBS: dict[str, Main] = {
    "run": currents_to_mixpanel.main, "deliver": deliver.main, "sample": sample_export.main,
    "catalog_entry": catalog_entry.main, "template": flex_template.main,
}  # fmt: skip
STATUS = re.compile(r"\bstatus (\d+)")
TABLES = ("docs/failures.md", "docs/delivery.md")


@pytest.mark.parametrize("page", TABLES)
def test_the_tables_of_the_documentation_are_the_programs(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    (table,) = re.findall(r"\| status \| meaning \|.*\n\|[-|]+\n((?:\|.*\n)+)", text)
    told = [tuple(cell.strip() for cell in line.split("|")[1:3]) for line in table.splitlines()]
    assert told == [(str(int(status)), status.meaning) for status in Status]


def test_prose_names_no_status_that_is_none() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "deploy").glob("*/README.md")]
    named = {(page.name, int(code)) for page in pages for code in STATUS.findall(page.read_text("utf-8"))}
    assert {("flags.md", 0), ("running-on-a-cluster.md", 2)} <= named
    assert {code for _, code in named} <= set(Status)


class Ended:
    """How a verb ended in this process: its status, what it said, and the object of ``--json``."""

    def __init__(self, main: Main, argv: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
        capsys.readouterr()
        self.status = main([*argv, "--json"])
        said = capsys.readouterr()
        self.err = said.err
        self.told: dict[str, Any] = json.loads(said.out.splitlines()[-1])
        assert said.out.endswith("}\n")
        assert self.told["exit_status"] == self.status

    def is_said(self, status: Status, word: str) -> bool:
        return (self.status, self.told["status"]) == (status, word)


@pytest.mark.parametrize("verb", VERBS)
def test_an_unknown_flag_is_refused_in_one_line_and_in_the_object(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = Ended(VERBS[verb], ["--no_such_flag"], capsys)
    assert ended.is_said(Status.REFUSED, "refused")
    assert ended.err.count("\n") == 1
    assert ended.told["message"] in ended.err


@pytest.mark.parametrize("verb", VERBS)
def test_nothing_but_the_verb_is_refused_with_what_is_missing(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    ended = Ended(VERBS[verb], [], capsys)
    assert ended.is_said(Status.REFUSED, "refused")
    assert "required" in ended.told["message"]


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "template"])
def test_help_ends_with_an_object_too(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    ended = Ended(VERBS[verb], ["--help"], capsys)
    assert ended.is_said(Status.DONE, "help")
    assert ended.err == ""


def _interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def _broken(*_: object, **__: object) -> None:
    raise KeyError("colour")


PLACES = {
    "run": ("pipelines.currents_to_mixpanel.survey", ["--input=in", "--output=out"]),
    "deliver": ("pipelines.deliver.open_run", ["--input=in", "--project_id=1", "--region=us"]),
    "sample": ("pipelines.sample_export.__main__.write_export", ["--output=out"]),
}


@pytest.mark.parametrize("verb", PLACES)
def test_an_interruption_and_a_fault_have_their_status_on_every_verb(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, argv = PLACES[verb]
    monkeypatch.setattr(place, _interrupted)
    ended = Ended(VERBS[verb], argv, capsys)
    assert ended.is_said(Status.INTERRUPTED, "interrupted")
    assert "the same command" in ended.err
    monkeypatch.setattr(place, _broken)
    ended = Ended(VERBS[verb], argv, capsys)
    assert ended.is_said(Status.FAILED, "failed")
    assert "a fault of this program" in ended.err
    assert ended.err.count("\n") == 1


def test_a_run_tells_its_counts_where_it_is_published_and_none_where_a_limit_was_passed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    early = [{**row, "time": 5} if number < 20 else row for number, row in enumerate(rows("a", 1000))]
    source = write(tmp_path / "in", {path("a"): avro(early)})
    argv = [f"--input={source}", f"--output={tmp_path / 'out'}", f"--now={NOW}"]

    ended = Ended(currents_to_mixpanel.main, argv, capsys)
    assert ended.is_said(Status.LIMIT, "limit")
    assert "more than --max_reject_share 0.01 allows" in ended.told["message"]
    assert {ended.told[outcome] for outcome in OUTCOMES.codes} == {0}
    assert ended.told["output"] == str(tmp_path / "out")
    assert not (tmp_path / "out" / "_manifest.json").exists()

    ended = Ended(currents_to_mixpanel.main, [*argv, "--max_reject_share=0.5"], capsys)
    assert ended.is_said(Status.DONE, "published")
    assert (ended.told["read"], ended.told["rejects"], ended.told["events"]) == (1000, 20, 980)
    assert ended.told["read"] == sum(ended.told[outcome] for outcome in OUTCOMES.codes[1:])
    report = json.loads((tmp_path / "out" / "report.json").read_bytes())
    assert (ended.told["warnings"], ended.told["output"]) == (report["warnings"], str(tmp_path / "out"))
    assert ended.told["profiles"] == report["identity"]["profiles"] > 0

    ended = Ended(currents_to_mixpanel.main, argv, capsys)
    assert ended.is_said(Status.REFUSED, "refused")
    assert "holds a finished run" in ended.told["message"]


@pytest.mark.slow
def test_what_a_worker_process_raises_has_its_status_and_no_name_of_ours_in_the_message(tmp_path: Path) -> None:
    source = several_units.write_source(tmp_path / "in")
    now = several_units.FLAGS[0]
    run = several_units.start(source, tmp_path / "out", "--workers=2", "--max_reject_share=0", flags=(now,))
    said = run.communicate(timeout=120)[1]
    assert run.returncode == Status.LIMIT, said
    assert re.match(r"currents-to-mixpanel: \d+\.\d+% of \d+ rows are rejected or lost, more than --max_reject", said)
    assert "[currents-to-mixpanel" not in said
    assert "while running" not in said


def test_a_message_of_a_limit_is_told_from_one_that_quotes_it() -> None:
    step = " [while running 'Publish']"
    assert passes_limit(f"Traceback …\nRuntimeError: {TooManyRejects('2%' + step)}")
    assert passes_limit(TooManyRejects("2%"))
    assert not passes_limit(f"RuntimeError: {AccountingError('units: [8] were cut, TooManyRejects: [5]' + step)}")
    assert not passes_limit("TooManyRejects: of somebody else")
    assert not passes_limit(KeyError("TooManyRejects"))


@pytest.mark.slow
def test_a_sample_tells_its_counts_and_leaves_nothing_where_it_was_cut_short(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = [f"--output={tmp_path / 'sample'}", "--users=20", "--days=1", "--rows=500"]
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.sample_export.people.Population.truth", _interrupted)  # all rows are written by then
        ended = Ended(sample_export.main, argv, capsys)
    assert ended.is_said(Status.INTERRUPTED, "interrupted")
    assert not list((tmp_path / "sample").iterdir())

    ended = Ended(sample_export.main, argv, capsys)
    assert ended.is_said(Status.DONE, "written")
    assert ended.told["files"] == len(list((tmp_path / "sample").rglob("*.avro")))
    assert ended.told["profiles"] == len(json.loads((tmp_path / "sample" / "truth.json").read_bytes())["persons"])
    assert ended.told["rows"] >= 500

    ended = Ended(sample_export.main, argv, capsys)
    assert ended.is_said(Status.REFUSED, "refused")
    assert ended.told["rows"] == 0


@pytest.mark.slow
def test_a_disk_that_fills_up_is_a_failure_after_which_the_same_command_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipelines.sample_export.people.Population.truth", full)
    ended = Ended(sample_export.main, [f"--output={tmp_path}", "--users=20", "--days=1", "--rows=500"], capsys)
    assert ended.is_said(Status.FAILED, "failed")
    assert "No space left on device" in ended.err
    assert not list(tmp_path.iterdir())


def test_a_delivery_without_credentials_or_a_run_is_refused_and_a_dry_run_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MIXPANEL_SERVICE_ACCOUNT", "MIXPANEL_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    run = write_run(tmp_path / "run")
    argv = [f"--input={run}", "--project_id=1", "--region=us", "--yes"]
    for words in (argv, [*argv, f"--input={tmp_path}"]):
        ended = Ended(deliver.main, words, capsys)
        assert ended.is_said(Status.REFUSED, "refused")
        assert ended.err.count("\n") == 1
    ended = Ended(deliver.main, [*argv, "--dry_run"], capsys)
    assert ended.is_said(Status.DONE, "dry_run")
    assert ended.told["events"]["to_send"] == 1000


def test_an_entry_of_the_catalogue_is_counted_and_what_is_none_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, {"a.avro": avro(rows("a")), "b.avro": b"no Avro"})
    ended = Ended(catalog_entry.main, [str(tmp_path / "a.avro")], capsys)
    assert ended.is_said(Status.DONE, "printed")
    assert ended.told["columns"] > ended.told["new_columns"] == 0
    ended = Ended(catalog_entry.main, [str(tmp_path / "b.avro")], capsys)
    assert ended.is_said(Status.REFUSED, "refused")
