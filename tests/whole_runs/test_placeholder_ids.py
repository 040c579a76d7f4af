"""Runs on exports whose external ids name nobody, a crowd, another's profile, or one person twice."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from pipelines import currents_to_mixpanel as command
from pipelines.command_line.options import parse
from pipelines.currents_to_mixpanel import main
from tests.commands.whole_run import Actual, compare, flags, read_output
from tests.exports.small_exports import NOW, OPEN, avro, path, write
from tests.oracle import whole_job as oracle
from transforms.errors import UsageError

Row = dict[str, Any]
EVERYBODY = "everybody@example.org"


def row(event_id: str, user: str | None, external: str | None, time: int = NOW - 1000) -> Row:
    return {"id": event_id, "user_id": user, "external_user_id": external, "time": time}


def run(folder: Path, *files: list[Row], **policy: Any) -> Actual:
    """Run the files, hold the result against the oracle, and return it."""
    names = [path(f"{number:02}", hour=f"2026-02-01-{number:02}") for number in range(len(files))]
    write(folder / "in", {name: avro(rows) for name, rows in zip(names, files, strict=True)})
    where = [f"--input={folder / 'in'}", f"--output={folder / 'out'}", f"--now={NOW}"]
    assert main([*where, *flags(**policy)]) == 0
    actual = read_output(folder / "out")
    export = {name: (OPEN, rows) for name, rows in zip(names, files, strict=True)}
    compare(actual, oracle.run(export, now=NOW, **policy))
    return actual


def persons(actual: Actual) -> dict[str, str]:
    """Each event's ``distinct_id`` by its ``$insert_id``."""
    found = [json.loads(line)["properties"] for line in actual.event_lines]
    return {properties["$insert_id"]: properties["distinct_id"] for properties in found}


def test_words_that_are_nobody_make_no_person_of_two(tmp_path: Path) -> None:
    words = ["[object Object]", "(null)", "NaN", "undefined", "None", "guest", "not_authenticated", "<NULL>"]
    words += ["(not set)", "Undefined Undefined", "\u00a0Guest\u2003"]
    words += ["\ufeffguest", "\u200b guest\u200b", "null \u2060"]
    pairs = [(f"e-{n}-{at}", f"p-{n}-{at}", word) for n, word in enumerate(words) for at in "ab"]
    actual = run(tmp_path, [row(*pair) for pair in pairs])
    assert persons(actual) == {event_id: f"$device:{profile}" for event_id, profile, _ in pairs}
    assert actual.report["identity"]["known_users"] == 0
    assert actual.report["identity"]["external_ids_left_out"] == {"nobody": dict.fromkeys(sorted(words), 2)}


def test_own_words_are_nobody_under_no_id(tmp_path: Path) -> None:
    rows = [row("e-1", "p-1", "Kein Konto"), row("e-2", "p-2", " KEIN KONTO"), row("e-3", "p-3", "konto")]
    actual = run(tmp_path, rows, no_id=("kein konto", "other"))
    assert persons(actual) == {"e-1": "$device:p-1", "e-2": "$device:p-2", "e-3": "konto"}


def test_an_external_id_of_another_profiles_form_joins_nobody_and_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        row("e1", "p1", "$device:p9"),
        row("e2", "p9", None),
        row("e4", "p3", "user-7"),
        row("e5", None, "$device:p9"),
    ]
    actual = run(tmp_path, rows)
    assert persons(actual) == {"e1": "$device:p1", "e2": "$device:p9", "e4": "user-7", "e5": ""}
    assert actual.report["identity"]["external_ids_left_out"] == {"anonymous_prefix": {"$device:p9": 2}}
    assert "warning    2 rows have an external id that begins with $device:" in capsys.readouterr().out


def test_a_renamed_external_id_is_told_in_the_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = ["old@example.org", "new@example.org", None, "new@example.org"]
    actual = run(tmp_path, [row(f"e{n}", "p1", own, NOW - 9000 + n) for n, own in enumerate(ids)])
    assert persons(actual) == {"e0": ids[0], "e1": ids[1], "e2": ids[0], "e3": ids[1]}
    said = capsys.readouterr().out
    assert "warning    1 Braze profile had several external ids over time" in said
    assert "[p1]: [old@example.org], then [new@example.org]" in said
    assert "warning    1 link was refused, since each would have joined two known users, e.g. user_id [p1] with" in said


def test_what_the_connector_sends_is_left_to_it_whoever_counts_as_nobody_here(tmp_path: Path) -> None:
    ids = ["guest", "null", "", None, "ada", "$device:x", "0", " ", "Keiner", "000"]
    rows = [row(f"e{n}", f"p{n}", own) for n, own in enumerate(ids)]
    rows += [row(f"before{n}", f"p{n}", own, NOW - 5000) for n, own in enumerate(ids)]
    actual = run(tmp_path, rows, native_since=NOW - 3000, no_id=("keiner",))
    sent = persons(actual)
    assert {event_id for event_id in sent if event_id.startswith("e")} == {"e1", "e2", "e3", "e6"}
    assert len([event_id for event_id in sent if event_id.startswith("before")]) == len(ids)
    assert actual.report["withheld"] == {"left_to_native": 6}
    gain = actual.report["gain"]
    assert (gain["native_rows"], gain["anonymous_rows"], gain["rows_joined_to_known"]) == (6, 8, 0)


def crowd_files() -> list[list[Row]]:
    """Four profiles and a row without one under one id, in files of their own; ada under hers, and once under it."""
    files = [[row(f"c{at}", f"p{at}", EVERYBODY), row(f"n{at}", f"p{at}", None)] for at in range(4)]
    own = [row("a1", "p-ada", "ada"), row("a2", "p-ada", EVERYBODY, NOW - 10), row("b1", "p-bob", "bob")]
    return [*files, own, [row("x1", None, EVERYBODY), row("x2", None, "bob")], [row("x3", None, EVERYBODY)]]


@pytest.mark.parametrize("crowd_ids", ["keep", "drop"])
def test_a_crowd_id_is_named_and_dropped_when_asked_in_every_unit_and_shard(
    crowd_ids: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("transforms.settings._BYTES_A_SHARD", 1_000)
    monkeypatch.setattr("transforms.settings._BYTES_AN_ID_SHARD", 1_000)
    monkeypatch.setattr(command, "survey", functools.partial(command.survey, unit_files=1))
    actual = run(tmp_path, *crowd_files(), crowd_ids=crowd_ids, max_profiles_per_known_user=4)
    assert actual.report["units"] == len(crowd_files())
    said, identity, sent = capsys.readouterr().out, actual.report["identity"], persons(actual)
    assert (
        "1 external id is carried by more Braze profiles than --max_profiles_per_known_user, so most likely a " in said
    )
    assert f"[{EVERYBODY}] by 5 Braze profiles" in said
    assert identity["crowd_examples"] == [{"external_user_id": EVERYBODY, "profiles": 5}]
    assert sent["x2"] == sent["b1"] == "bob"
    if crowd_ids == "keep":
        assert sent["c0"] == sent["n3"] == sent["x3"] == EVERYBODY
        assert "all rows under such an id go to one person in Mixpanel; --crowd_ids drop leaves it out" in said
    else:
        assert EVERYBODY not in sent.values()
        assert (sent["c0"], sent["n3"], sent["a2"], sent["x1"]) == ("$device:p0", "$device:p3", "ada", "")
        assert identity["external_ids_left_out"] == {"crowd": {EVERYBODY: 7}}
        assert "--crowd_ids drop left it out, on 7 rows" in said


def test_a_run_that_drops_a_crowd_is_the_same_with_two_workers(tmp_path: Path) -> None:
    names = [path(f"{number:02}", hour=f"2026-02-01-{number:02}") for number in range(7)]
    write(tmp_path / "in", {name: avro(rows) for name, rows in zip(names, crowd_files(), strict=True)})
    for workers in "12":
        where = [f"--input={tmp_path / 'in'}", f"--output={tmp_path / workers}", f"--now={NOW}", f"--workers={workers}"]
        assert main([*where, "--crowd_ids=drop", "--max_profiles_per_known_user=4"]) == 0
    one, two = (read_output(tmp_path / workers) for workers in "12")
    hashes = [
        {name: entry["sha256"] for name, entry in found.manifest.items() if not name.startswith("report.")}
        for found in (one, two)
    ]
    assert hashes[0] == hashes[1]
    assert EVERYBODY not in persons(one).values()


def test_the_same_words_are_the_same_run_and_none_is_no_list() -> None:
    where = ["--input=in", "--output=out", f"--now={NOW}"]
    one = parse([*where, "--no_id=Kein Konto, b"]).settings
    assert one == parse([*where, "--no_id=B,kein konto,b"]).settings
    assert one.no_id == ("b", "kein konto")
    with pytest.raises(UsageError, match="--no_id is empty"):
        parse([*where, "--no_id= , "])
