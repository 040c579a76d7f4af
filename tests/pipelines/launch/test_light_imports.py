"""A local run imports no client of a cloud or a database, and whoever needs one can still import it."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.launch.light_imports import light_imports
from tests.commands.whole_run import ROOT
from tests.exports.random_exports import NOW, random_export, write_export

pytestmark = pytest.mark.slow

_CLIENTS = ("azure", "boto3", "botocore", "google.api_core", "google.auth", "google.cloud.storage", "pymongo")
_LOADED = f"sorted(name for name in {_CLIENTS} if sys.modules.get(name))"


def python(program: str, *arguments: str, **environment: str) -> str:
    """What a program prints in an interpreter of its own."""
    argv = [sys.executable, "-c", f"import os, sys\n{program}", *arguments]
    done = subprocess.run(
        argv, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_beam_by_itself_would_load_them() -> None:
    loaded = python(f"import apache_beam\nprint({_LOADED})")
    assert "google.cloud.storage" in loaded
    assert "boto3" in loaded


def test_a_local_run_loads_none_of_them(tmp_path: Path) -> None:
    write_export(random_export(3, too_large=False), tmp_path / "in")
    program = f"""
from pipelines import currents_to_mixpanel as command
try:
    command.cli()
except SystemExit as ended:
    assert ended.code == 0, ended.code
print("loaded:", {_LOADED})
"""
    flags = [f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}", f"--now={NOW}", "--max_reject_share=1"]
    assert python(program, *flags).splitlines()[-1] == "loaded: []"


def test_templates_are_loaded_where_a_page_is_made_and_not_before() -> None:
    program = """
import pipelines.currents_to_mixpanel, pipelines.deliver, pipelines.launch.worker as worker
worker.prepare()
import transforms.report.page as page
print("jinja2" in sys.modules, page.render({})[:15], "jinja2" in sys.modules)
"""
    assert python(program) == "False <!DOCTYPE html> True\n"


def test_a_worker_process_loads_none_of_them() -> None:
    program = (
        f"import pipelines.launch.worker as worker\nworker.prepare()\nprint({_LOADED}, 'apache_beam' in sys.modules)"
    )
    assert python(program) == "[] True\n"


def test_the_stores_find_their_clients_afterwards() -> None:
    program = f"""
from pipelines.launch.light_imports import light_imports
with light_imports():
    from pipelines.launch.local import run_locally
from transforms.stores import azure, gcs, s3
print({_LOADED})
"""
    assert python(program) == f"{sorted(set(_CLIENTS) - {'pymongo'})}\n"


@pytest.mark.parametrize("collects", [True, False])
def test_nothing_is_hidden_afterwards_and_what_was_loaded_never_is(
    collects: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    was = gc.isenabled()
    monkeypatch.delitem(sys.modules, "pymongo", raising=False)
    (gc.enable if collects else gc.disable)()
    try:
        with light_imports():
            assert sys.modules["boto3"] is boto3
            with pytest.raises(ModuleNotFoundError):
                import pymongo  # noqa: F401
            assert not gc.isenabled()
        assert gc.isenabled() == collects
        assert "pymongo" not in sys.modules
    finally:
        (gc.enable if was else gc.disable)()
