"""Deletions by command line, against the stand-in of Mixpanel: exactly who is asked for, and what is refused."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import sys
import time
from pathlib import Path

import pytest

from tests.commands.deletion_commands import (
    FEW,
    FEW_IDS,
    GDPR,
    SEND,
    asked,
    call,
    confirmation,
    delivered,
    make_run,
    many,
)
from tests.commands.deliveries import ACCOUNT, TOKEN, deletion, deliver
from tests.commands.whole_run import run_cli
from tests.exports.small_exports import SCHEMA, avro, path, write
from tests.servers.mixpanel_stand_in import StandIn

pytestmark = pytest.mark.slow


def tree(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_exactly_who_is_deleted_whole_is_asked_for_and_the_others_are_listed(
    deletion_server: StandIn, tmp_path: Path
) -> None:
    run = delivered(make_run(tmp_path / "run", FEW), deletion_server)
    deletion_server.project.deletion_state = "PENDING"
    before = dict(deletion_server.project.events), deletion_server.project.updates
    done = call(run, deletion_server, *SEND, "--json")
    assert (done.status, done.err) == (0, "")
    assert sorted(asked(deletion_server)) == sorted(FEW_IDS)
    assert before == (dict(deletion_server.project.events), deletion_server.project.updates), "nothing is sent beside"
    told = json.loads(done.out.splitlines()[-1])
    found = told["deletions"]
    assert told["status"] == found["status"] == "asked"
    assert {key: found[key] for key in ("in_run", "ids", "asked", "refused", "not_asked", "undecided")} == {
        "in_run": 4, "ids": 3, "asked": 3, "refused": 0, "not_asked": 0, "undecided": 1,
    }  # fmt: skip
    (task,) = found["tasks"]
    assert (task["task_id"], task["ids"], task["state"], found["states"]) == ("1000", 3, "PENDING", {"PENDING": 1})
    assert [json.loads(line) for line in gzip.decompress(Path(found["undecided_file"]).read_bytes()).splitlines()] == [
        FEW[2]
    ]
    assert f"1 of 4 lines need a person's decision: {found['undecided_file']}" in done.out
    report = done.report
    assert (report["status"], report["events"]["acknowledged"]) == ("delivered", 20), "the delivery's part stays"
    assert {key: report["deletions"][key] for key in found} == found
    page = (done.folder / "report.html").read_text()
    assert "Deletions" in page
    assert "1000" in page


def test_requests_hold_1999_ids_and_are_a_second_apart(deletion_server: StandIn, tmp_path: Path) -> None:
    run = delivered(make_run(tmp_path / "run", many(4000)), deletion_server)
    lines = run / "deletions/part-00000.ndjson.gz"
    done = deliver(run, deletion_server, *SEND, "--confirmed", str(lines))
    assert (done.status, done.err) == (0, "")
    assert [len(ids) for ids in deletion_server.project.deletions.values()] == [1999, 1999, 2]
    assert asked(deletion_server) == [f"u{n:05d}" for n in range(4000)]
    moments = deletion_server.deletion_moments
    assert len(moments) == 6, "and each task's state once"
    assert min(later - earlier for earlier, later in itertools.pairwise(moments)) >= 1.0


def test_the_same_command_again_asks_for_nothing_whatever_came_since(deletion_server: StandIn, tmp_path: Path) -> None:
    run = delivered(make_run(tmp_path / "run", FEW), deletion_server)
    assert call(run, deletion_server, *SEND).status == 0
    again = call(run, deletion_server, *SEND)
    assert (again.status, len(deletion_server.project.deletions)) == (0, 1)
    assert call(run, deletion_server, "--yes").status == 0
    assert again.report["deletions"]["asked"] == 3, "a delivery keeps the deletions in its report"


REFUSED = [
    ("undelivered", (), "20 of 20 events are not sent"),
    ("many", SEND, "101 ids are more than 100"),
    ("known", SEND, "2 of 50 known users are more than 1%"),
    ("old", SEND, "--stale_deletions"),
    ("few", ("--send_deletions",), "there is no terminal to ask on"),
    ("few", ("--send_deletions", "--yes"), "--yes does not answer for deletions"),
    ("few", (*SEND, "--with_profiles"), "--send_deletions goes alone"),
    ("few", (*SEND, "--only", "profiles"), "goes alone"),
    ("few", (*SEND, "--redeliver", "refused"), "goes alone"),
    ("few", ("--deletion_status", "--with_profiles"), "--deletion_status goes alone"),
    ("few", (*SEND, "--deletion_status"), "asks for the states itself"),
    ("few", ("--deletion_status",), "no deletion of this run was asked for"),
    ("few", ("--yes", "--delete_at_most", "5"), "--delete_at_most goes with --send_deletions"),
    ("few", ("--yes", "--stale_deletions"), "--stale_deletions goes with --send_deletions"),
    ("few", ("--yes", "--confirmed", "f"), "--confirmed goes with --send_deletions"),
    ("few", ("--send_deletions", "--delete_at_most", "-1"), "give the number of ids"),
    ("few", (*SEND, "--confirmed", "nowhere"), "--confirmed nowhere is not a file"),
    ("few", (*SEND, "--region", "us"), "begun with region eu"),
    ("few", (*SEND, "--project_id", "7"), "20 of 20 events are not sent"),
]


def test_a_run_all_of_whose_deletions_were_asked_for_may_grow_old(deletion_server: StandIn, tmp_path: Path) -> None:
    run = delivered(make_run(tmp_path / "run", FEW), deletion_server)
    assert call(run, deletion_server, *SEND).status == 0
    report = json.loads((run / "report.json").read_bytes())
    (run / "report.json").write_text(json.dumps({**report, "now": report["now"] - 30 * 86_400}))
    assert call(run, deletion_server, "--send_deletions").status == 0
    assert len(deletion_server.project.deletions) == 1


def test_a_task_that_mixpanel_does_not_know_yet_has_not_failed(deletion_server: StandIn, tmp_path: Path) -> None:
    run = delivered(make_run(tmp_path / "run", FEW), deletion_server)
    deletion_server.project.deletion_state = "NOT_FOUND"
    done = call(run, deletion_server, *SEND)
    assert (done.status, done.report["deletions"]["states"]) == (0, {"UNKNOWN": 1})
    later = call(run, deletion_server, "--deletion_status")
    assert (later.status, later.report["deletions"]["states"]) == (3, {"NOT_FOUND": 1})
    assert "1 tasks failed, were cancelled or are not known" in later.err


def test_what_is_not_sure_is_refused_and_nothing_is_asked_for(deletion_server: StandIn, tmp_path: Path) -> None:
    runs = {
        "undelivered": make_run(tmp_path / "undelivered", FEW),
        "many": delivered(make_run(tmp_path / "many", many(101), known_users=100_000), deletion_server),
        "known": delivered(make_run(tmp_path / "known", FEW, known_users=50), deletion_server),
        "old": delivered(make_run(tmp_path / "old", FEW, age=7.1 * 86_400), deletion_server),
        "few": delivered(make_run(tmp_path / "few", FEW), deletion_server),
    }
    before = tree(tmp_path)
    for name, flags, words in REFUSED:
        done = call(runs[name], deletion_server, *(flags or SEND))
        assert (done.status, words in done.err) == (2, True), (name, flags, done.err)
        assert tree(tmp_path) == before, (name, flags)
        assert not asked(deletion_server)
    assert call(runs["old"], deletion_server, *SEND, "--stale_deletions").status == 0
    confirmed = confirmation(tmp_path, [*FEW_IDS, "somebody else"])
    assert call(runs["known"], deletion_server, *SEND, *confirmed).status == 0
    assert set(asked(deletion_server)) == FEW_IDS, "who is confirmed beside is not asked for"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (GDPR, None, "set MIXPANEL_GDPR_TOKEN"),
        (TOKEN, None, "set MIXPANEL_TOKEN"),
        (GDPR, "two words", "MIXPANEL_GDPR_TOKEN does not have the form"),
        (TOKEN, "0123456789", "another MIXPANEL_TOKEN"),
    ],
)
def test_both_tokens_are_needed_and_the_project_s_is_the_delivery_s(
    name: str, value: str | None, words: str, deletion_server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = delivered(make_run(tmp_path / "run", FEW), deletion_server)
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    done = call(run, deletion_server, *SEND)
    assert (done.status, words in done.err, asked(deletion_server)) == (2, True, []), done.err


def test_the_gdpr_token_may_stand_in_a_file(
    deletion_server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = delivered(make_run(tmp_path / "run", FEW), deletion_server)
    monkeypatch.delenv(GDPR)
    (tmp_path / "gdpr").write_text(deletion_server.project.gdpr_token + "\n")
    monkeypatch.setenv(f"{GDPR}_FILE", str(tmp_path / "gdpr"))
    assert (call(run, deletion_server, *SEND).status, len(asked(deletion_server))) == (0, 3)


def test_more_than_the_limit_of_a_scheduler_changes_nothing(deletion_server: StandIn, tmp_path: Path) -> None:
    run = delivered(make_run(tmp_path / "run", FEW), deletion_server)
    before = tree(tmp_path)
    done = call(run, deletion_server, "--send_deletions", "--delete_at_most", "2", "--json")
    assert (done.status, asked(deletion_server), tree(tmp_path)) == (4, [], before)
    assert "3 ids are to be deleted, more than --delete_at_most 2" in done.err
    assert json.loads(done.out)["status"] == "limit"
    assert call(run, deletion_server, "--send_deletions", "--delete_at_most", "3").status == 0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "status"), [("3\n", 0), ("yes\n", 2), ("4\n", 2), ("", 2)])
def test_a_person_types_the_number_of_ids(
    typed: str, status: int, deletion_server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = delivered(make_run(tmp_path / "run", FEW), deletion_server)
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    done = call(run, deletion_server, "--send_deletions", "--yes")
    assert (done.status, len(asked(deletion_server))) == (status, 3 if status == 0 else 0), done.err
    assert "3 ids of 3 (0 asked for before)" in done.err
    assert "that of MIXPANEL_TOKEN, which Mixpanel does not name" in done.err
    assert "1 of 4 lines need a person's decision" in done.err


def test_a_dry_run_says_what_would_be_asked_for_and_what_forbids_it(
    deletion_server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", many(2500), age=8 * 86_400)
    for name in (ACCOUNT, TOKEN, GDPR):
        monkeypatch.delenv(name)
    before = tree(tmp_path)
    done = call(run, deletion_server, "--send_deletions", "--dry_run", "--json", "--delete_at_most", "10")
    assert (done.status, tree(tmp_path), deletion_server.deletion_moments) == (0, before, [])
    told = json.loads(done.out.splitlines()[-1])
    assert told["status"] == "dry_run"
    found = told["deletions"]
    assert (found["ids"], found["to_ask"], found["requests"], found["undecided"]) == (2500, 2500, 2, 0)
    assert len(found["forbidden"]) == 4, "not delivered, old, many, over the limit"


def test_states_are_asked_for_again_and_a_failed_task_s_ids_too(deletion_server: StandIn, tmp_path: Path) -> None:
    run = delivered(make_run(tmp_path / "run", FEW), deletion_server)
    deletion_server.project.deletion_state, deletion_server.project.deletion_shape = "STAGING", "page"
    assert call(run, deletion_server, *SEND).report["deletions"]["states"] == {"STAGING": 1}
    deletion_server.project.deletion_state = "FAILURE"
    failed = call(run, deletion_server, "--deletion_status")
    assert (failed.status, failed.report["deletions"]["states"]) == (3, {"FAILURE": 1})
    assert failed.report["deletions"]["not_asked"] == 3
    deletion_server.project.deletion_state = "SUCCESS"
    assert call(run, deletion_server, *SEND).status == 0
    assert sorted(asked(deletion_server)) == sorted([*FEW_IDS, *FEW_IDS])
    done = call(run, deletion_server, "--deletion_status", "--json")
    assert (done.status, done.report["deletions"]["states"]) == (0, {"FAILURE": 1, "SUCCESS": 1})
    deletion_server.project.deletions.clear()
    assert call(run, deletion_server, "--deletion_status").status == 0, "what has ended is not asked about any more"


def test_a_run_without_events_needs_no_delivery_and_may_have_nothing_to_delete(
    deletion_server: StandIn, tmp_path: Path
) -> None:
    assert call(make_run(tmp_path / "few", FEW, events=0), deletion_server, *SEND).status == 0
    assert set(asked(deletion_server)) == FEW_IDS
    none = make_run(tmp_path / "none", [deletion("partly", whole=False)])
    done = call(delivered(none, deletion_server), deletion_server, "--send_deletions")
    assert (done.status, done.report["deletions"]["status"], len(asked(deletion_server))) == (0, "nothing", 3)
    assert "1 of 1 lines need a person's decision" in done.out


def test_a_run_of_the_job_deletes_who_was_deleted_with_every_profile(deletion_server: StandIn, tmp_path: Path) -> None:
    now = int(time.time())
    rows = [("e1", "p1", "ada"), ("e2", "p2", "ada"), ("e3", "p3", "ben"), ("e4", "p4", "carl"), ("e5", "p5", "carl")]
    sessions = [{"id": i, "user_id": p, "external_user_id": x, "time": now - 7200} for i, p, x in rows]
    requests = [{"id": f"d{p}", "user_id": p, "time": now - 3600} for p in ("p1", "p2", "p4")]
    schema = {**SCHEMA, "name": "dataexport.S3.inner.users.UserDeleteRequest"}
    deleted = path("b", event_type="users.UserDeleteRequest")
    write(tmp_path / "in", {path("a"): avro(sessions), deleted: avro(requests, schema=schema)})
    done = run_cli(tmp_path / "in", tmp_path / "run", "--tag=t1", "--workers=1")
    assert done.returncode == 0, done.stderr
    run = delivered(tmp_path / "run", deletion_server)
    assert call(run, deletion_server, *SEND).status == 2, "one of three known users is more than 1 %"
    done_ = call(run, deletion_server, *SEND, *confirmation(tmp_path, ["ada"]))
    assert (done_.status, asked(deletion_server), done_.report["deletions"]["undecided"]) == (0, ["ada"], 1)
