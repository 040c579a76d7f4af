"""The whole job on object stores: the bytes of a local run, with many objects and with services that misbehave.

What two runs do to each other there, and dying, is in ``test_object_store_races``.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipelines import currents_to_mixpanel as command
from tests.commands.several_units import Source, published, run
from tests.exports.small_exports import OPEN, avro, rows, write
from tests.servers.emulators import Emulator, download, upload
from tests.servers.faulty_proxy import Faults, FaultyProxy
from transforms.output.folder import MANIFEST
from transforms.stores.objects import ObjectStore
from transforms.stores.store import Entry, join, store_for

OBJECTS = 3000
INTEGRATION = "dataexport.prod-01.S3.integration.69cadaaed2d51b7c75b1a3e5"
FORMS = (
    "event_type={kind}/date={hour}/version=11/us-01/{integration}+0+{number}.avro",
    "event_type={kind}/date={hour}/304/prod-01/{integration}+1+{number:010}.avro",
    "event_type%3D{kind}/date%3D{hour}/version%3D11/us-01/{integration}%2B0%2B{number}.avro",
)


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Three thousand small files under the old and the new form of paths, and what a local run makes of them."""
    folder = tmp_path_factory.mktemp("many")
    kinds = (OPEN, "users.messages.email.Click", "users.behaviors.app.SessionStart")
    files = {}
    for number in range(OBJECTS):
        path = FORMS[number % len(FORMS)].format(
            kind=kinds[number % 7 % 3], hour=f"2026-01-{1 + number % 28:02}-{number % 24:02}", integration=INTEGRATION,
            number=number,
        )  # fmt: skip
        files[f"currents/{INTEGRATION}/{path}"] = avro(rows(f"{number:05}", 3))
    write(folder / "in", files)
    assert run(folder / "in", folder / "out") == 0
    return folder / "in", outcome(folder / "out")


def outcome(folder: Path) -> dict[str, Any]:
    """All that must be the same wherever the files are; the claim is not, because versions are the stores' own."""
    found = published(folder)
    del found["claim"]
    return found


def fetched(url: str, folder: Path) -> dict[str, Any]:
    """``outcome`` of an output on a store."""
    download(url, folder)
    return outcome(folder)


def test_thousands_of_objects_give_the_bytes_of_a_local_run(
    store_emulator: Emulator, many: Source, tmp_path: Path
) -> None:
    source, expected = many
    url = store_emulator.url()
    with store_emulator.applied():
        store = store_for(url)

        def put(path: Path) -> None:
            store.put(join(url, "in", path.relative_to(source).as_posix()), path.read_bytes())

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(put, [path for path in source.rglob("*") if path.is_file()]))
        # What consoles leave, files of others, and a folder whose name begins like the input's
        store.put(join(url, "in", "currents", "notes.txt"), b"not an export")
        store.put(join(url, "in-older", "x.avro"), b"none")
        assert run(join(url, "in"), join(url, "deep", "out")) == 0
        assert fetched(join(url, "deep", "out"), tmp_path / "out") == expected
        report = json.loads((tmp_path / "out" / "report.json").read_bytes())
    assert (report["files"]["read"], report["rows"]["read"]) == (OBJECTS, 3 * OBJECTS)


@pytest.fixture
def stored(store_emulator: Emulator, undisturbed: Source) -> str:
    """A fresh place on the store, with a small export in its folder ``in``."""
    url = store_emulator.url()
    with store_emulator.applied():
        upload(undisturbed[0], join(url, "in"))
    return url


FAULTS = {
    "refused": (Faults(seed=1, refused=0.3), {"503": 10, "429": 10}),
    "cut": (Faults(seed=2, cut=0.15, torn=0.15), {"cut": 10, "torn": 10}),
    "lost": (Faults(seed=3, lost=0.3), {"lost": 20}),
    "every write lost": (Faults(lost_at_first=True), {"lost": 20}),
    "slow": (Faults(latency=0.03, stalled=60, stall=20.0), {"stalled": 1}),
}


@pytest.mark.usefixtures("small_units")
@pytest.mark.parametrize("kind", FAULTS)
def test_a_service_that_misbehaves_changes_nothing(
    kind: str, store_emulator: Emulator, stored: str, undisturbed: Source, tmp_path: Path
) -> None:
    faults, least = FAULTS[kind]
    with FaultyProxy(store_emulator.host, store_emulator.port) as proxy:
        proxy.set(faults)
        with store_emulator.applied(store_emulator.with_endpoint(proxy.host, proxy.port)):
            assert run(join(stored, "in"), join(stored, "out")) == 0
        counts = proxy.counts()
    with store_emulator.applied():
        expected = {name: content for name, content in undisturbed[1].items() if name != "claim"}
        assert fetched(join(stored, "out"), tmp_path / "out") == expected
    assert {fate: counts[fate] for fate in least if counts[fate] < least[fate]} == {}, counts


# Inputs that change


@pytest.mark.usefixtures("small_units")
@pytest.mark.parametrize("moment", ["before it is read", "between the two passes"])
def test_an_object_that_changes_fails_the_run_before_publication(
    moment: str,
    store_emulator: Emulator,
    stored: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with store_emulator.applied():
        store = store_for(stored)
        victim = [entry for entry in store.list(join(stored, "in")) if entry.size][7]
        read, hand_out = ObjectStore.read, command.hand_out
        changed: list[str] = []

        def change() -> None:
            if not changed:
                changed.append(victim.path)
                store.put(victim.path, bytes(victim.size))  # of the same size

        def change_first(*arguments: Any) -> Any:
            change()
            return hand_out(*arguments)

        def read_and_change(self: ObjectStore, entry: Entry) -> bytes:
            content = read(self, entry)
            if entry.path == victim.path:
                change()
            return content

        if moment == "before it is read":
            monkeypatch.setattr(command, "hand_out", change_first)
        else:
            monkeypatch.setattr(ObjectStore, "read", read_and_change)
        assert run(join(stored, "in"), join(stored, "out")) == 1
        assert changed
        message = capsys.readouterr().err
        assert victim.path in message
        assert "changed while the run was reading it" in message or "is gone now" in message
        assert message.count("\n") == 1
        assert store.get(join(stored, "out", MANIFEST)) is None
