"""The package's metadata, the versions it is installed with, and the commands of every day."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.commands.whole_run import ROOT
from tests.repository.packaging_metadata import constraints, normalised, project
from tests.servers.tools import require, require_module
from transforms.output.versions import output_versions


def test_the_one_version_stands_in_pyproject_and_setup_py_adds_nothing() -> None:
    metadata = project()
    assert re.fullmatch(r"\d+\.\d+\.\d+", metadata["version"])
    assert "dynamic" not in metadata
    code = [line for line in (ROOT / "setup.py").read_text("utf-8").splitlines() if line and not line.startswith('"')]
    assert code == ["from setuptools import setup", "setup()"]


def test_no_licence_is_claimed_before_the_owner_has_chosen_one() -> None:
    metadata = project()
    assert "license" not in metadata
    assert not any(found.startswith("License") for found in metadata["classifiers"])
    assert "Private :: Do Not Upload" in metadata["classifiers"], "an index would take what nobody may use"


def test_every_dependency_has_one_version_in_the_constraints_within_its_bounds() -> None:
    requirement = require_module("packaging.requirements").Requirement
    metadata, pinned = project(), constraints()
    asked = [
        *metadata["dependencies"],
        *(found for group in metadata["optional-dependencies"].values() for found in group),
    ]
    own = normalised(metadata["name"])
    for text in asked:
        found = requirement(text)
        if normalised(found.name) == own:
            continue
        version = pinned.get(normalised(found.name))
        assert version, f"constraints.txt does not name {found.name}: run tools/make_constraints.sh"
        assert found.specifier.contains(version), (
            f"{text}, and constraints.txt has {version}: tools/make_constraints.sh"
        )


def test_what_shapes_bytes_is_constrained() -> None:
    assert set(output_versions()) - {"python", project()["name"]} <= set(constraints())


def test_environment_and_tools_are_installed_with_the_constraints() -> None:
    for name in ("environment.sh", "tools/install_test_tools.sh"):
        text = (ROOT / name).read_text("utf-8").replace("\\\n", " ")
        installs = [line for line in text.splitlines() if "pip install" in line]
        assert installs
        assert all("--constraint constraints.txt" in line for line in installs), name


def test_python_versions_are_the_same_everywhere() -> None:
    lowest, above = (int(found) for found in re.findall(r"3\.(\d+)", project()["requires-python"]))
    assert f"(3, {lowest}) <= sys.version_info[:2] <= (3, {above - 1})" in (ROOT / "environment.sh").read_text("utf-8")
    assert f"Python 3.{lowest} to 3.{above - 1}" in (ROOT / "README.md").read_text("utf-8")
    tried = re.findall(
        r"3\.\d+", (ROOT / ".github/workflows/ci.yml").read_text("utf-8").split("matrix:")[1].split("]")[0]
    )
    assert tried == [f"3.{minor}" for minor in range(lowest, above)]


def test_the_public_ci_calls_the_same_check() -> None:
    workflow = require_module("yaml").safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
    (job,) = workflow["jobs"].values()
    assert [step["run"].split()[-1] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_hooks_before_a_commit_are_what_the_ci_runs() -> None:
    (repository,) = require_module("yaml").safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    assert repository["repo"] == "local"
    checks = (ROOT / ".ci/run").read_text("utf-8")
    for hook in repository["hooks"]:
        command = hook["entry"].replace(" --force-exclude", "")
        assert command in checks


def test_make_lists_its_targets() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    targets = re.findall(r"^([a-z-]+):", text, re.MULTILINE)
    assert {"help", "test", "test-quick", "lint", "bench"} <= set(targets)
    assert re.findall(r"^([a-z-]+):.*## \w", text, re.MULTILINE) == targets, "help shows those with a text"
    if make := shutil.which("make"):
        shown = subprocess.run([make], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert [line.split()[0] for line in shown.splitlines()] == targets


def test_the_quick_tests_leave_out_what_needs_a_server_a_browser_or_time() -> None:
    recipe = (ROOT / "Makefile").read_text("utf-8").split("\ntest-quick:")[1].split("\n\n")[0]
    assert '-m "not slow and not emulator and not cluster and not browser"' in recipe
    assert "install_" not in recipe


def test_what_starts_a_job_server_or_workers_is_marked_as_a_cluster() -> None:
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text("utf-8")
        programs = re.findall(r"require\(['\"](prism|container|java|ip|unshare)['\"]\)|require_worker_python\(\)", text)
        if programs and path.parent.name != "clusters":
            assert re.search(r"^pytestmark = .*pytest\.mark\.cluster", text, re.MULTILINE), path


@pytest.mark.parametrize("setting", ["yes", "no"])
def test_debian_packages_are_installed_only_after_a_line_that_says_so(setting: str, tmp_path: Path) -> None:
    """On a machine that has bash and nothing else: apt-get and id write down that they were called."""
    for name, body in (("apt-get", 'echo "apt-get $*" >&3'), ("id", "echo 0"), ("bash", "")):
        fake = tmp_path / name
        if body:
            fake.write_text(f"#!{require('bash')}\n{body}\n")
            fake.chmod(0o755)
        else:
            fake.symlink_to(require("bash"))
    done = subprocess.run(
        [require("bash"), "-c", "tools/install_test_packages.sh 3>&1"],
        cwd=ROOT,
        env={"PATH": str(tmp_path), "SYSTEM_PACKAGES": setting},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    if setting == "no":
        assert len(lines) == 1
        assert lines[0].startswith("SYSTEM_PACKAGES=no: ")
        return
    assert re.match(r"installing the Debian packages chromium chromium-driver iproute2 default-jre-headless", lines[0])
    assert lines[1:] == [
        "apt-get update -q",
        "apt-get install -y -q chromium chromium-driver iproute2 default-jre-headless",
    ]
    assert "apt-get" not in (ROOT / "run_tests.sh").read_text("utf-8"), "nothing else installs any"
