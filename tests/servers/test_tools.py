"""A tool that is lacking skips a test, and fails it with CI=true."""

from __future__ import annotations

import os

import pytest

from tests.servers.tools import require, require_module


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_a_lacking_tool_is_named(monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="no-such-tool"):
        require("no-such-tool")
    with pytest.raises(outcome, match="no_such_module"):
        require_module("no_such_module")


def test_a_tool_that_is_there_is_its_path() -> None:
    assert os.access(require("sh"), os.X_OK)
    assert require_module("json").loads("[1]") == [1]
