"""What several test modules share: small units, and an export with what a run of it publishes undisturbed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.delivered_persons import WholeRun, copied, make_run
from tests.emulators import azure, gcs, s3, store_emulator
from tests.several_units import Source, cut_small, published, run, write_source

__all__ = ["azure", "gcs", "s3", "store_emulator"]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """An export, and what a run of it publishes that nothing comes in the way of."""
    folder = tmp_path_factory.mktemp("undisturbed")
    source = write_source(folder / "in")
    with pytest.MonkeyPatch.context() as patch:
        cut_small(patch)
        assert run(source, folder / "out") == 0
    return source, published(folder / "out")


@pytest.fixture(scope="session")
def made_run(tmp_path_factory: pytest.TempPathFactory) -> WholeRun:
    """A run of the job on a random export; not to be delivered itself."""
    return make_run(tmp_path_factory.mktemp("made"))


@pytest.fixture
def random_run(made_run: WholeRun, tmp_path: Path) -> WholeRun:
    """A run of the job on a random export, to be delivered."""
    return copied(made_run, tmp_path / "run")


@pytest.fixture
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units of a few files, for runs in this process."""
    cut_small(monkeypatch)


@pytest.fixture(autouse=True)
def no_progress_lines(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """On a busy machine a run may take long enough to print one among what a test expects to read."""
    if request.path.name != "test_live.py":
        monkeypatch.setattr("pipelines.live._PLAIN_SECONDS", 3600.0)
