"""Runs with deletions, and the command that asks for them, in this process or in one of its own."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from pipelines import deliver as command_line
from tests.commands.deliveries import Delivered, command, deletion, environment, event, publish
from tests.servers.mixpanel_stand_in import StandIn

GDPR = "MIXPANEL_GDPR_TOKEN"
SEND = ("--send_deletions", "--delete_at_most", "100000")
FEW = [deletion("ada"), deletion("ben"), deletion("partly", whole=False), deletion("$device:p9", via="none")]
FEW_IDS = {"ada", "ben", "$device:p9"}


def make_run(
    folder: Path, lines: list[dict[str, Any]], events: int = 20, known_users: int = 10_000, age: float = 0.0
) -> Path:
    """A run with these deletions; ``age`` in seconds."""
    files = {"deletions/part-00000.ndjson.gz": lines, "events/part-00000.ndjson.gz": [event(n) for n in range(events)]}
    publish(folder, {name: records for name, records in files.items() if records})
    report = json.loads((folder / "report.json").read_bytes())
    report |= {"now": int(time.time() - age), "identity": {**report["identity"], "known_users": known_users}}
    (folder / "report.json").write_text(json.dumps(report))
    return folder


def many(count: int) -> list[dict[str, Any]]:
    return [deletion(f"u{n:05d}") for n in range(count)]


def confirmation(folder: Path, ids: Iterable[str]) -> tuple[str, str]:
    """The flag that confirms these ids, whose file it writes."""
    (folder / "confirmed").write_text("\n".join(ids))
    return "--confirmed", str(folder / "confirmed")


def call(run: Path, server: StandIn | None, *extra: str) -> Delivered:
    """Run the command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        status = command_line.main(command(run, server, *extra)[3:])
    return Delivered(status, out.getvalue(), err.getvalue(), run / "_delivery" / "424242")


def delivered(run: Path, server: StandIn) -> Path:
    assert call(run, server, "--yes").status == 0
    return run


def asked(server: StandIn) -> list[str]:
    return [name for ids in server.project.deletions.values() for name in ids]


def start(run: Path, server: StandIn, *extra: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(run, server, *SEND, *extra), env=environment(server, **{GDPR: server.project.gdpr_token}), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
    )  # fmt: skip
