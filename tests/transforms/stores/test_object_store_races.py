"""Two runs in one folder of an object store, and runs that are killed there: one wins, or both do; nothing is mixed."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.commands.several_units import Source, let_go, run, start
from tests.commands.whole_run import read_output
from tests.servers.emulators import Emulator, upload
from tests.servers.faulty_proxy import Faults, FaultyProxy
from tests.transforms.stores.test_object_stores import fetched
from transforms.output.folder import MANIFEST
from transforms.stores.store import join, store_for

pytestmark = pytest.mark.usefixtures("small_units")

_KILL = """
import signal
from transforms.stores.objects import ObjectStore
count = 0
def dying(act):
    def counted(self, path, *arguments):
        global count
        if %r in path:
            count += 1
            if count == %d:
                os.kill(os.getpid(), signal.SIGKILL)
        return act(self, path, *arguments)
    return counted
for name in ("put", "put_if_absent"):
    setattr(ObjectStore, name, dying(getattr(ObjectStore, name)))
"""


@pytest.fixture
def slow(store_emulator: Emulator) -> Iterator[dict[str, Any]]:
    """The environment of a slow way to the store, on which two runs are at work long enough to meet."""
    with FaultyProxy(store_emulator.host, store_emulator.port) as proxy:
        proxy.set(Faults(latency=0.03))
        yield {**store_emulator.with_endpoint(proxy.host, proxy.port)}


@pytest.fixture
def stored(store_emulator: Emulator, undisturbed: Source) -> str:
    """A fresh place on the store, with a small export in its folder ``in``."""
    url = store_emulator.url()
    with store_emulator.applied():
        upload(undisturbed[0], join(url, "in"))
    return url


def both(stored: str, place: Path, environment: dict[str, Any], *flags: str) -> list[subprocess.Popen[str]]:
    """Two runs into one folder that begin together, each with one of the flags."""
    go = place / "go"
    found = [
        start(join(stored, "in"), join(stored, "out"), flag, temporary=place / "temporary", GO=str(go), **environment)
        for flag in flags
    ]
    let_go(go, len(found))
    return found


def test_two_equal_runs_at_once_both_succeed(
    store_emulator: Emulator, stored: str, slow: dict[str, Any], undisturbed: Source, tmp_path: Path
) -> None:
    runs = both(stored, tmp_path, slow, "--workers=1", "--workers=1")
    ended = [process.communicate(timeout=120) for process in runs]
    assert [process.returncode for process in runs] == [0, 0], ended
    with store_emulator.applied():
        expected = {name: content for name, content in undisturbed[1].items() if name != "claim"}
        assert fetched(join(stored, "out"), tmp_path / "out") == expected


def test_of_two_different_runs_at_once_one_wins(
    store_emulator: Emulator, stored: str, slow: dict[str, Any], tmp_path: Path
) -> None:
    runs = both(stored, tmp_path, slow, "--tag=a", "--tag=b")
    ended = [process.communicate(timeout=120) for process in runs]
    assert sorted(process.returncode for process in runs) == [0, 2], ended
    loser = 0 if runs[0].returncode else 1
    message = ended[loser][1]
    assert f"{join(stored, 'out')} belongs to another run" in message
    assert "--tag a" in message
    assert "--tag b" in message
    assert message.count("\n") == 1
    with store_emulator.applied():
        fetched(join(stored, "out"), tmp_path / "out")
    lines = read_output(tmp_path / "out").event_lines
    assert {json.loads(line)["properties"]["braze_import"] for line in lines} == {"ba"[loser]}


@pytest.mark.parametrize(("name", "moment"), [("/events/", 3), ("report.html", 1), (MANIFEST, 1)])
def test_a_run_killed_while_it_publishes_is_finished_by_the_same_command(
    name: str, moment: int, store_emulator: Emulator, stored: str, undisturbed: Source, tmp_path: Path
) -> None:
    places = join(stored, "in"), join(stored, "out")
    patch = _KILL % (join(places[1], name.strip("/")), moment)
    environment: dict[str, Any] = {**store_emulator.environment}
    killed = start(*places, patch=patch, temporary=tmp_path / "temporary", **environment)
    _, errors = killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL, errors
    with store_emulator.applied():
        store = store_for(stored)
        assert store.get(join(places[1], MANIFEST)) is None
        assert [entry.path for entry in store.list(places[1])]  # it had begun
        # Left by a run that had more units, under a name that this one does not write
        store.put(join(places[1], "events", "part-00099.ndjson.gz"), b"left over")
        assert run(*places) == 0
        expected = {name: content for name, content in undisturbed[1].items() if name != "claim"}
        assert fetched(places[1], tmp_path / "out") == expected
