"""Whole runs under the policy ``next``, on installs that begin anonymous, against the oracle."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import pytest

from pipelines.sample_export.__main__ import write_export as write_sample
from tests.commands.several_units import cut_small
from tests.commands.whole_run import compare, flags, read_output, run_in_process
from tests.exports.random_exports import NOW, Export, ExportFile, random_export, write_export
from tests.oracle import whole_job as oracle

pytestmark = pytest.mark.slow

DAY = 86_400
ANY = float("inf")
TYPES = ("users.behaviors.app.SessionStart", "users.behaviors.Purchase", "users.messages.email.Click")
COLUMNS = ("id", "time", "user_id", "external_user_id", "device_id")
SCHEMA = {
    "type": "record",
    "name": "dataexport",
    "fields": [{"name": name, "type": "long" if name == "time" else ["null", "string"]} for name in COLUMNS],
}


def installs(seed: int) -> Export:
    """Devices that are anonymous for a while, then somebody's; on some a second user or a second stranger comes."""
    chance = random.Random(seed)
    rows: dict[str, list[dict[str, Any]]] = {kind: [] for kind in TYPES}

    def add(profile: str, user: str | None, device: str, time: int) -> None:
        kind = chance.choices(TYPES, (6, 2, 2))[0]
        number = sum(map(len, rows.values()))
        rows[kind].append(
            {"id": f"install-{number}", "time": time, "user_id": profile, "external_user_id": user, "device_id": device}
        )

    for number in range(20):
        stay = chance.choice([600, 3_000, 5_000, DAY // 2, DAY, 3 * DAY, 20 * DAY, 45 * DAY])
        login, device, user = NOW - chance.randint(1, 5) * DAY, f"install-{number}", f"buyer-{number % 7}"
        for stranger in range(1 + (chance.random() < 0.15)):
            for at in (login - stay, login - stay // 2, login - chance.choice([0, 1, 50, stay // 3])):
                add(f"stranger-{number}-{stranger}", None, device, at)
        for at in (login - chance.choice([0, 0, 59, 61, 500]), login, login + 700):
            add(f"profile-{number % 9}", user, device, at)
        if chance.random() < 0.2:
            add("profile-late", "buyer-late", device, login + DAY // 2)
    return {
        f"currents/event_type={kind}/date=2026-01-20-10/version=11/us-01/installs-{at}.avro": ExportFile(
            kind, rows[kind], SCHEMA
        )
        for at, kind in enumerate(TYPES)
    }


@pytest.mark.parametrize(("seed", "stay"), [(1, 1.0), (2, 0.5), (3, 7.0), (4, ANY), (5, 0.04), (6, 30.0)])
def test_a_run_publishes_what_the_oracle_expects(
    seed: int, stay: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_small(monkeypatch)
    export = {**random_export(seed, too_large=False), **installs(seed)}
    write_export(export, tmp_path / "in")
    given = ["--device_stay=any"] if stay == ANY else flags(device_stay=stay)
    assert run_in_process(tmp_path / "in", tmp_path / "out", f"--now={NOW}", "--max_reject_share=1", *given) == 0
    expected = oracle.run(export, now=NOW, device_stay=stay)
    compare(read_output(tmp_path / "out"), expected)
    met = Counter(status for _, _, _, status, device in expected.links.values() if device is not None)
    assert met["accepted"] >= (3 if stay > 0.5 else 1)


def test_a_longer_stay_makes_more_known(tmp_path: Path) -> None:
    found = [
        sum(device is not None for *_, device in oracle.run(installs(4), now=NOW, device_stay=stay).links.values())
        for stay in (0.0, 0.04, 0.5, 1.0, 7.0, 30.0, ANY)
    ]
    assert found == sorted(found)
    assert found[0] < found[3] < found[-1]


def read_sample(folder: Path) -> Iterator[tuple[str, ExportFile]]:
    for path in sorted(folder.rglob("*.avro")):
        with path.open("rb") as file:
            reader = fastavro.reader(file)
            rows: Any = list(reader)
        kind = next(part for part in path.parts if part.startswith("event_type=")).removeprefix("event_type=")
        schema: Any = reader.writer_schema
        yield str(path.relative_to(folder)), ExportFile(kind, rows, schema)


@pytest.mark.parametrize(
    ("policy", "stay"), [("next", 1.0), ("next", 7.0), ("next", ANY), ("sole", 1.0), ("first", 1.0), ("none", 1.0)]
)
def test_a_sample_export_is_what_the_oracle_says(
    policy: str, stay: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_small(monkeypatch)
    write_sample(tmp_path / "sample", users=90, days=20, seed=2, rows=2_500, flush_minutes=0)
    folder, now = tmp_path / "sample" / "currents", 1_776_000_000
    given = [f"--device_links={policy}"]
    if policy == "next":
        given.append(f"--device_stay={'any' if stay == ANY else stay}")
    argv = [f"--now={now}", "--max_reject_share=1", f"--truth={tmp_path / 'sample' / 'truth.json'}", *given]
    assert run_in_process(folder, tmp_path / "out", *argv) == 0
    expected = oracle.run(dict(read_sample(folder)), now=now, device_links=policy, device_stay=stay)
    actual = read_output(tmp_path / "out")
    assert actual.ids == expected.ids
    assert actual.links == expected.links
    assert any(device is not None for *_, device in expected.links.values()) == (policy == "next")
    table = actual.report["identity"]["device_policies"]["table"]
    (chosen,) = (line for line in table if line["chosen"])
    assert (chosen["device_links"], chosen["precision"]) == (policy, actual.report["identity"]["score"]["precision"])
    assert chosen["profiles"] == actual.report["identity"]["profiles_known_through"]["device"]
