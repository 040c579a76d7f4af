"""Whole runs of the job, delivered: persons and profiles at the project are those that the run says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.commands.delivered_persons import (
    WholeRun,
    assert_equal_bytes,
    assert_ledger,
    assert_persons,
    ledger_lines,
    make_run,
    make_sample_run,
    read_run,
)  # fmt: skip
from tests.commands.deliveries import Delivered, begin, deliver, publish
from tests.exports.random_exports import NOW
from tests.oracle.mixpanel_simulator import DEVICE, event_key
from tests.servers.mixpanel_project import MixpanelProject
from tests.servers.mixpanel_stand_in import Faults, StandIn, make_certificate, stand_in

pytestmark = pytest.mark.slow

LIMITS = 2_000, 2_000_000


def assert_arrived(done: Delivered, run: WholeRun, server: StandIn, limits: tuple[int, int] = LIMITS) -> None:
    assert (done.status, done.err) == (0, "")
    assert_persons(run, server.project)
    assert_ledger(run, server, ledger_lines(str(done.folder)), limits)
    assert_equal_bytes(run, server, limits)
    assert set(server.bodies.values()) == {1}, "nothing failed, so nothing is sent twice"


@pytest.mark.parametrize(
    ("policy", "is_simplified"),
    [
        ("--device_links=none", True),
        ("--id_merge=native", True),
        ("--id_merge=none", False),
    ],
)
def test_persons_and_profiles_are_those_of_the_run(policy: str, is_simplified: bool, tmp_path: Path) -> None:
    run = make_run(tmp_path, policy)
    with stand_in(MixpanelProject(simplified=is_simplified)) as server:
        assert_arrived(deliver(run.folder, server, "--with_profiles"), run, server)
        assert len(server.project.profiles) > 3
        assert len(server.project.events) > 30


@pytest.mark.parametrize("policy", ["--device_links=sole", "--device_links=first"])
def test_people_who_began_anonymous_are_joined_there_as_the_run_says(policy: str, tmp_path: Path) -> None:
    run = make_sample_run(tmp_path, policy)
    with stand_in() as server:
        assert_arrived(deliver(run.folder, server, "--with_profiles"), run, server)
        persons = set(server.project.persons().values())
        assert {person.startswith(DEVICE) for person in persons} == {True, False}
        through = {known for (kind, _), (known, _) in run.ids.items() if kind == "user_id"}
        assert through - {None} <= persons | set(server.project.profiles)


def as_original(run: WholeRun, folder: Path) -> WholeRun:
    """The run as a project on Original ID Merge takes it: events of profiles, and an identity event for each link."""
    merges: list[dict[str, Any]] = []
    for number, ((kind, profile), (known, _)) in enumerate(sorted(run.ids.items())):
        if kind == "user_id" and known is not None and not known.startswith(DEVICE):
            properties = {"$distinct_ids": [profile, known], "time": NOW - 1000, "$insert_id": f"merge-{number}"}
            merges.append({"event": "$merge", "properties": properties})
    events = run.records("events")
    for event in events:
        properties = event["properties"]
        device, _ = properties.pop("$device_id", None), properties.pop("$user_id", None)
        if device is not None:
            properties["distinct_id"] = device
    contents = {"events/part-00000.ndjson.gz": events[:100], "events/part-00001.ndjson.gz": merges + events[100:],
                "profiles/part-00000.ndjson.gz": run.records("profiles")}  # fmt: skip
    return read_run(publish(folder, contents), run.ids)


def test_a_run_of_identity_events_makes_the_same_persons_on_a_project_with_original_id_merge(tmp_path: Path) -> None:
    simplified = make_sample_run(tmp_path)
    run = as_original(simplified, tmp_path / "original")
    with stand_in(MixpanelProject(simplified=False)) as server:
        done = deliver(run.folder, server, "--with_profiles", "--batch_events", "150")
        assert (done.status, done.err) == (0, "")
        project = server.project
        assert_ledger(run, server, ledger_lines(str(done.folder)), (150, 2_000_000))
        assert_equal_bytes(run, server, (150, 2_000_000))
    persons = project.persons()
    found: dict[str, set[str]] = {}
    for key, person in persons.items():
        found.setdefault(person, set()).add(key[-1])
    wanted: dict[str, set[str]] = {}
    for event in simplified.records("events"):
        wanted.setdefault(event["properties"]["distinct_id"], set()).add(event_key(event)[-1])
    assert sorted(map(sorted, found.values())) == sorted(map(sorted, wanted.values()))
    assert len(persons) == len(simplified.records("events"))
    known = {update["$distinct_id"]: update.get("$set", {}) for update in run.records("profiles")}
    assert sorted(map(str, project.profiles_of_persons().values())) == sorted(map(str, known.values()))


@pytest.mark.parametrize(
    ("flags", "limits"),
    [
        (("--batch_events", "1", "--concurrency", "50"), (1, 2_000_000)),
        (("--batch_bytes", "1", "--concurrency", "2"), (2_000, 1)),
        (("--batch_bytes", "3000", "--concurrency", "1"), (2_000, 3000)),
    ],
)
def test_small_limits_change_nothing_at_the_project(
    flags: tuple[str, ...], limits: tuple[int, int], random_run: WholeRun
) -> None:
    run = random_run
    with stand_in() as server:
        assert_arrived(deliver(run.folder, server, "--with_profiles", *flags), run, server, limits)
        assert server.requests["/import"] == sum(kind == "events" for kind, *_ in run.batches(*limits))


def test_of_two_deliveries_at_once_each_batch_is_sent_by_one(random_run: WholeRun) -> None:
    run = random_run
    with stand_in(None, Faults(delay=0.05)) as server:
        both = [begin(run.folder, server, "--with_profiles", "--batch_events", "10") for _ in range(2)]
        told = [process.communicate(timeout=60)[1] for process in both]
        statuses = [process.returncode for process in both]
        assert sorted(statuses) in ([0, 0], [0, 2]), told  # the second may come when the first has ended
        assert all("another delivery of this run" in words for words, status in zip(told, statuses, strict=True)
                   if status)  # fmt: skip
        again = deliver(run.folder, server, "--with_profiles", "--batch_events", "10")
        assert_arrived(again, run, server, (10, 2_000_000))


def test_a_whole_run_arrives_over_tls(random_run: WholeRun, tmp_path: Path) -> None:
    run = random_run
    certificate = make_certificate(tmp_path)
    with stand_in(certificate=certificate) as server:
        unknown = deliver(run.folder, server, "--with_profiles")
        assert (unknown.status, len(server.bodies)) == (1, 0)
        done = deliver(run.folder, server, "--with_profiles", SSL_CERT_FILE=str(certificate[0]))
        assert_arrived(done, run, server)


def test_withdrawn_credentials_stop_all_connections_and_the_rest_arrives_with_new_ones(
    random_run: WholeRun,
) -> None:
    run = random_run
    flags, limits = ("--with_profiles", "--batch_events", "10"), (10, 2_000_000)
    with stand_in(None, Faults(withdrawn_after=7, delay=0.02)) as server:
        stopped = deliver(run.folder, server, *flags)
        assert (stopped.status, "Invalid credentials" in stopped.err) == (1, True)
        assert stopped.report["events"]["acknowledged"] == len(server.project.events) == 70
        assert server.answers["/import 401"] <= 10, "at most one a connection"
        assert_ledger(run, server, ledger_lines(str(stopped.folder)), limits, is_whole=False)
        server.faults.withdrawn_after = None
        assert deliver(run.folder, server, *flags).status == 0
        assert_persons(run, server.project)
        assert_equal_bytes(run, server, limits)
        assert set(server.project.times_taken.values()) == {1}
