"""What a dry run tells, and which ledgers it and a delivery go on in."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.commands.deliveries import (
    ACCOUNT,
    TOKEN,
    Delivered,
    command,
    deliver,
    environment,
    event,
    publish,
    update,
    write_run,
)
from tests.commands.whole_run import ROOT
from tests.servers.emulators import Emulator
from tests.servers.mixpanel_project import MixpanelProject
from tests.servers.mixpanel_stand_in import stand_in
from transforms.delivery.delivered_run import open_run
from transforms.delivery.forecast import FREE_EVENTS, by_month
from transforms.output.publication import describe, manifest
from transforms.stores.store import join, store_for

pytestmark = pytest.mark.slow

MARCH, APRIL = 1_772_323_200, 1_775_001_600  # 2026-03-01, 2026-04-01


def at(time: int, person: str, name: str) -> dict[str, object]:
    one = event(time % 1000)
    one["event"] = name
    one["properties"] |= {"time": time, "distinct_id": person}
    return one


def test_months_count_persons_once_with_and_without_the_names_that_are_free(tmp_path: Path) -> None:
    contents = {
        "events/part-00000.ndjson.gz": [
            at(MARCH, "ada", "Session Start"), at(MARCH + 1, "ada", "Email Send"), at(APRIL - 1, "bob", "Email Send"),
            at(APRIL, "ada", "Email Delivery"),
        ],
        "events/part-00001.ndjson.gz": [at(APRIL + 5, "", "Session Start"), at(APRIL + 6, "cid", "Session Start")],
    }  # fmt: skip
    found = by_month(open_run(str(publish(tmp_path / "run", contents))))
    assert found == {
        "2026-03": {"events": 3, "persons": 2, "events_not_free": 1, "persons_not_free": 1},
        "2026-04": {"events": 3, "persons": 2, "events_not_free": 2, "persons_not_free": 1},
    }
    assert len(FREE_EVENTS) == 15


def dry(run: Path, *extra: str) -> Delivered:
    return deliver(run, None, "--dry_run", *extra, **{ACCOUNT: None, TOKEN: None})


def test_a_dry_run_says_what_was_acknowledged_before_and_sends_nothing(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", files=1)
    bad = MixpanelProject(refuses=lambda record: "odd" if "'i-77'" in str(record) else None)
    with stand_in(bad) as server:
        assert deliver(run, server, "--batch_events", "100").status == 3
        sent = server.requests["/import"]
        again = ("--batch_events", "100", "--endpoint", server.url, "--project_id", server.project.project_id)
        done = dry(run, "--json", "--with_profiles", *again)
        told = json.loads(done.out.splitlines()[-1])
        assert told["events"] == {
            "in_run": 1000, "acknowledged": 999, "refused": 1, "to_send": 0, "requests": 0, "bytes": 0,
        }  # fmt: skip
        assert (told["profiles"]["to_send"], told["requests"], told["status"]) == (20, 1, "dry_run")
        redelivered = json.loads(dry(run, "--json", "--redeliver", "refused", *again).out.splitlines()[-1])
        assert (redelivered["events"]["to_send"], redelivered["requests"]) == (1, 1)
        assert server.requests["/import"] == sent
        assert server.requests["/engage"] == 0


def test_a_dry_run_prints_the_months_and_the_time_at_the_limits(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    done = dry(run, "--max_events_per_second", "10")
    lines = done.out.splitlines()
    assert lines[0] == "to send    1,000 events of 1,000 (0 acknowledged and 0 refused before) in 2 requests"
    assert lines[1].endswith("before compression, 1 min 40 s at the limits")
    assert lines[-1] == (
        "2026-03    1,000 events of 50 persons; without names that are free of MTU charges 1,000 of 50"
    )


def test_a_dry_run_refuses_the_ledger_of_another_run_and_other_cutting_flags(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with stand_in() as server:
        assert deliver(run, server).status == 0
        endpoint = ("--endpoint", server.url)
        other = dry(run, "--batch_bytes", "1000", *endpoint)
        assert (other.status, "begun with --batch_bytes 2000000: give it again" in other.err) == (2, True), other.err
        write_run(run, events=1001)
        another = dry(run, *endpoint)
        assert (another.status, "a --ledger of its own" in another.err) == (2, True)
        assert dry(run, *endpoint, "--ledger", str(tmp_path / "ledgers")).status == 0


def test_a_run_whose_reports_were_made_again_is_the_same_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    before = open_run(str(run)).digest
    listed = json.loads((run / "_manifest.json").read_bytes())["files"]
    files = [describe(one["path"], (run / one["path"]).read_bytes(), one["rows"]) for one in listed]
    (run / "_manifest.json").write_bytes(manifest([*files, describe("report.json", b"{}", 1)]))
    assert open_run(str(run)).digest == before
    (run / "deletions").mkdir()
    (run / "_manifest.json").write_bytes(manifest([*files, describe("deletions/part-00000.ndjson.gz", b"x", 1)]))
    assert open_run(str(run)).digest != before, "deletions are a part of it"


def test_a_ledger_may_lie_in_a_store_when_the_run_cannot_be_written(store_emulator: Emulator, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    before = sorted(run.rglob("*"))
    ledger = store_emulator.url("ledgers")
    with stand_in() as server:
        words = command(run, server, "--yes", "--ledger", ledger)
        for _ in range(2):
            done = subprocess.run(
                words, cwd=ROOT, env=environment(server, **store_emulator.environment), text=True, check=False,
                capture_output=True, timeout=120,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            assert server.requests["/import"] == 2, "the second one finds the ledger of the first"
    assert sorted(run.rglob("*")) == before
    with store_emulator.applied():
        folder = join(ledger, "424242", open_run(str(run)).digest)
        assert json.loads(store_for(folder).get(join(folder, "report.json")) or b"")["status"] == "delivered"


@pytest.mark.parametrize("flag", ["--with_profiles", "--only=profiles"])
def test_a_dry_run_lists_attributes_with_their_persons(flag: str, tmp_path: Path) -> None:
    updates = [*(update(number) for number in range(3)), {"$distinct_id": "u9", "$set_once": {"plan": "gold"}}]
    run = publish(
        tmp_path / "run", {"events/part-00000.ndjson.gz": [event(1)], "profiles/part-00000.ndjson.gz": updates}
    )
    done = dry(run, flag)
    assert "attribute  $city of 3 persons\nattribute  plan of 1 persons" in done.out
    assert ("2026-03" in done.out) == (flag == "--with_profiles")
