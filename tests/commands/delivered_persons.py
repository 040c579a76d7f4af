"""A whole run of the job, and what a project must hold once it was delivered: the same persons with the same events and
properties, no more and no less, and nothing acknowledged that was not taken."""

from __future__ import annotations

import gzip
import json
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.sample_export import __main__ as sample_export
from tests.commands.whole_run import read_output, run_in_process
from tests.exports.random_exports import NOW, random_export, write_export
from tests.oracle.identity import Node
from tests.oracle.mixpanel_simulator import DEVICE, EventKey, event_key
from tests.servers.mixpanel_project import MixpanelProject
from tests.servers.mixpanel_stand_in import StandIn
from transforms.stores.store import join, store_for

Place = tuple[str, int]  # a file of the run and the number of a line, 0-based
BatchKey = tuple[str, str, int]  # kind, file, ordinal
PROFILE_LIMITS = 2_000, 900_000


class WholeRun(NamedTuple):
    """A published run: the lines of each file of events and profiles with their newlines, and its identities."""

    folder: Path
    lines: dict[str, list[bytes]]
    ids: dict[Node, tuple[str | None, str]]

    def records(self, kind: str, but: Collection[Place] = ()) -> list[dict[str, Any]]:
        """The records of a kind, but for those at some places."""
        return [
            json.loads(line)
            for file, lines in self.lines.items()
            if file.startswith(f"{kind}/")
            for number, line in enumerate(lines)
            if (file, number) not in but
        ]

    def batches(self, events: int, size: int) -> dict[BatchKey, list[Place]]:
        """The batches of a delivery with these limits, cut line by line."""
        found: dict[BatchKey, list[Place]] = {}
        for file, lines in self.lines.items():
            kind = file.partition("/")[0]
            most, most_bytes = events, size
            if kind == "profiles":
                most, most_bytes = min(events, PROFILE_LIMITS[0]), min(size, PROFILE_LIMITS[1])
            batch: list[Place] = []
            ordinal = held = 0
            for number, line in enumerate(lines):
                if batch and (len(batch) == most or held + len(line) > most_bytes):
                    batch, held, ordinal = [], 0, ordinal + 1
                batch.append((file, number))
                held += len(line)
                found[kind, file, ordinal] = batch
        return found

    def body(self, places: Collection[Place]) -> bytes:
        return b"".join(self.lines[file][number] for file, number in places)


def make_run(folder: Path, *flags: str, seed: int = 3) -> WholeRun:
    """Run the job on a random export."""
    write_export(random_export(seed, size="medium", too_large=False), folder / "in")
    return _run(folder, NOW, *flags)


def make_sample_run(folder: Path, *flags: str) -> WholeRun:
    """Run the job on a sample export, whose people begin anonymous and share devices."""
    sample_export.write_export(folder / "in", users=30, days=1, rows=1000, flush_minutes=0, seed=2)
    return _run(folder, 1_800_000_000, *flags)


def _run(folder: Path, now: int, *flags: str) -> WholeRun:
    flags = (f"--now={now}", "--workers=1", "--tag=t1", "--max_reject_share=1", *flags)
    assert run_in_process(folder / "in", folder / "out", *flags) == 0
    return read_run(folder / "out", read_output(folder / "out").ids)


def copied(run: WholeRun, folder: Path) -> WholeRun:
    """The same run in another folder, where nothing was delivered."""
    shutil.copytree(run.folder, folder)
    return run._replace(folder=folder)


def read_run(folder: Path, ids: dict[Node, tuple[str | None, str]]) -> WholeRun:
    listed = json.loads((folder / "_manifest.json").read_bytes())["files"]
    paths = sorted(one["path"] for one in listed if one["path"].startswith(("events/", "profiles/")) and one["rows"])
    return WholeRun(folder, {path: _lines(gzip.decompress((folder / path).read_bytes())) for path in paths}, ids)


def _lines(content: bytes) -> list[bytes]:
    return [line + b"\n" for line in content.split(b"\n")[:-1]]


def ledger_lines(folder: str) -> list[list[Any]]:
    """What stands in the ledger of a delivery, on any store: kind, file, ordinal, rows, refused; whole lines only."""
    store = store_for(folder)
    contents = [store.get(entry.path) or b"" for entry in store.list(join(folder, "ledger"))]
    return [json.loads(line) for content in contents for line in content[: content.rfind(b"\n") + 1].splitlines()]


def times_sent(run: WholeRun, server: StandIn, limits: tuple[int, int]) -> dict[BatchKey, int]:
    """How often each batch of the run came to the stand-in."""
    ids = [[one["$distinct_id"] for one in json.loads(body)] for body in server.update_bodies.elements()]
    found = {}
    for key, places in run.batches(*limits).items():
        body = run.body(places)
        if key[0] == "events":
            found[key] = server.bodies[body]
        else:
            found[key] = ids.count([json.loads(line)["$distinct_id"] for line in body.splitlines()])
    return found


def assert_persons(run: WholeRun, project: MixpanelProject, but: Collection[Place] = ()) -> None:
    """Every person of the run has its events there, each as it was sent, and its profile; nobody else has any."""
    events = run.records("events", but)
    _assert_same("events", project.events, {event_key(event): event for event in events})
    assert len(project.events) == len(events), "two events of the run are one to Mixpanel"
    _assert_same("events by person", _by_person(project.persons()), _by_person(_persons_of(run, events)))
    profiles: dict[str, dict[str, Any]] = {}
    for update in run.records("profiles", but):
        profile = profiles.setdefault(update["$distinct_id"], {})
        profile.update(update.get("$set", {}))
        assert not set(profile) & set(update.get("$unset", ())), "the order of updates would matter"
    wanted = {person: profile for person, profile in profiles.items() if profile}
    found = {person: profile for person, profile in project.profiles_of_persons().items() if profile}
    _assert_same("profiles", found, wanted)


def _persons_of(run: WholeRun, events: list[dict[str, Any]]) -> dict[EventKey, str]:
    """The person of each event, as the identities have it and the event itself says."""
    found = {}
    for event in events:
        properties = event["properties"]
        person, user, device = (properties.get(name) for name in ("distinct_id", "$user_id", "$device_id"))
        if device is not None:
            known, cluster = run.ids["user_id", device]
            is_anonymous = known == DEVICE + device
            assert (known, None if is_anonymous else known) == (person, user), f"{device} of {cluster}: {properties}"
        elif person and not person.startswith(DEVICE) and ("user_id", person) not in run.ids:
            assert run.ids["external_user_id", person][0] == person, properties
        found[event_key(event)] = person
    return found


def _by_person(persons: Mapping[EventKey, str]) -> dict[str, list[EventKey]]:
    found: dict[str, list[EventKey]] = {}
    for key in sorted(persons):
        found.setdefault(persons[key], []).append(key)
    return found


def _assert_same(what: str, found: Mapping[Any, Any], wanted: Mapping[Any, Any]) -> None:
    differing = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
    shown = [f"{key}: {found.get(key)!r:.300} in place of {wanted.get(key)!r:.300}" for key in differing[:5]]
    assert not differing, "\n".join([f"{what}: {len(differing)} of {len(wanted)} differ", *shown])


def assert_ledger(
    run: WholeRun, server: StandIn, entries: list[list[Any]], limits: tuple[int, int], is_whole: bool = True
) -> None:
    """What the ledger acknowledges was taken, and was sent in the bytes of its batch or, split, of a part of it."""
    batches = run.batches(*limits)
    taken, updates = set(server.project.times_taken), set(server.project.taken_updates)
    settled: Counter[BatchKey] = Counter()
    for kind, file, ordinal, rows, refused, _ in entries:
        places = batches[kind, file, ordinal]
        settled[kind, file, ordinal] += 1
        assert rows == len(places)
        refused_lines = {number - 1 for number, _, _ in refused}
        assert refused_lines <= {number for _, number in places}
        for file_, number in places:
            if number not in refused_lines:
                record = json.loads(run.lines[file_][number])
                key: Any = event_key(record) if kind == "events" else json.dumps(record, sort_keys=True)
                assert key in (taken if kind == "events" else updates), f"acknowledged, and was not taken: {record}"
    if is_whole:
        assert set(settled) == set(batches), "some batches are not in the ledger"


def assert_equal_bytes(
    run: WholeRun, server: StandIn, limits: tuple[int, int], is_part: Callable[[bytes, bytes], bool] | None = None
) -> None:
    """Every request held a batch of the run and nothing else; ``is_part`` allows parts of batches, after a split."""
    bodies = {run.body(places) for (kind, *_), places in run.batches(*limits).items() if kind == "events"}
    assert bodies <= set(server.bodies), "some batches were never sent"
    for body in set(server.bodies) - bodies:
        assert is_part is not None, "a batch was sent again in other bytes"
        assert any(is_part(body, batch) for batch in bodies), "bytes that are no part of a batch"
    token = server.project.token
    wanted = set()
    for (kind, *_), places in run.batches(*limits).items():
        if kind == "profiles":
            wanted.add(_updates([{"$token": token, **json.loads(run.lines[file][number])} for file, number in places]))
    if is_part is None:
        found = {_updates(json.loads(body)) for body in server.update_bodies}
        assert found == wanted, "profile updates were sent in other requests than the run's batches"
        assert len(server.update_bodies) == len(wanted), "a batch of updates was sent again in other bytes"


def _updates(updates: list[dict[str, Any]]) -> str:
    return json.dumps(updates)
