"""Run from a folder with a ``pipelines`` and a ``transforms`` of its own, as most Beam repositories are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.command_line.failures import worker_lost
from tests.commands.several_units import FLAGS, UNIT_FILES, Source, published
from tests.commands.whole_run import ROOT

pytestmark = pytest.mark.slow

# As the installed command begins, with few files a unit, so that there is work for two.
_COMMAND = f"""
import functools, sys
from currents_to_mixpanel.own_packages import take_own_packages
take_own_packages()
from pipelines import currents_to_mixpanel as command
command.survey = functools.partial(command.survey, unit_files={UNIT_FILES})
%s
command.cli()
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This program's files where an installation that is not editable puts them."""
    folder = tmp_path_factory.mktemp("site-packages")
    for name in ("currents_to_mixpanel", "pipelines", "transforms"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder of somebody else's."""
    folder = tmp_path / "repository"
    for name in ("pipelines", "transforms"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("")
    return folder


def run(argv: list[str], folder: Path, *path: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)


def command(source: Path, output: Path, *more: str, patch: str = "") -> list[str]:
    return [sys.executable, "-c", _COMMAND % patch, f"--input={source}", f"--output={output}", *FLAGS, *more]


def test_two_workers_start_where_the_folder_has_packages_of_these_names(
    installed: Path, foreign: Path, undisturbed: Source, tmp_path: Path
) -> None:
    source, expected = undisturbed
    # PYTHONPATH names the folder as well, before this program: nothing of it may be taken.
    done = run(command(source.resolve(), tmp_path / "out", "--workers=2"), foreign, foreign, installed)
    assert done.returncode == 0, done.stderr
    assert published(tmp_path / "out") == expected


def test_the_command_by_its_path_is_this_program_wherever_it_is_run(installed: Path, foreign: Path) -> None:
    done = run([sys.executable, str(installed / "currents_to_mixpanel"), "--help"], foreign, foreign)
    assert (done.returncode, done.stderr) == (0, "")
    assert "currents-to-mixpanel --input" in done.stdout


def test_another_package_in_the_place_of_one_of_these_is_named_with_its_place(installed: Path, foreign: Path) -> None:
    shutil.rmtree(foreign / "pipelines")
    done = run([sys.executable, "-m", "pipelines.currents_to_mixpanel", "--help"], foreign, installed)
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"currents-to-mixpanel: another package is imported under the name transforms, from {foreign / 'transforms'},"
    )
    assert str(installed) in done.stderr
    assert done.stderr.count("\n") == 1

    done = run([sys.executable, "-c", "import pipelines.command_line.options"], foreign, installed)
    assert f"ImportError: another package is imported under the name transforms, from {foreign}" in done.stderr


def test_a_package_that_was_imported_before_the_program_began_is_named_with_its_place(
    installed: Path, foreign: Path
) -> None:
    begin = "import pipelines; from currents_to_mixpanel.own_packages import job; job()"
    done = run([sys.executable, "-c", begin], foreign, installed)
    assert done.returncode == 2
    assert f"another package was imported under the name pipelines before this program began, from {foreign}" in (
        done.stderr
    )
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("more", [(), ("--verbose",)])
def test_a_worker_that_cannot_start_is_told_from_one_that_was_killed(
    more: tuple[str, ...], installed: Path, undisturbed: Source, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(installed, broken)
    # The launcher has imported it already when the file changes.
    module = str(broken / "pipelines" / "graph.py")
    patch = f"import pipelines.launch.local\nopen({module!r}, 'w').write('import no_such_library')"
    source, _ = undisturbed
    done = run(command(source.resolve(), tmp_path / "out", "--workers=2", *more, patch=patch), tmp_path, broken)
    assert done.returncode == 1, done.stderr
    assert "a worker process did not start: ModuleNotFoundError: No module named 'no_such_library'" in done.stderr
    assert "was killed" not in done.stderr
    if not more:  # besides the lines that tell of progress on a slow machine
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("status", "reason", "message"),
    [
        (None, "", "was killed, most often because memory ran out"),
        (-9, "", "was killed, most often because memory ran out"),
        (137, "", "was killed, most often because memory ran out"),
        (-11, "", "was ended by SIGSEGV"),
        (143, "", "was ended by SIGTERM"),
        (1, "", "ended by itself, with status 1"),
        (1, "ImportError: no such", "did not start: ImportError: no such"),
    ],
)
def test_how_a_worker_went_is_told_by_its_status(status: int | None, reason: str, message: str) -> None:
    assert worker_lost(status, reason).startswith(f"a worker process {message}")
