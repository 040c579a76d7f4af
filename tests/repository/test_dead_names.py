"""No name of the product, its benchmarks and tools is kept that nothing but tests uses; modules import one way."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

from tests.commands.whole_run import ROOT
from tests.repository.test_structure import imported_by, sources, text, tree

FILES = sources("benchmarks", "currents_to_mixpanel", "deploy", "pipelines", "tools", "transforms")
USED_OTHERWISE = {
    "_WaitingWorkerHandler": "Beam finds it by the URN that it is registered under",
    "RELEASE": "what docs/new-release-of-currents.md says to raise, and tests hold the catalogue to",
    "AFTER_RELEASE": "as RELEASE",
}

_NAME_OR_PROGRAM = re.compile(r"\A[\w.:]+\Z|^\s*(from|import) \w", re.MULTILINE)


def defined(path: Path) -> Iterator[str]:
    """The names that a module defines at its top, dunders apart."""
    for node in tree(path).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [found for target in targets for found in ast.walk(target) if isinstance(found, ast.Name)]
            if not all(found.id.startswith("_") for found in names) or len(names) == 1:  # else a row of constants
                yield from (found.id for found in names if not found.id.startswith("__"))


@functools.cache
def used() -> frozenset[str]:
    """Every name that code loads, by itself or as an attribute, and of texts that are a name or a program the words."""
    found: set[str] = set()
    for path in FILES.values():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                found.add(node.id)
            elif isinstance(node, ast.Attribute):
                found.add(node.attr)
            elif isinstance(node, ast.Constant) and _NAME_OR_PROGRAM.search(str(node.value)):
                found.update(re.findall(r"\w+", str(node.value)))
    found.update(re.findall(r"\w+", text(ROOT / "pyproject.toml")))
    return frozenset(found)


def test_every_name_is_used_by_something_that_is_not_a_test() -> None:
    dead = {
        f"{module}.{name}"
        for module, path in FILES.items()
        for name in defined(path)
        if name not in used() and name not in USED_OTHERWISE
    }
    assert not dead, f"nothing uses {sorted(dead)}: remove them, or say in USED_OTHERWISE who does"
    assert {name for path in FILES.values() for name in defined(path)} >= set(USED_OTHERWISE)
    assert not set(USED_OTHERWISE) & used()


def at_the_top(path: Path) -> frozenset[str]:
    """What a module imports when it is imported, or for its types."""
    later = {
        found
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef)
        for found in ast.walk(node)
        if isinstance(found, (ast.Import, ast.ImportFrom))
    }
    found = [node for node in ast.walk(tree(path)) if isinstance(node, (ast.Import, ast.ImportFrom))]
    return imported_by(node for node in found if node not in later)


def test_no_two_modules_import_each_other() -> None:
    """Neither for types alone nor through a third one; packages apart, which look their names up when first used."""
    modules = {module: path for module, path in FILES.items() if path.name != "__init__.py"}
    after = {module: at_the_top(path) & modules.keys() for module, path in modules.items()}
    done: set[str] = set()

    def follow(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " → ".join((*way[way.index(module) :], module))
        if module not in done:
            for other in sorted(after[module]):
                follow(other, (*way, module))
            done.add(module)

    for module in sorted(modules):
        follow(module, ())
