"""What one imports: the whole command as one call, the transforms and the errors, without Beam before it is needed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import currents_to_mixpanel
import transforms
from currents_to_mixpanel import CurrentsToMixpanelError, UserError, options, run
from pipelines.command_line.options import parse
from pipelines.keywords import words_of
from tests.commands.whole_run import ROOT
from tests.exports.small_exports import avro, path, rows, write
from tests.repository.packaging_metadata import project
from transforms.errors import LimitExceeded, UsageError
from transforms.output.folder import MANIFEST

NOW = 1_772_400_000


def source_of(folder: Path, number: int = 20) -> str:
    return str(write(folder / "exports", {path("a"): avro(rows("a", number))}))


def test_importing_it_loads_neither_beam_nor_arrow_nor_the_packages_beside_it() -> None:
    program = (
        "import sys, currents_to_mixpanel\n"
        "loaded = {'apache_beam', 'pyarrow', 'numpy', 'pipelines', 'transforms'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
        "print(currents_to_mixpanel.__version__)\n"
        "currents_to_mixpanel.Settings, currents_to_mixpanel.run, currents_to_mixpanel.options\n"
        "assert 'apache_beam' not in sys.modules\n"
        "assert len(set(sys.path)) == len(sys.path), sys.path\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{project()['version']}\n"


def test_it_exports_what_it_says_and_all_transforms() -> None:
    text = Path(str(currents_to_mixpanel.__file__)).read_text("utf-8")
    (typed,) = (node for node in ast.parse(text).body if isinstance(node, ast.If))
    declared = {alias.name for node in typed.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert declared | {"__version__"} == set(currents_to_mixpanel.__all__)
    assert set(transforms.__all__) < declared
    for name in currents_to_mixpanel.__all__:
        assert getattr(currents_to_mixpanel, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = currents_to_mixpanel.nothing  # type: ignore[attr-defined]


def test_the_example_of_the_readme_publishes_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source_of(tmp_path)
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == [f"published out/{MANIFEST} 20"]
    assert (tmp_path / "out" / MANIFEST).exists()


def test_a_run_from_python_returns_what_is_published(tmp_path: Path) -> None:
    report = run(options(input=source_of(tmp_path), output=tmp_path / "out", now=NOW, workers=1))
    assert (report.status, report.manifest) == ("published", str(tmp_path / "out" / MANIFEST))
    assert (report.figures["rows"]["read"], report.incomplete) == (20, "")
    assert report.warnings == report.figures["warnings"]


def test_what_stops_a_run_from_python_is_an_error_of_the_tree(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean --output"):
        options(input="in", ouput="out")
    with pytest.raises(UsageError, match="version is for the command line"):
        options(input="in", output="out", version=True)
    with pytest.raises(UserError, match=r"no \.avro file matches"):
        run(options(input=tmp_path / "nowhere", output=tmp_path / "out"))
    early = [{**row, "time": 5} for row in rows("a", 20)]
    source = write(tmp_path / "in", {path("a"): avro(early)})
    with pytest.raises(LimitExceeded, match="all 20 rows") as raised:
        run(options(input=source, output=tmp_path / "out"))
    assert isinstance(raised.value, CurrentsToMixpanelError)
    assert not (tmp_path / "out" / MANIFEST).exists()


def test_keywords_are_the_flags_of_their_names() -> None:
    given = {"event_types": ("users.a", "users.b"), "skip": ["x.avro", "y,z.avro"], "overwrite": True, "json": False}
    words = words_of({"input": ["a/", "b/"], "output": "out", "now": NOW, "users_share": 0.5, "tag": None, **given})
    assert words == [
        "--input=a/,b/", "--output=out", f"--now={NOW}", "--users_share=0.5", "--event_types=users.a,users.b",
        "--skip=x.avro", "--skip=y,z.avro", "--overwrite",
    ]  # fmt: skip
    assert options(input="a/", output="out", now=NOW, skip=["x"]) == parse(
        ["--input=a/", "--output=out", f"--now={NOW}", "--skip=x"]
    )


@pytest.mark.parametrize("argv", [["-m", "currents_to_mixpanel"], [str(ROOT / "currents_to_mixpanel")]])
def test_the_package_is_the_installed_command(argv: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, *argv, "sample", "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "--users" in done.stdout


def test_another_package_under_one_of_the_names_is_an_import_error(tmp_path: Path) -> None:
    (tmp_path / "transforms").mkdir()
    (tmp_path / "transforms" / "__init__.py").write_text("")
    program = f"import sys, transforms; sys.path.append({str(ROOT)!r}); from currents_to_mixpanel import run"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    said = "ImportError: another package was imported under the name transforms before this program began"
    assert done.stderr.splitlines()[-1].startswith(f"{said}, from {tmp_path}")
