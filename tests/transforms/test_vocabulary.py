"""The words of the outputs: each stands in one table with its meaning, and a word that nobody described is an error."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.exports.report_example import example
from tests.repository.test_structure import PRODUCT, tree
from transforms.avro.container import Damage
from transforms.currents.left_out import LeftOut
from transforms.identity import invariants
from transforms.mixpanel.custom_properties import Notes
from transforms.mixpanel.outcomes import Fates
from transforms.mixpanel.reject_details import reject_detail
from transforms.output.publication import publish_file
from transforms.report.page import render
from transforms.settings import Settings
from transforms.vocabulary.changes import LIMITS
from transforms.vocabulary.files import DAMAGE, NOT_READ
from transforms.vocabulary.outputs import OUTPUT_FILES, OWN_NAMES
from transforms.vocabulary.persons import ANONYMOUS_PREFIX, EXTERNAL_IDS_LEFT_OUT, LINK_STATUSES, VIA
from transforms.vocabulary.rows import OUTCOMES, REJECTS, WITHHELD
from transforms.vocabulary.terms import Labelled, Reject, Term, Terms

TABLES = (
    OUTCOMES,
    WITHHELD,
    REJECTS,
    DAMAGE,
    NOT_READ,
    LIMITS,
    LINK_STATUSES,
    VIA,
    EXTERNAL_IDS_LEFT_OUT,
    OUTPUT_FILES,
)
SETTINGS = Settings(now=1_772_323_200)


def test_a_row_cannot_be_rejected_or_withheld_for_a_reason_that_nobody_described() -> None:
    fates = Fates.undecided(2)
    every = np.ones(2, bool)
    with pytest.raises(LookupError, match=r"\[name_missing\] is not a reason to reject a row: describe it in .*\.rows"):
        fates.reject(every, "name_missing")
    with pytest.raises(LookupError, match=r"\[name_missing\] is not a reason to withhold a row"):
        fates.withhold(every, "name_missing")
    with pytest.raises(LookupError, match=r"\[name_missing\] is not a reason to reject a row"):
        fates.overrule(np.array([0]), "name_missing")
    with pytest.raises(LookupError, match=r"\[lost\] is not an outcome"):
        fates.decide(every, "lost")
    assert fates.are("read").all()


def test_a_reason_to_reject_cannot_be_described_without_its_sentence() -> None:
    with pytest.raises(TypeError, match="detail"):
        Reject("name_missing", "a custom event without a name")  # type: ignore[call-arg]
    for term in (lambda: Reject("name_missing", "a custom event without a name", ""), lambda: Term("name_missing", "")):
        with pytest.raises(ValueError, match=r"\[name_missing\] has no (detail|meaning): say it"):
            term()


def test_a_described_reason_has_its_own_sentence_and_its_place_in_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    more = Terms("a reason to reject a row", "here", *REJECTS, Reject("blue", "the row is blue", "color is [{color}]"))
    monkeypatch.setattr("transforms.mixpanel.reject_details.REJECTS", more)
    monkeypatch.setattr("transforms.report.page.REJECTS", more)
    assert reject_detail("blue", {"color": "azure"}, (), SETTINGS) == "color is [azure]"
    assert reject_detail("blue", {}, (), SETTINGS) == "color is [None]"
    assert "the row is blue" in render({"rejects": {"blue": 3}})


@pytest.mark.parametrize(
    "report",
    [
        {"rejects": {"odd": 1}},
        {"withheld": {"odd": 1}},
        {"limits": {"odd": {"Event": {"property": 1}}}},
        {"listing": {**example()["listing"], "not_read": {"odd": {"files": 1, "bytes": 9, "example": "a.avro"}}}},
        {"identity": {**example()["identity"], "links": {"odd": 1}}},
        {"identity": {**example()["identity"], "external_ids_left_out": {"odd": {"guest": 1}}}},
    ],
)
def test_the_report_shows_no_word_without_its_meaning(report: dict[str, object]) -> None:
    with pytest.raises(LookupError, match=r"\[odd\] is not a"):
        render(report)


def test_damage_limits_and_files_not_read_are_counted_under_described_words_only() -> None:
    for count in (
        lambda: Damage("odd", "what is wrong"),
        lambda: Notes().add("odd", "Event", "property"),
        lambda: LeftOut().count("odd", "a.avro"),
        lambda: reject_detail("odd", {}, (), SETTINGS),
    ):
        with pytest.raises(LookupError, match=r"\[odd\] is not a .*: describe it in transforms\.vocabulary\.\w+"):
            count()


def test_no_word_stands_twice_in_a_table() -> None:
    with pytest.raises(ValueError, match="two entries of one code for a color in here: red, red"):
        Terms("a color", "here", Term("red", "as blood"), Term("red", "as wine"))


# A function of the product that takes a code, and at which place among its arguments.
TAKES_A_CODE: dict[str, tuple[int, Terms[Any]]] = {
    "decide": (1, OUTCOMES),
    "are": (0, OUTCOMES),
    "reject": (1, REJECTS),
    "overrule": (1, REJECTS),
    "withhold": (1, WITHHELD),
    "Damage": (0, DAMAGE),
    "SchemaError": (0, DAMAGE),
    "BlockDecodeError": (0, DAMAGE),
    "_whole_file": (0, DAMAGE),
    "_lose": (0, DAMAGE),
    "_note": (0, LIMITS),
    "notes.add": (0, LIMITS),
}


def test_no_line_of_the_product_gives_a_code_that_nobody_described() -> None:
    found: dict[str, int] = dict.fromkeys(TAKES_A_CODE, 0)
    for name, path in PRODUCT.items():
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.Call):
                continue
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            called = "notes.add" if ast.unparse(node.func).endswith("notes.add") else called
            place, terms = TAKES_A_CODE.get(called, (len(node.args), OUTCOMES))
            given = node.args[place] if place < len(node.args) else None
            if isinstance(given, ast.Constant) and isinstance(given.value, str):
                assert given.value in terms.codes, f"{name}, line {node.lineno}"
                found[called] += 1
    assert min(found.values()) > 0, found


def _words_in_code() -> Iterator[str]:
    """Texts that the product's modules have outside the vocabulary."""
    for name, path in PRODUCT.items():
        if not name.startswith(("transforms.vocabulary", "pipelines.sample_export")):
            for node in ast.walk(tree(path)):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def test_each_reason_that_is_described_is_given_somewhere() -> None:
    used = set(_words_in_code())
    for terms in TABLES:
        assert {term.code for term in terms if term.code not in used} == set(), f"nothing gives these: {terms.codes}"


def test_sentences_and_meanings_are_ready_to_be_shown() -> None:
    for terms in TABLES:
        for term in terms:
            assert "|" not in term.meaning
            assert term.meaning.count("`") % 2 == 0
            assert not term.meaning.endswith(".")
            assert "`" not in term.plain
            if isinstance(term, Labelled):
                assert term.label[0].isupper()


def test_the_certificate_has_its_own_copy_of_the_link_statuses_on_purpose() -> None:
    assert tuple(invariants._STATUSES) == LINK_STATUSES.codes


def test_the_prefix_of_anonymous_ids_is_written_once_and_in_the_certificate() -> None:
    having = {name for name, path in PRODUCT.items() if ANONYMOUS_PREFIX in path.read_text("utf-8")}
    assert having == {"transforms.vocabulary.persons", "transforms.identity.invariants"}
    using = {name for name, path in PRODUCT.items() if "ANONYMOUS_PREFIX" in path.read_text("utf-8")}
    putting_it_before = {"transforms.evidence.anonymous_ids"}
    looking_for_it = {"transforms.evidence.ids", "transforms.evidence.own_ids", "transforms.delivery.deletions.wanted"}
    saying_it = {"transforms.vocabulary.persons", "transforms.report.identity_warnings"}
    assert using == putting_it_before | looking_for_it | saying_it


def test_a_run_writes_no_file_that_nobody_described(tmp_path: Path) -> None:
    with pytest.raises(
        LookupError, match=r"\[keys/part-00000.ndjson.gz\] is not a name .* in transforms.vocabulary.out"
    ):
        publish_file(str(tmp_path), "keys/part-00000.ndjson.gz", b"", 1)
    with pytest.raises(LookupError, match=r"\[keys\] is not a kind of output file: describe it in .*\.outputs"):
        OUTPUT_FILES["keys"]
    assert list(tmp_path.iterdir()) == []


def test_names_of_output_files_are_known_for_a_run_s_own_and_no_others() -> None:
    for kind in OUTPUT_FILES:
        path = kind.at(7, table="ids") if "{table}" in kind.name else kind.at(7)
        assert OWN_NAMES.fullmatch(path), path
        assert not OWN_NAMES.fullmatch(f"x{path}")
        assert not OWN_NAMES.fullmatch(f"{path}.bak")
