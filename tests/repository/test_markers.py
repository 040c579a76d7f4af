"""The markers by which ``make test-quick`` leaves out what needs a server, a browser or time."""

from __future__ import annotations

from typing import Any

import pytest

from tests.commands.whole_run import ROOT
from tests.repository.packaging_metadata import pytest_settings
from tests.servers.markers import markers


@pytest.mark.parametrize(
    ("path", "fixtures", "parameters", "expected"),
    [
        ("transforms/test_any.py", ("tmp_path",), {}, set()),
        ("transforms/test_any.py", ("tmp_path", "gcs"), {}, {"emulator"}),
        ("transforms/test_any.py", ("store_emulator",), {"store_emulator": "azure"}, {"emulator"}),
        ("transforms/test_any.py", ("place", "store"), {"place": "local"}, set()),
        ("transforms/test_any.py", ("place", "store"), {"place": "s3"}, {"emulator"}),
        ("transforms/test_any.py", ("text",), {"text": "s3"}, set()),
        ("transforms/report/test_any.py", ("browser",), {}, {"browser"}),
        ("clusters/test_any.py", (), {}, {"cluster"}),
        ("whole_runs/test_any.py", (), {}, {"slow"}),
    ],
)
def test_what_a_test_needs_is_told_by_its_folder_and_fixtures(
    path: str, fixtures: tuple[str, ...], parameters: dict[str, Any], expected: set[str]
) -> None:
    assert markers(ROOT / "tests" / path, fixtures, parameters) == expected


def test_collected_tests_carry_these_markers(request: pytest.FixtureRequest) -> None:
    for item in request.session.items:
        if isinstance(item, pytest.Function):
            parameters = item.callspec.params if hasattr(item, "callspec") else {}
            carried = {marker.name for marker in item.iter_markers()}
            assert markers(item.path, item.fixturenames, parameters) <= carried, item.nodeid


def test_each_marker_is_registered_with_a_text_and_doctests_are_collected() -> None:
    settings = pytest_settings()
    assert {text.split(":")[0] for text in settings["markers"]} == {"emulator", "cluster", "browser", "slow"}
    assert {"--strict-markers", "--doctest-modules"} <= set(settings["addopts"].split())
    assert {"tests", "pipelines", "transforms"} <= set(settings["testpaths"])
