"""How the source tree is kept: what may import Beam, how long files are, what steps are called."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from apache_beam.typehints.decorators import get_type_hints

import transforms
from pipelines.graph import build
from tests.commands.whole_run import ROOT
from tests.transforms import test_transforms
from transforms import Plan, RunContext, Settings, SourceFile, Unit

BEAM_MODULES = {
    f"transforms.{name}"
    for name in (
        "read_plan",
        "read_ids",
        "unique_links",
        "resolve_identities",
        "answer_units",
        "find_repeats",
        "format_events",
        "write_profiles",
        "count_persons",
        "publish_run",
        "stores.beam_files",
    )
}
LONGEST_FILE, LONGEST_TEST_FILE = 340, 400
LONGEST_EXAMPLE = 15
VAGUE_NAMES = {"utils", "util", "common", "helpers", "helper", "misc"}
STEP_LABEL = re.compile(r"([A-Z][a-z0-9]+)+\Z")


def sources(*folders: str) -> dict[str, Path]:
    """Module name to file."""
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    found = [path for path in found if ROOT / "benchmarks" / "work" not in path.parents]  # others' packages
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in found}


@functools.cache
def text(path: Path) -> str:
    return path.read_text("utf-8")


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(text(path))


@functools.cache
def imports(path: Path) -> frozenset[str]:
    return imported_by(ast.walk(tree(path)))


def imported_by(nodes: Iterable[ast.AST]) -> frozenset[str]:
    return frozenset(_imported_by(nodes))


def _imported_by(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


PRODUCT = sources("transforms", "pipelines")
ALL = {**PRODUCT, **sources("currents_to_mixpanel", "tests", "benchmarks")}
PURE = sorted(name for name in sources("transforms") if name not in BEAM_MODULES)


@pytest.mark.parametrize("name", [name for name in PURE if name != "transforms"])
def test_a_pure_module_imports_no_beam(name: str) -> None:
    found = imports(PRODUCT[name])
    impure = {module for module in found if module.split(".")[0] == "apache_beam" or module in BEAM_MODULES}
    assert not impure, f"{name} imports {sorted(impure)}: keep Beam in {sorted(BEAM_MODULES)}"


def test_a_fresh_interpreter_imports_all_pure_modules_without_beam() -> None:
    program = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    assert 'apache_beam' not in sys.modules, name + ' loads apache_beam'\n"
    )
    done = subprocess.run([sys.executable, "-c", program, *PURE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_package_exports_what_it_says_and_nothing_else() -> None:
    (typed,) = (node for node in tree(PRODUCT["transforms"]).body if isinstance(node, ast.If))
    declared = {alias.name for node in typed.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert declared == set(transforms.__all__)
    for name in transforms.__all__:
        assert getattr(transforms, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = transforms.nothing  # type: ignore[attr-defined]


def test_each_exported_transform_shows_an_example() -> None:
    exported = [getattr(transforms, name) for name in transforms.__all__]
    beam_transforms = [found for found in exported if inspect.isclass(found) and issubclass(found, beam.PTransform)]
    assert len(beam_transforms) >= 8
    for found in beam_transforms:
        assert "Example" in (found.__doc__ or ""), found
        assert get_type_hints(found).input_types, f"{found} declares no input type"


@pytest.mark.parametrize("name", ALL)
def test_a_file_can_be_read_in_one_go(name: str) -> None:
    limit = LONGEST_TEST_FILE if name.startswith("tests") else LONGEST_FILE
    assert len(text(ALL[name]).splitlines()) <= limit, f"{name} is longer than {limit} lines: cut it by theme"


def test_the_tests_of_transforms_are_short_enough_to_be_read_as_documentation() -> None:
    for node in tree(Path(test_transforms.__file__)).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= LONGEST_EXAMPLE, f"{node.name} has {length} lines"


def test_names_say_what_is_inside() -> None:
    for name in ALL:
        assert not VAGUE_NAMES & set(re.split(r"[._]", name)), f"{name}: name it after what it does"


@pytest.mark.parametrize("name", sorted(name for name, path in PRODUCT.items() if "apache_beam" in imports(path)))
def test_a_beam_module_has_no_lambda_and_no_state(name: str) -> None:
    for node in ast.walk(tree(PRODUCT[name])):
        assert not isinstance(node, ast.Lambda), f"{name}, line {node.lineno}: a lambda is pickled with its code"
    stateful = re.search(r"StateSpec|TimerSpec|StateParam|TimerParam|userstate", text(PRODUCT[name]))
    assert not stateful, f"{name} has a stateful step"


def test_the_main_session_is_never_saved() -> None:
    for name, path in PRODUCT.items():
        for word in re.findall(r"[\w-]*save_main_session", text(path)):
            assert word == "--no_save_main_session", name


class _Labels(PipelineVisitor):
    """Labels that we gave: steps at the root or directly inside one of our own transforms."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def visit_transform(self, transform_node: AppliedPTransform) -> None:
        self._note(transform_node)

    def enter_composite_transform(self, transform_node: AppliedPTransform) -> None:
        self._note(transform_node)

    def _note(self, node: AppliedPTransform) -> None:
        if node.parent is None:
            return
        around = node.parent.transform
        if around is None or type(around).__module__.split(".")[0] in ("transforms", "pipelines"):
            self.found.append(node.full_label.rpartition("/")[2])


def test_each_step_has_a_label_in_camel_case() -> None:
    plan = Plan(1, 1, 1000, id_shards=2, key_shards=2, person_shards=2)
    context = RunContext("out", "digest", Settings(now=1_772_323_200), plan, "a test", {}, {}, 0.0, 0)
    pipeline = beam.Pipeline(runner=test_transforms.FnApiRunner())
    build(pipeline, [Unit(0, (SourceFile("a.avro", "a.avro", 500, "1", None),))], context)
    labels = _Labels()
    pipeline.visit(labels)
    assert len(labels.found) >= 25
    for label in labels.found:
        assert STEP_LABEL.match(label), f"step [{label}] needs a label of its own, in CamelCase"


ROOMS = (
    "vocabulary",
    *("arrow", "telemetry", "stores", "avro", "currents", "evidence", "identity"),
    *("privacy", "mixpanel", "messages", "output", "report", "delivery"),
)
MOST_MODULES = 13


def test_data_flows_one_way_through_the_rooms() -> None:
    for name, path in PRODUCT.items():
        parts = name.split(".")
        if parts[0] != "transforms" or len(parts) < 3:
            continue
        later = {f"transforms.{room}" for room in ROOMS[ROOMS.index(parts[1]) + 1 :]}
        back = {module for module in imports(path) if ".".join(module.split(".")[:2]) in later}
        assert not back, f"{name} imports {sorted(back)}, which come after it: {' → '.join(ROOMS)}"


PACKAGES = sorted(name for name, path in PRODUCT.items() if path.name == "__init__.py")


@pytest.mark.parametrize("name", [name for name in PACKAGES if "." in name])
def test_a_package_says_what_it_holds_and_what_to_read_first(name: str) -> None:
    said = ast.get_docstring(tree(PRODUCT[name])) or ""
    modules = {path.stem for path in PRODUCT[name].parent.glob("*.py")} - {"__init__"}
    assert modules & set(re.findall(r"``(\w+)``", said)), f"{name} does not name the module to read first"
    assert len(modules) <= MOST_MODULES, f"{name} has {len(modules)} modules: cut it by theme"


def test_all_rooms_have_a_place_in_the_order() -> None:
    assert {name.split(".")[1] for name in PACKAGES if name.startswith("transforms.")} == set(ROOMS)
