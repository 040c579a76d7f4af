"""A small published run, and the command that delivers it to the stand-in of Mixpanel."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from tests.commands.whole_run import ROOT
from tests.servers.mixpanel_stand_in import StandIn
from transforms.output.publication import describe, manifest

ACCOUNT, TOKEN = "MIXPANEL_SERVICE_ACCOUNT", "MIXPANEL_TOKEN"


class Delivered(NamedTuple):
    """How a delivery ended."""

    status: int
    out: str
    err: str
    folder: Path

    @property
    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "report.json").read_bytes())
        return found

    def refused(self) -> list[dict[str, Any]]:
        parts = sorted((self.folder / "refused").glob("part-*.ndjson.gz"))
        return [json.loads(line) for part in parts for line in gzip.decompress(part.read_bytes()).splitlines()]


def event(number: int, **properties: Any) -> dict[str, Any]:
    """One event as the job writes it."""
    person = f"u{number % 50}"
    ids = {"distinct_id": person, "$user_id": person, "time": 1_772_323_200 + number, "$insert_id": f"i-{number}"}
    return {"event": "Session Start", "properties": {**ids, "$partner_id": "braze", "ip": 0, **properties}}


def update(number: int) -> dict[str, Any]:
    return {"$distinct_id": f"u{number}", "$ip": "0", "$ignore_time": True, "$set": {"$city": f"Köln {number}"}}


def deletion(distinct_id: str, user_id: str = "p1", whole: bool = True, via: str = "own") -> dict[str, Any]:
    """One line of ``deletions/``."""
    ids = {"distinct_id": distinct_id, "user_id": user_id}
    return {**ids, "time": 1_772_323_200, "via": via, "whole_person": whole}


def write_run(folder: Path, events: int = 1000, files: int = 2, profiles: int = 20, tag: str | None = "t1") -> Path:
    """A published run of so many events in so many files."""
    contents: dict[str, list[dict[str, Any]]] = {}
    for part in range(files):
        contents[f"events/part-{part:05d}.ndjson.gz"] = [event(n) for n in range(part, events, files)]
    contents["profiles/part-00000.ndjson.gz"] = [update(number) for number in range(profiles)]
    return publish(folder, contents, tag)


def publish(folder: Path, contents: dict[str, list[dict[str, Any]]], tag: str | None = "t1") -> Path:
    files = []
    for path, records in contents.items():
        data = gzip.compress(b"".join(json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in records), 1)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
        files.append(describe(path, data, len(records)))
    report = {"flags": {"tag": tag}, "identity": {"device_links": "sole", "profiles_known_through": {"device": 3}}}
    (folder / "report.json").write_text(json.dumps(report))
    (folder / "_manifest.json").write_bytes(manifest(files))
    return folder


def command(run: Path, server: StandIn | None, *extra: str) -> list[str]:
    project = server.project.project_id if server else "424242"
    words = [sys.executable, "-m", "pipelines.deliver", f"--input={run}", f"--project_id={project}", "--region=eu"]
    return [*words, *([f"--endpoint={server.url}"] if server else []), *extra]


def environment(server: StandIn | None, **changes: str | None) -> dict[str, str]:
    found: dict[str, str | None] = {**os.environ}
    if server:
        found |= {ACCOUNT: server.project.account, TOKEN: server.project.token}
    found |= changes
    return {name: value for name, value in found.items() if value is not None}


def deliver(run: Path, server: StandIn | None, *extra: str, **changes: str | None) -> Delivered:
    """Run the command to its end; ``changes`` are variables of its environment."""
    words = command(run, server, *(("--yes", *extra) if server else extra))
    done = subprocess.run(
        words, cwd=ROOT, env=environment(server, **changes), capture_output=True, text=True, check=False, timeout=200,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return Delivered(done.returncode, done.stdout, done.stderr, run / "_delivery" / "424242")


def begin(run: Path, server: StandIn, *extra: str, **changes: str | None) -> subprocess.Popen[str]:
    """Start the command; ``changes`` are variables of its environment."""
    return subprocess.Popen(
        command(run, server, "--yes", *extra), cwd=ROOT, env=environment(server, **changes), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def kill(process: subprocess.Popen[str], by: signal.Signals = signal.SIGKILL) -> tuple[str, str]:
    process.send_signal(by)
    return process.communicate(timeout=30)


def wait_for(server: StandIn, requests: int) -> None:
    until = time.monotonic() + 60
    while server.answers["/import 200"] < requests and time.monotonic() < until:
        time.sleep(0.01)
    assert server.answers["/import 200"] >= requests
