"""The resolver against the truth of a sample export: pairs of profiles that are one person, for each device policy."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipelines.sample_export.__main__ import write_export
from transforms.currents.listing import discover
from transforms.currents.paths import cut_units
from transforms.evidence.unit_evidence import gather
from transforms.identity.forest import resolve
from transforms.identity.gathering import Gathered
from transforms.identity.graph import Graph
from transforms.identity.score import score
from transforms.settings import Settings

pytestmark = pytest.mark.slow

NOW = 1_773_000_000


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Graph, dict[str, Any]]:
    """(Graph, truth) of an export of 1,500 people."""
    folder = tmp_path_factory.mktemp("sample")
    write_export(folder, users=1_500, days=3, seed=7, rows=45_000, flush_minutes=0)
    units = cut_units(discover([str(folder)]))
    found = [gather(unit, Settings(now=NOW), id_shards=1, key_shards=1) for unit in units]
    gathered = Gathered(part for evidence in found for _, part in evidence.parts)
    return gathered.graph()[0], json.loads((folder / "truth.json").read_bytes())


def scored(sample: tuple[Graph, dict[str, Any]], policy: str) -> dict[str, float | int]:
    graph, truth = sample
    return score(resolve(graph, device_links=policy).profiles, truth["persons"])


def test_without_devices_everybody_is_whom_braze_says(sample: tuple[Graph, dict[str, Any]]) -> None:
    """So only Braze's own merges can be wrong: those of a device's first user into the one who signed in."""
    graph, truth = sample
    profiles = resolve(graph, device_links="none").profiles.to_pylist()
    braze = truth["braze"]
    known = [row for row in profiles if row["known_user"] and row["id"] in braze]
    # A profile whose external id was changed may be either to us.
    changed = {row["id"] for row in known if f"{row['known_user']}-new" == braze[row["id"]]}
    assert {row["id"] for row in known if braze[row["id"]] != row["known_user"]} == changed
    found = scored(sample, "none")
    assert 0.95 < found["precision"] < 1.0
    assert 0.2 < found["recall"] < 0.7


def test_sole_devices_find_more_and_are_mostly_right(sample: tuple[Graph, dict[str, Any]]) -> None:
    found = scored(sample, "sole")
    assert found["precision"] > 0.9
    assert found["recall"] > scored(sample, "none")["recall"] + 0.15


def test_the_first_user_of_a_shared_device_finds_most_and_errs_most(sample: tuple[Graph, dict[str, Any]]) -> None:
    first, sole = scored(sample, "first"), scored(sample, "sole")
    assert first["recall"] >= sole["recall"]
    assert first["precision"] < sole["precision"]
    assert first["wrongly_joined"] > sole["wrongly_joined"]
