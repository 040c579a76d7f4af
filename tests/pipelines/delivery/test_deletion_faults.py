"""Deletions that something comes in the way of: faults, refused ids, wrong tokens, kills; and no secret is shown."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pipelines.delivery.deletion_work import LeaseCheck
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
    start,
)
from tests.commands.deliveries import TOKEN, begin, command, environment
from tests.commands.whole_run import ROOT
from tests.servers.emulators import Emulator, upload
from tests.servers.mixpanel_project import MixpanelProject
from tests.servers.mixpanel_stand_in import AFTER, BEFORE, Faults, StandIn, stand_in
from transforms.delivery.lease import acquire
from transforms.errors import DeliveryStopped
from transforms.stores.store import join, store_for

pytestmark = pytest.mark.slow

API = "/api/app/data-deletions/v3.0"


def test_no_fault_asks_for_anybody_else_or_leaves_anybody_out(deletion_server: StandIn, tmp_path: Path) -> None:
    run = delivered(make_run(tmp_path / "run", many(30_000)), deletion_server)
    confirmed = confirmation(tmp_path, [f"u{n:05d}" for n in range(30_000)])
    deletion_server.faults = Faults(
        share=0.4, kinds=BEFORE + AFTER, seed=3, retry_after="0", hang_seconds=1.5, states_too=True
    )
    done = call(run, deletion_server, *SEND, *confirmed, "--timeout", "1")
    assert done.status == 0, done.err
    assert set(asked(deletion_server)) == {f"u{n:05d}" for n in range(30_000)}
    assert {len(ids) for ids in deletion_server.project.deletions.values()} == {1999, 30_000 % 1999}
    assert done.report["deletions"]["asked"] == 30_000
    assert sum(count for answer, count in deletion_server.answers.items() if answer.startswith(API)) > 2 * 16 + 3


def test_ids_that_are_refused_are_found_and_all_others_asked_for(deletion_server: StandIn, tmp_path: Path) -> None:
    run = delivered(make_run(tmp_path / "run", many(90)), deletion_server)
    deletion_server.project.deletion_refuses = lambda name: name in ("u00007", "u00070")
    done = call(run, deletion_server, *SEND)
    assert (done.status, "2 ids were refused" in done.err) == (3, True)
    assert sorted(asked(deletion_server)) == [f"u{n:05d}" for n in range(90) if n not in (7, 70)]
    found = done.report["deletions"]
    assert (found["status"], found["asked"], found["refused"], found["not_asked"]) == ("partial", 88, 2, 0)
    assert list(found["messages"].values()) == [2]
    deletion_server.project.deletion_refuses = lambda name: False
    assert call(run, deletion_server, *SEND).status == 0
    assert sorted(asked(deletion_server)) == [f"u{n:05d}" for n in range(90)]


def test_deletions_stop_where_every_id_is_refused(deletion_server: StandIn, tmp_path: Path) -> None:
    run = delivered(make_run(tmp_path / "run", many(90)), deletion_server)
    deletion_server.project.deletion_refuses = lambda name: True
    done = call(run, deletion_server, *SEND)
    assert (done.status, asked(deletion_server)) == (1, [])
    assert "10 ids in a row were refused one by one: 400 distinct_ids holds what is not an id" in done.err
    assert done.report["deletions"]["status"] == "stopped"


def test_wrong_credentials_ask_for_nothing_and_withdrawn_ones_stop(
    deletion_server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = delivered(make_run(tmp_path / "run", many(4000)), deletion_server)
    confirmed = confirmation(tmp_path, [f"u{n:05d}" for n in range(4000)])
    flags = (*SEND, *confirmed)
    monkeypatch.setenv(GDPR, "expired")
    wrong = call(run, deletion_server, *flags)
    assert (wrong.status, "refuses the credentials" in wrong.err, asked(deletion_server)) == (2, True, [])
    monkeypatch.setenv(GDPR, deletion_server.project.gdpr_token)
    deletion_server.faults.withdrawn_after = 3
    withdrawn = call(run, deletion_server, *flags)
    assert (withdrawn.status, len(asked(deletion_server))) == (1, 1999 * 2), withdrawn.err
    assert withdrawn.report["deletions"]["not_asked"] == 2
    deletion_server.faults.withdrawn_after = None
    assert call(run, deletion_server, *flags).status == 0
    assert [len(ids) for ids in deletion_server.project.deletions.values()] == [1999, 1999, 2]


@pytest.mark.parametrize(("shape", "state"), [("schema", "PENDING"), ("page", "PENDING"), ("page", "STARTED")])
def test_a_token_of_another_project_shows_in_the_first_task_which_is_cancelled(
    shape: str, state: str, deletion_server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TOKEN)
    run = delivered(make_run(tmp_path / "run", many(4000)), deletion_server)
    monkeypatch.setenv(TOKEN, deletion_server.project.token)
    confirmed = confirmation(tmp_path, [f"u{n:05d}" for n in range(4000)])
    flags = (*SEND, *confirmed)
    deletion_server.project.deletion_shape, deletion_server.project.deletion_project = shape, "777"
    deletion_server.project.deletion_state = state
    done = call(run, deletion_server, *flags)
    assert (done.status, len(deletion_server.project.deletions)) == (1, 1), done.err
    assert "the task 1000 in the project 777" in done.err
    was_cancelled = state == "PENDING"
    assert deletion_server.project.cancelled == ["1000"] * was_cancelled
    assert ("it was cancelled" if was_cancelled else "cancel it at once") in done.err
    assert (done.report["deletions"]["asked"], done.report["deletions"]["tasks"][0]["project_id"]) == (0, "777")
    deletion_server.project.deletion_project = None
    deletion_server.project.token = "another"
    monkeypatch.setenv(TOKEN, "another")
    assert call(run, deletion_server, *flags).status == 0
    assert deletion_server.project.cancelled == ["1000"] * was_cancelled, "no other task is"
    assert asked(deletion_server)[1999:] == [f"u{n:05d}" for n in range(4000)]


@pytest.mark.parametrize(("by", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_after_a_kill_the_same_command_goes_on_and_asks_only_for_what_is_left(
    by: signal.Signals, status: int, deletion_server: StandIn, tmp_path: Path
) -> None:
    run = delivered(make_run(tmp_path / "run", many(8000)), deletion_server)
    confirmed = confirmation(tmp_path, [f"u{n:05d}" for n in range(8000)])
    process = start(run, deletion_server, *confirmed)
    until = time.monotonic() + 60
    while len(deletion_server.project.deletions) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(by)
    began = time.monotonic()
    process.communicate(timeout=30)
    assert (process.returncode, time.monotonic() - began < 10) == (status, True)
    assert call(run, deletion_server, *SEND, *confirmed).status == 0
    sizes = [len(ids) for ids in deletion_server.project.deletions.values()]
    assert set(asked(deletion_server)) == {f"u{n:05d}" for n in range(8000)}
    assert sum(sizes) in (8000, 8000 + 1999), "at most the request whose answer was lost is made again"


def test_deletions_wait_for_nobody_beside_them_and_stop_when_they_are_taken_for_dead(
    deletion_server: StandIn, tmp_path: Path
) -> None:
    run = delivered(make_run(tmp_path / "run", FEW), deletion_server)
    lease = acquire(str(run / "_delivery" / "424242"))
    held = call(run, deletion_server, *SEND)
    assert (held.status, "another delivery of this run is at work" in held.err, asked(deletion_server)) == (2, True, [])
    LeaseCheck(lease)()
    lease.lost.set()
    with pytest.raises(DeliveryStopped, match="took this one for dead"):
        LeaseCheck(lease)()
    lease.release()


def test_no_secret_of_the_deletions_stands_anywhere(tmp_path: Path) -> None:
    canary, gdpr = "canary7d1e55aa", "oauth.0f2b77c1"
    project = MixpanelProject(token=canary, account=f"user:{canary}2", gdpr_token=gdpr)
    project.deletion_words = f"the token {gdpr} of {canary} may not delete this"
    project.deletion_refuses = lambda name: name == "ben"
    with stand_in(project) as server:
        run = make_run(tmp_path / "run", FEW)
        delivery = begin(run, server)
        delivery.communicate(timeout=60)
        process = start(run, server, "--json")
        listed = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        out, err = process.communicate(timeout=60)
        assert process.returncode == 3, err
        assert set(asked(server)) == FEW_IDS - {"ben"}
    texts = [out.encode(), err.encode(), listed]
    texts += [file.read_bytes() for file in run.rglob("*") if file.is_file()]
    texts += [gzip.decompress(text) for text in texts if text.startswith(b"\x1f\x8b")]
    assert b"may not delete this" in b"".join(texts)
    assert not [text for text in texts if canary.encode() in text or gdpr.encode() in text]


def test_deletions_of_a_run_on_a_store_are_written_down_there(
    store_emulator: Emulator, deletion_server: StandIn, tmp_path: Path
) -> None:
    url = store_emulator.url("run")
    with store_emulator.applied():
        upload(make_run(tmp_path / "run", FEW), url)
        store_for(url).put(join(url + "-confirmed", "ids"), b"ada\nben\n$device:p9\n")
    environment_ = environment(deletion_server, **store_emulator.environment)
    for flags in (("--yes",), (*SEND, "--confirmed", join(url + "-confirmed", "ids")), SEND):
        words = command(Path("unused"), deletion_server, *flags, f"--input={url}")
        done = subprocess.run(
            words, cwd=ROOT, env=environment_, capture_output=True, text=True, check=False, timeout=200
        )
        assert done.returncode == 0, done.stderr
    assert [set(ids) for ids in deletion_server.project.deletions.values()] == [FEW_IDS]
    with store_emulator.applied():
        folder = join(url, "_delivery", "424242")
        report = json.loads(store_for(folder).get(join(folder, "report.json")) or b"")
        assert (report["deletions"]["asked"], report["deletions"]["states"]) == (3, {"SUCCESS": 1})
        undecided = store_for(folder).get(report["deletions"]["undecided_file"]) or b""
        assert [json.loads(line) for line in gzip.decompress(undecided).splitlines()] == [FEW[2]]
