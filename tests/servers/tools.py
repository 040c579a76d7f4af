"""Tools that some tests need and a machine may lack: skipped with a line naming the tool, a failure where CI=true."""

from __future__ import annotations

import importlib
import os
import shutil
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest

TOOLS = Path(__file__).resolve().parents[2] / ".tools"
_FOLDERS = (TOOLS / "bin", TOOLS / "azurite" / "node_modules" / ".bin")


def require(tool: str) -> str:
    """Returns the path of an executable, or skips the test (fails it with CI=true)."""
    path = shutil.which(tool, path=os.pathsep.join([*map(str, _FOLDERS), os.environ.get("PATH", "")]))
    if path is None:
        lacking(f"the program {tool} is neither on PATH nor in .tools, where tools/install_test_tools.sh puts it")
    return path


def require_worker_python() -> Path:
    """Returns the interpreter of the environment that has all dependencies and not this project, or skips the test."""
    python = TOOLS / "worker" / "bin" / "python"
    if not (TOOLS / "worker" / "installed").exists():
        lacking("the workers' environment is not in .tools, where tools/install_test_tools.sh makes it")
    return python


def require_module(name: str) -> ModuleType:
    """Returns an imported module, or skips the test (fails it with CI=true)."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        lacking(f"the Python package {name} cannot be imported: {error}")


def lacking(text: str) -> NoReturn:
    """Skips the test with a line that says what is missing, or fails it with CI=true."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"{text}, and with CI=true no test may be skipped")
    pytest.skip(text)
