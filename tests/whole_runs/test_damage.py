"""Each kind of damage among good files: what is kept, what is said of it, and when a run refuses to go on."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.commands.whole_run import read_output, run_in_process
from tests.exports import small_exports
from tests.exports.small_exports import MARKER, NOW, avro, flipped, path, rows, with_fields, write
from transforms.evidence import unit_evidence

GOOD_ROWS = 24
BROKEN_ROWS = 12  # three blocks of four
BAD = path("bad")


class Case(NamedTuple):
    """A broken file: its bytes, and what there must be to read of it; ``block`` None is the whole file."""

    content: bytes
    kept: int
    reason: str
    block: int | None
    detail: str
    cure: str
    rows_lost: int


def _offset(content: bytes, block: int) -> int:
    """The byte at which a block's header begins."""
    position = content.index(MARKER) + len(MARKER)
    for _ in range(block):
        position = content.index(MARKER, position) + len(MARKER)
    return position


BROKEN = avro(rows("bad", BROKEN_ROWS))
DEFLATED = avro(rows("bad", BROKEN_ROWS), codec="deflate")


def stray(content: bytes, number: int) -> bytes:
    """The content with a text that is not UTF-8 in one row, and a branch that its union has not in the next.

    The columns of pass 1 are read through both; whole, the block is not its rows.
    """
    bad, tag = b"campaign \xff\xfe%02d" % number, b"\x1acampaign %04d" % (number + 1)
    return content.replace(b"campaign %04d" % number, bad).replace(b"\x02" + tag, b"\x04" + tag)


STRAY = stray(avro(rows("bad", BROKEN_ROWS)), 6)
TEXT_ID = [{**row, "id": number} for number, row in enumerate(rows("bad", BROKEN_ROWS))]
TEXT_TIME = [{**row, "time": "2026-02-01"} for row in rows("bad", BROKEN_ROWS)]
CASES = {
    "truncated in a block": Case(BROKEN[:-60], 8, "truncated", 2, "ends inside the block", "upload it again", 4),
    "truncated in the header": Case(BROKEN[:40], 0, "truncated", None, "ends inside its header", "upload it again", 0),
    "byte of a compressed block": Case(
        flipped(DEFLATED, _offset(DEFLATED, 1) + 20), 8, "block_corrupt", 1, "does not decompress", "upload the file", 4
    ),
    "block header": Case(
        flipped(BROKEN, _offset(BROKEN, 1)), 8, "block_corrupt", 1, "of the block at byte", "upload the file", 0
    ),
    "sync marker": Case(
        flipped(BROKEN, _offset(BROKEN, 1) - 3), 8, "sync_marker", 0, "sync marker behind", "upload the file", 4
    ),
    "magic": Case(flipped(BROKEN, 0), 0, "not_avro", None, "the file begins with", "--skip", 0),
    "schema in the header": Case(
        flipped(BROKEN, BROKEN.index(b'"record"') + 1), 0, "header", None, "avro.schema", "export the file again", 12
    ),
    "empty file": Case(b"", 0, "empty_file", None, "0 bytes", "--skip", 0),
    "text": Case(b"id,time\n1,2\n", 0, "not_avro", None, "b'id,time", "--skip", 0),
    "gzip": Case(gzip.compress(b"id,time\n1,2\n", mtime=0), 0, "gzip", None, "b'id,time", "--skip", 0),
    "no id": Case(
        avro(rows("bad", BROKEN_ROWS), schema=with_fields(id=None)), 0, "missing_column", None, "[id]", "--skip", 12
    ),
    "no time": Case(
        avro(rows("bad", BROKEN_ROWS), schema=with_fields(time=None)), 0, "missing_column", None, "[time]", "--skip", 12
    ),
    "id of another type": Case(
        avro(TEXT_ID, schema=with_fields(id="long")), 0, "column_type", None, '[id] is "long"', "--skip", 12
    ),
    "time of another type": Case(
        avro(TEXT_TIME, schema=with_fields(time="string")), 0, "column_type", None, "UNIX seconds", "--skip", 12
    ),
    "invalid UTF-8": Case(STRAY, 8, "invalid_utf8", 1, "row 6 is not UTF-8", "upload the file", 4),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_damage_costs_only_what_is_broken(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = CASES[name]
    source = write(tmp_path / "in", {path("a"): avro(rows("a")), BAD: case.content, path("c"): avro(rows("c"))})

    assert _run(source, tmp_path / "out") == 0

    actual = read_output(tmp_path / "out")
    assert actual.report["rows"] == {**_NOTHING, "read": GOOD_ROWS + case.kept, "events": GOOD_ROWS + case.kept}
    assert len(actual.event_lines) == GOOD_ROWS + case.kept
    (line,) = actual.rejects
    assert (line["file"], line["reason"], line["block"]) == (BAD, case.reason, case.block)
    assert (line["row"], line["id"], line["record"]) == (None, None, None)
    assert line["event_type"] == small_exports.OPEN
    assert case.detail in line["detail"]
    assert case.cure in line["detail"]
    damaged = actual.report["damaged"]
    whole = case.block is None
    assert damaged == {
        "files": 1,
        "blocks": 0 if whole else 1,
        "whole_files": 1 if whole else 0,
        "rows_lost": case.rows_lost,
        "examples": [
            {key: line[key] for key in ("file", "block", "reason", "detail")}
            | {"rows_lost": damaged["examples"][0]["rows_lost"]}
        ],
    }
    assert (damaged["examples"][0]["rows_lost"] or 0) == case.rows_lost
    page = (tmp_path / "out" / "report.html").read_text().replace("<wbr>", "")
    assert "Damaged files" in page
    assert "bad.avro" in page
    rows_lost = "1 row" if case.rows_lost == 1 else f"{case.rows_lost} rows"
    assert f"warning    1 damaged file: {rows_lost} known to be lost" in capsys.readouterr().out


_NOTHING = dict.fromkeys(
    (
        "read",
        "events",
        "repeats",
        "rejects",
        "identity_only",
        "not_exported",
        "profile_updates",
        "deletions",
        "withheld",
    ),
    0,
)


def test_a_repaired_header_marker_loses_nothing(tmp_path: Path) -> None:
    content = flipped(BROKEN, BROKEN.index(MARKER) + 2)
    source = write(tmp_path / "in", {path("a"): avro(rows("a")), BAD: content})

    assert _run(source, tmp_path / "out") == 0

    actual = read_output(tmp_path / "out")
    assert actual.report["rows"]["events"] == 24
    assert [(line["reason"], line["block"]) for line in actual.rejects] == [("header", None)]
    assert {key: actual.report["damaged"][key] for key in ("files", "whole_files", "rows_lost")} == {
        "files": 1,
        "whole_files": 0,
        "rows_lost": 0,
    }


def test_every_damage_at_once_is_counted_and_the_whole_rows_are_kept(tmp_path: Path) -> None:
    files = {path(f"bad-{number:02}"): case.content for number, case in enumerate(CASES.values())}
    source = write(tmp_path / "in", {path("a"): avro(rows("a")), path("z"): avro(rows("z")), **files})

    assert _run(source, tmp_path / "out", "--max_reject_share=1") == 0

    actual = read_output(tmp_path / "out")
    kept = {case.content: case.kept for case in CASES.values()}
    # All broken files hold the same rows: of each, one is an event and the others are repeats of it.
    assert actual.report["rows"]["read"] == GOOD_ROWS + sum(kept.values())
    assert actual.report["rows"]["events"] == GOOD_ROWS + BROKEN_ROWS
    assert sorted(line["file"] for line in actual.rejects) == sorted(files)
    assert actual.report["damaged"]["files"] == len(CASES)


def test_a_row_that_repeats_were_dropped_for_must_be_readable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Pass 1 reads no campaign_name, so that it sees nothing wrong with the first of the equal rows.
    files = {
        path("0"): stray(avro(rows("z", 4)), 1),
        path("a"): STRAY,
        path("b"): avro(rows("bad", BROKEN_ROWS)),
    }
    source = write(tmp_path / "in", files)

    assert _run(source, tmp_path / "out") == 1

    message = capsys.readouterr().err
    assert f"row 4 of {path('a')} cannot be read" in message
    assert "row 6 is not UTF-8" in message
    assert f"--skip {path('a')}" in message
    assert message.count("\n") == 1
    assert not (tmp_path / "out" / "_manifest.json").exists()

    assert _run(source, tmp_path / "out2", "--skip", path("a")) == 0
    assert read_output(tmp_path / "out2").report["rows"]["events"] == BROKEN_ROWS


@pytest.mark.parametrize("disguised", [False, True], ids=["seen by its time", "of equal size and time"])
def test_a_file_changed_between_the_passes_fails_the_run(
    disguised: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "in", {path("a"): avro(rows("a")), path("b"): avro(rows("b"))})
    victim = source / path("b")
    gather = unit_evidence.gather

    def gather_then_change(*arguments: Any) -> Any:
        found = gather(*arguments)
        before = victim.stat()
        with victim.open("r+b") as file:
            file.write(avro(rows("b")).replace(b"campaign 0003", b"CAMPAIGN 0003"))
        if disguised:
            os.utime(victim, ns=(before.st_atime_ns, before.st_mtime_ns))
        return found

    monkeypatch.setattr("transforms.read_ids.gather", gather_then_change)

    assert _run(source, tmp_path / "out") == 1

    message = capsys.readouterr().err
    assert f"{victim} changed" in message
    assert "run again" in message
    assert message.count("\n") == 1
    assert not (tmp_path / "out" / "_manifest.json").exists()


def test_a_file_gone_between_the_passes_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "in", {path("a"): avro(rows("a"))})
    gather = unit_evidence.gather

    def gather_then_remove(*arguments: Any) -> Any:
        found = gather(*arguments)
        (source / path("a")).unlink()
        return found

    monkeypatch.setattr("transforms.read_ids.gather", gather_then_remove)

    assert _run(source, tmp_path / "out") == 1
    assert "is gone now: run again" in capsys.readouterr().err
    assert not (tmp_path / "out" / "_manifest.json").exists()


def _early(count: int, total: int) -> list[dict[str, Any]]:
    """Rows of which ``count`` are too old for Mixpanel."""
    return [{**row, "time": 5 if number < count else row["time"]} for number, row in enumerate(rows("r", total))]


@pytest.mark.parametrize(
    ("content", "more", "status"),
    [
        (avro(_early(10, 1000)), (), 0),  # exactly one in a hundred
        (avro(_early(11, 1000)), (), 4),
        (avro(_early(11, 1000)), ("--max_reject_share=0.011",), 0),
        (avro(_early(1, 1000)), ("--max_reject_share=0",), 4),
        (avro(_early(998, 999)), (), 0),  # too few rows and files to judge by
        (avro(_early(999, 999)), (), 4),  # nothing is left to publish
        (b"PK\x03\x04" + b"x" * 500, (), 4),
        (avro(_early(1000, 1000)), ("--max_reject_share=1",), 0),
        (avro(rows("r", 1000), block_rows=250)[:-100], (), 4),  # rows lost count like rejects
    ],
)  # fmt: skip
def test_the_share_of_rejects_is_held_against_its_limit(
    content: bytes, more: tuple[str, ...], status: int, tmp_path: Path
) -> None:
    source = write(tmp_path / "in", {path("a"): content})
    assert _run(source, tmp_path / "out", *more) == status
    assert (tmp_path / "out" / "_manifest.json").exists() == (status == 0)


@pytest.mark.parametrize(("broken", "status"), [(0, 0), (3, 4), (20, 4)])
def test_twenty_files_are_enough_to_judge_by(broken: int, status: int, tmp_path: Path) -> None:
    files = {path(f"{number:02}"): b"" if number < broken else avro(rows(f"f{number}", 2)) for number in range(20)}
    if 0 < broken < 20:  # an empty file has no rows to lose: it is its missing ones that count
        files |= {path(f"{number:02}"): b"no Avro" * 100 for number in range(broken)}
    assert _run(write(tmp_path / "in", files), tmp_path / "out") == status


def test_eighteen_unreadable_files_beside_one_that_can_be_read_are_too_few_to_judge_by(tmp_path: Path) -> None:
    files = {path(f"{number:02}"): b"" for number in range(18)}
    source = write(tmp_path / "in", {**files, path("good"): avro(rows("good", 1))})
    assert _run(source, tmp_path / "out") == 0


def test_a_run_in_which_no_row_could_be_read_fails_with_one_file_too(tmp_path: Path) -> None:
    source = write(tmp_path / "in", {path("a"): b"", path("empty"): avro([])})
    assert _run(source, tmp_path / "out") == 4
    assert not (tmp_path / "out" / "_manifest.json").exists()


@pytest.mark.parametrize("content", [b"PK\x03\x04" + b"x" * 500, b"<Error/>", b"\x00" * 400, avro(rows("a", 4))[:-30]])
def test_what_could_not_be_read_at_all_is_published_only_where_that_is_asked_for(
    content: bytes, tmp_path: Path
) -> None:
    source = write(tmp_path / "in", {path("bad"): content, path("without-rows"): avro([])})
    assert _run(source, tmp_path / "out", "--max_reject_share=0.99") == 4
    assert _run(source, tmp_path / "out", "--max_reject_share=1") == 0


def test_a_file_that_holds_no_rows_by_its_own_counts_is_no_failure(tmp_path: Path) -> None:
    source = write(tmp_path / "in", {path("empty"): avro([]), path("b"): avro([], schema=with_fields(id=None))})
    assert _run(source, tmp_path / "out") == 0
    assert read_output(tmp_path / "out").report["rows"]["read"] == 0


def test_withheld_rows_never_count_as_rejects(tmp_path: Path) -> None:
    source = write(tmp_path / "in", {path("a"): avro(rows("a", 1200))})
    assert _run(source, tmp_path / "out", "--exclude_events=*", "--max_reject_share=0") == 0
    assert read_output(tmp_path / "out").report["rows"]["withheld"] == 1200


def test_the_refusal_names_the_most_frequent_reasons_with_an_example_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Thirty rows of one reason before the only one of another must not crowd it out.
    nullable = with_fields(id=["null", "string"], time=["null", "int"])
    some = [{**row, "id": None} if number < 1000 else row for number, row in enumerate(rows("r", 1100))]
    some[1050]["time"] = NOW + 7200
    some[1051]["time"] = None
    update = "users.behaviors.CustomEvent"
    files: dict[str, bytes] = {
        path("rows"): avro(some, schema=nullable, block_rows=100),
        path("gz"): gzip.compress(b"x"),
        path("text"): b"some text",
        path("nothing"): b"",
        path("z", event_type=update): avro(rows("s", 40), block_rows=10)[:-100],
    }
    source = write(tmp_path / "in", files)

    assert _run(source, tmp_path / "out") == 4

    head, *lines = capsys.readouterr().err.splitlines()
    assert head.startswith("currents-to-mixpanel: ")
    assert "more than --max_reject_share 0.01 allows" in head
    assert "--skip" in head
    assert lines[0].startswith(f"  missing_id: 1,000, e.g. {path('rows')} row ")
    assert lines[1].startswith(f"  truncated: 10, e.g. {path('z', event_type=update)} block 3: the file ends inside")
    assert lines[2].startswith(f"  time_invalid: 2, e.g. {path('rows')} row 105")
    assert sorted(line.split(":")[0].strip() for line in lines[3:]) == ["empty_file", "gzip", "not_avro"]
    assert all("e.g. event_type=" in line for line in lines)
    assert not (tmp_path / "out" / "_manifest.json").exists()

    # The limit decides whether a run is published, not what it holds: the same folder serves a looser one.
    assert _run(source, tmp_path / "out", "--max_reject_share=1") == 0
    assert read_output(tmp_path / "out").report["rows"]["rejects"] == 1002


def test_the_report_has_an_example_of_every_reason(tmp_path: Path) -> None:
    nullable = with_fields(id=["null", "string"])
    some = [{**row, "id": None} if number < 60 else row for number, row in enumerate(rows("r", 70))]
    some[65]["time"] = 7
    source = write(tmp_path / "in", {path("a"): avro(some, schema=nullable)})
    assert _run(source, tmp_path / "out") == 0
    examples = read_output(tmp_path / "out").report["reject_examples"]
    assert len(examples) == 20
    assert {example["reason"] for example in examples} == {"missing_id", "time_invalid"}


def test_every_reject_line_can_be_found_in_its_file(tmp_path: Path) -> None:
    some = rows("r", 12)
    some[7]["time"] = 7
    source = write(tmp_path / "in", {path("a"): avro(rows("a")), path("b"): avro(some)})
    assert _run(source, tmp_path / "out") == 0
    (line,) = read_output(tmp_path / "out").rejects
    assert (line["file"], line["row"], line["id"], line["reason"]) == (path("b"), 7, "r-0007", "time_invalid")
    assert line["record"] == {key: value for key, value in some[7].items() if value is not None}


def _run(source: Path, output: Path, *more: str) -> int:
    return run_in_process(source, output, f"--now={NOW}", *more)
