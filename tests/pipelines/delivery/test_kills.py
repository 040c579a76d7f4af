"""kill -9 at moments all through a delivery: the same command resumes, and sends nothing again that is acknowledged.

Each chain is one delivery of one run that is killed at one moment after the other, and then let be.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from tests.commands.delivered_persons import (
    BatchKey,
    Place,
    WholeRun,
    assert_equal_bytes,
    assert_ledger,
    assert_persons,
    ledger_lines,
    times_sent,
)  # fmt: skip
from tests.commands.deliveries import begin, command, deliver, environment
from tests.commands.whole_run import ROOT
from tests.servers.mixpanel_project import MixpanelProject
from tests.servers.mixpanel_stand_in import StandIn, stand_in

pytestmark = pytest.mark.slow

LIMITS = 8, 2_000_000
FLAGS = ("--with_profiles", "--batch_events", "8", "--concurrency", "3", "--refused_ok", "1")
# "PATH STAGE N": of the N-th request to a path of the stand-in, or of the last but N; else as in killed_delivery.
CHAINS = {
    "before anything is sent": (
        "/api/app/me arrived 1", "publish lease- 1", "published lease- 1", "publish delivery.json 1",
        "publish token.json 1", "publish ledger/ 1",
    ),
    "the first batch, which goes alone": (
        "/import arrived 1", "/import taken 1", "tear ledger/ 1", "written ledger/ 1", "/import answered 1",
        "synced ledger/ 1",
    ),
    "among many batches": ("/import taken 5", "tear ledger/ 3", "/import answered 6", "/import taken -1"),
    "profiles, report and end": (
        "/engage arrived 1", "/engage taken 1", "/engage answered -1", "publish refused/ 1", "publish report.json 1",
        "publish report.html 1", "publish lease- 2",
    ),
}  # fmt: skip


def is_refused(record: dict[str, Any]) -> str | None:
    return "poisoned" if record["event" if "event" in record else "$distinct_id"] == "Session Start" else None


class Chain:
    """A run, and the deliveries of it to one project."""

    def __init__(self, run: WholeRun, server: StandIn) -> None:
        self.run, self.server = run, server
        self.folder = run.folder / "_delivery" / "424242"
        self.batches = run.batches(*LIMITS)

    def acknowledged(self) -> set[BatchKey]:
        return {(kind, file, ordinal) for kind, file, ordinal, *_ in ledger_lines(str(self.folder))}

    def times_sent(self) -> dict[BatchKey, int]:
        return times_sent(self.run, self.server, LIMITS)

    def die_at(self, moment: str) -> None:
        """Give the command, and kill it there."""
        before, sent = self.acknowledged(), self.times_sent()
        if moment.startswith("/"):
            self._die_at_request(moment, before)
        else:
            words = [sys.executable, "-m", "tests.commands.killed_delivery", moment, *self._arguments()]
            killed = subprocess.run(
                words, cwd=ROOT, env=environment(self.server), capture_output=True, text=True, check=False, timeout=100
            )
            assert killed.returncode == -signal.SIGKILL, f"{moment} did not come: {killed.stderr}"
        self.check(before, sent)

    def check(self, before: set[BatchKey], sent: dict[BatchKey, int]) -> None:
        now = self.times_sent()
        assert not [key for key in before if now[key] != sent[key]], "what is acknowledged was sent again"
        assert before <= self.acknowledged()
        assert_ledger(self.run, self.server, ledger_lines(str(self.folder)), LIMITS, is_whole=False)

    def _arguments(self) -> list[str]:
        words = command(self.run.folder, self.server, "--yes", *FLAGS)
        return words[words.index("pipelines.deliver") + 1 :]

    def _die_at_request(self, moment: str, before: set[BatchKey]) -> None:
        path, stage, number = moment.split()
        kind = {"/import": "events", "/engage": "profiles"}.get(path)
        left = sum(key[0] == kind and key not in before for key in self.batches)
        wanted = int(number) if int(number) > 0 else left + 1 + int(number)
        assert kind is None or 0 < wanted <= left, "the chain has no batches left"
        process: subprocess.Popen[str] | None = None
        started = threading.Event()
        met = 0

        def watch(at: str, reached: str, _: int) -> None:
            nonlocal met
            if (at, reached) == (path, stage):
                met += 1
                if met == wanted and started.wait(30) and process is not None:
                    process.kill()

        self.server.watch = watch
        process = begin(self.run.folder, self.server, *FLAGS)
        started.set()
        _, err = process.communicate(timeout=100)
        self.server.watch = lambda path, stage, number: None
        assert process.returncode == -signal.SIGKILL, f"{moment} did not come: {err}"


@pytest.mark.parametrize("name", CHAINS)
def test_a_delivery_that_is_killed_there_goes_on_and_ends_with_all(name: str, random_run: WholeRun) -> None:
    run = random_run
    refused: set[Place] = {
        (file, number) for file, lines in run.lines.items() for number, line in enumerate(lines)
        if is_refused(json.loads(line))
    }  # fmt: skip
    with stand_in(MixpanelProject(refuses=is_refused)) as server:
        chain = Chain(run, server)
        for moment in CHAINS[name]:
            chain.die_at(moment)
        before, sent = chain.acknowledged(), chain.times_sent()
        done = deliver(run.folder, server, *FLAGS)
        assert done.status == 0, done.err
        chain.check(before, sent)
        assert_persons(run, server.project, refused)
        assert_ledger(run, server, ledger_lines(str(chain.folder)), LIMITS)
        assert_equal_bytes(run, server, LIMITS)
    for kind in ("events", "profiles"):
        counts = done.report[kind]
        assert counts["not_sent"] == 0
        assert counts["refused"] == sum(file.startswith(kind) for file, _ in refused)
    assert {(one["file"], one["line"] - 1) for one in done.refused()} == refused
