"""One tree of errors: as its module draws it, with an exit status each, and known again from what Beam makes of it."""

from __future__ import annotations

import ast
import builtins
import importlib
import re
import sys
import traceback
from collections.abc import Iterator

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipelines.command_line.exit_status import Status
from pipelines.command_line.failures import cause, job_cause, needs_whole_rows, passes_limit
from tests.repository.test_structure import PRODUCT, imports, tree
from transforms import errors
from transforms.errors import (
    AccountingError,
    CurrentsToMixpanelError,
    DamagedEvidence,
    DataError,
    MixedWorkspaces,
    RunError,
    TooManyRejects,
    behind,
    of_text,
)


def all_below(kind: type[CurrentsToMixpanelError]) -> Iterator[type[CurrentsToMixpanelError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from all_below(below)


HERE = sorted({kind for kind in all_below(CurrentsToMixpanelError) if kind.__module__ == errors.__name__}, key=str)


def drawn() -> list[tuple[str, str, int]]:
    """(Name, its parent's, exit status) by the drawing in the module's docstring."""
    found: list[tuple[str, str, int]] = []
    above: list[str] = []
    for stem, name, status in re.findall(r"^    ([│├└─ ]*)(\w+) +(\d+)(?=$|  )", errors.__doc__ or "", re.MULTILINE):
        depth = len(stem) // 4
        above[depth:] = [name]
        found.append((name, above[depth - 1] if depth else "", int(status)))
    return found


def test_the_tree_that_is_drawn_is_the_tree_of_the_classes() -> None:
    by_class = {
        (kind.__name__, base.__name__ if base in HERE else "", kind.exit_status)
        for kind in HERE
        for base in kind.__bases__
    }
    by_class = {(name, base, status) for name, base, status in by_class if base or name == "CurrentsToMixpanelError"}
    assert set(drawn()) == by_class
    assert len(drawn()) == len(set(drawn()))


def test_every_exit_status_is_one_of_the_commands() -> None:
    assert {kind.exit_status for kind in HERE} == {Status.FAILED, Status.REFUSED, Status.LIMIT}
    assert [Status.of(error) for error in (TooManyRejects("x"), RunError("x"), KeyError("x"))] == [4, 1, 1]


def test_every_exception_of_the_product_is_in_the_tree() -> None:
    outside = []
    for name, path in PRODUCT.items():
        defined = [node for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef)]
        if any(
            "Error" in ast.unparse(base) or "Exception" in ast.unparse(base) for one in defined for base in one.bases
        ):
            module = importlib.import_module(name)
            kinds = [getattr(module, one.name, None) for one in defined]
            raised = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseException)]
            outside += [f"{name}.{kind.__name__}" for kind in raised if not issubclass(kind, CurrentsToMixpanelError)]
            if name != errors.__name__:
                assert all(kind.__name__.startswith("_") or issubclass(kind, DataError) for kind in raised), name
    assert outside == []


def test_the_tree_can_be_imported_alone() -> None:
    roots = {name.split(".")[0] for name in imports(PRODUCT["transforms.errors"])}
    assert roots <= sys.stdlib_module_names


def test_no_error_has_the_name_of_one_of_pythons() -> None:
    assert not [kind for kind in HERE if hasattr(builtins, kind.__name__)]


@pytest.mark.parametrize("kind", [kind for kind in HERE if kind is not DataError])
def test_each_is_made_of_its_message_alone_and_known_from_its_text(kind: type[CurrentsToMixpanelError]) -> None:
    plain = kind("in/a.avro: [b]: c")
    assert str(plain) == plain.message == "in/a.avro: [b]: c"
    behind_a_step = kind(f"{plain} [while running 'Read/ReadUnit']")  # as Beam makes it once more
    assert behind_a_step.message == str(plain)
    text = "".join(traceback.format_exception(RuntimeError(f"x.{kind.__name__}: {behind_a_step}")))
    found = of_text(text)
    assert (type(found), str(found)) == (kind, str(plain))


def test_the_last_of_several_errors_is_the_one_and_a_foreign_text_none() -> None:
    first, last = AccountingError("a [while running 'A']"), TooManyRejects("b:\n  c [while running 'B']")
    found = of_text(f"RuntimeError: {first}\n\nDuring handling:\n\nRuntimeError: {last}\n\n")
    assert (type(found), found and found.message) == (TooManyRejects, "b:\n  c")
    assert behind(KeyError("AccountingError")) is None
    assert of_text("[currents-to-mixpanel: OfALaterVersion] d [while running 'C']") is not None
    assert of_text("AccountingError: e") is None


def test_mixed_workspaces_say_where_they_are() -> None:
    assert "of 2 or more workspaces (app_group_id): [a] in x, [b] in y;" in str(
        MixedWorkspaces.of({"b": "y", "a": "x"}, more=True)
    )


class _Raise(beam.DoFn):
    def __init__(self, name: str) -> None:
        self._name = name

    def process(self, element: int) -> None:
        raise getattr(errors, self._name)(f"{element} in a file:\n  of [two] lines")


@pytest.mark.parametrize("kind", [AccountingError, DamagedEvidence, TooManyRejects])
def test_beam_hands_an_error_on_so_that_it_is_known_again(kind: type[CurrentsToMixpanelError]) -> None:
    pipeline = beam.Pipeline(runner=FnApiRunner())
    pipeline | beam.Create([7], reshuffle=False) | "Raise" >> beam.ParDo(_Raise(kind.__name__))
    with pytest.raises(kind, match="while running 'Raise'") as caught:
        pipeline.run().wait_until_finish()
    # From a worker process, or another machine, the traceback comes as text.
    from_elsewhere = RuntimeError("".join(traceback.format_exception(caught.value)))
    for error in (caught.value, from_elsewhere):
        assert type(behind(error)) is kind
        assert cause(error) == job_cause(str(error)) == "7 in a file:\n  of [two] lines"
        assert needs_whole_rows(error) == (kind is DamagedEvidence)
        assert passes_limit(error) == (kind is TooManyRejects)
