"""What several test modules share: small units, and an export with what a run of it publishes undisturbed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.deletion_commands import GDPR
from tests.commands.delivered_persons import WholeRun, copied, make_run
from tests.commands.deliveries import ACCOUNT, TOKEN
from tests.commands.several_units import Source, cut_small, published, run, write_source
from tests.servers.emulators import azure, gcs, s3, store_emulator
from tests.servers.markers import markers
from tests.servers.mixpanel_stand_in import StandIn, stand_in

__all__ = ["azure", "gcs", "s3", "store_emulator"]


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need more than Python."""
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        for name in sorted(markers(item.path, getattr(item, "fixturenames", ()), parameters)):
            item.add_marker(name)


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
    if request.path.name != "test_progress_line.py":
        monkeypatch.setattr("pipelines.launch.progress_line._PLAIN_SECONDS", 3600.0)


@pytest.fixture
def deletion_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A stand-in of Mixpanel whose credentials are set; commands of this process wait for nothing between requests."""
    monkeypatch.setattr("transforms.delivery.deletions.requests.SECONDS_APART", 0.0)
    monkeypatch.setattr("transforms.delivery.deletions.requests.backoff", lambda attempt, rng: 0.01)
    with stand_in() as server:
        project = server.project
        for name, value in ((ACCOUNT, project.account), (TOKEN, project.token), (GDPR, project.gdpr_token)):
            monkeypatch.setenv(name, value)
        yield server
