"""Figures that sum the same in any order, and a run that is not published when one of them disagrees."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.commands.several_units import cut_small, run, write_source
from transforms.errors import AccountingError, TooManyRejects
from transforms.output.publication import Written
from transforms.report import figures as report
from transforms.telemetry import tally
from transforms.telemetry.tally import EXAMPLES, Tally, check_sum, in_turn, merge, merged, pack

# One key always has one kind of value: a count, a maximum, examples, or figures below it.
EXAMPLE_LISTS = st.lists(st.integers(0, 50), max_size=EXAMPLES).map(lambda found: sorted(found, key=orjson.dumps))
FIGURES = st.fixed_dictionaries(
    {},
    optional={
        "rows": st.integers(0, 1 << 40),
        "max_bytes": st.integers(0, 1 << 40),
        "examples": EXAMPLE_LISTS,
        "by_type": st.dictionaries(st.sampled_from("abc"), st.integers(-5, 5), max_size=3),
        "by_reason": st.dictionaries(st.sampled_from("xy"), EXAMPLE_LISTS, max_size=2),
    },
)


def sum_of(*tallies: Tally) -> bytes:
    return pack(merged(copy.deepcopy(list(tallies))))


@given(st.lists(FIGURES, max_size=5), st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_the_sum_of_tallies_does_not_depend_on_their_order(tallies: list[Tally], shuffle: Any) -> None:
    expected = sum_of(*tallies)
    shuffle.shuffle(tallies)
    assert sum_of(*tallies) == expected


@given(FIGURES, FIGURES, FIGURES)
@settings(max_examples=80, deadline=None)
def test_a_sum_of_tallies_does_not_depend_on_how_they_are_grouped(one: Tally, two: Tally, three: Tally) -> None:
    left = merge(merge(copy.deepcopy(one), copy.deepcopy(two)), copy.deepcopy(three))
    right = merge(copy.deepcopy(one), merge(copy.deepcopy(two), copy.deepcopy(three)))
    assert pack(left) == pack(right) == sum_of(one, two, three)
    assert sum_of({}, one) == sum_of(one, {}) == sum_of(one)


@given(FIGURES, FIGURES)
@settings(max_examples=50, deadline=None)
def test_a_merge_leaves_the_second_tally_alone(one: Tally, two: Tally) -> None:
    before = pack(two)
    total: Tally = {}
    merge(merge(merge(total, one), two), two)
    assert pack(two) == before


def test_counts_add_up_maxima_do_not_and_examples_are_few() -> None:
    first = {"rows": {"a": 1}, "max_bytes": 5, "examples": [1, 2]}
    second = {"rows": {"a": 2, "b": 1}, "max_bytes": 3, "examples": list(range(30))}
    assert merged([first, second]) == {
        "rows": {"a": 3, "b": 1}, "max_bytes": 5, "examples": sorted([1, 2, *range(30)], key=orjson.dumps)[:EXAMPLES],
    }  # fmt: skip


def test_examples_are_taken_from_each_reason_in_turn() -> None:
    assert in_turn({"b": [4], "a": list(range(3))}) == [0, 4, 1, 2]
    assert in_turn({"a": list(range(100)), "z": ["last"]})[:3] == [0, "last", 1]
    assert len(in_turn({"a": list(range(100)), "z": ["last"]})) == EXAMPLES
    assert in_turn({}) == []


def test_read_is_the_sum_of_the_rest() -> None:
    check_sum({"read": 3, "events": 2, "rejects": 1})
    check_sum({})
    with pytest.raises(AccountingError, match="x read 3 rows and accounts for 4"):
        check_sum({"read": 3, "events": 3, "rejects": 1}, "x")
    with pytest.raises(AccountingError):
        check_sum({"events": 1})


Published = tuple[report.RunContext, list[Written], Tally]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """What a whole run hands to its last step."""
    folder = tmp_path_factory.mktemp("accounting")
    seen: list[Published] = []
    publish_run = report.publish_run

    def overheard(context: report.RunContext, files: Sequence[Written], total: Tally) -> bytes:
        seen.append((context, list(files), copy.deepcopy(total)))
        return publish_run(context, files, total)

    with pytest.MonkeyPatch.context() as patch:
        cut_small(patch)
        patch.setattr("transforms.publish_run.publish_run", overheard)
        assert run(write_source(folder / "in"), folder / "out") == 0
    (found,) = seen
    return found


def _drop(folder: str) -> Callable[[list[Written], Tally], Any]:
    def drop(files: list[Written], total: Tally) -> None:
        del files[next(number for number, file in enumerate(files) if file.path.startswith(folder))]

    return drop


def _events_lost(files: list[Written], total: Tally) -> None:
    next(rows for rows in total["rows_by_type"].values() if rows["events"])["events"] -= 1


def _type_lost(files: list[Written], total: Tally) -> None:
    total["rows_by_type"].popitem()


def _moved(files: list[Written], total: Tally) -> None:
    rows = next(rows for rows in total["rows_by_type"].values() if rows["events"])
    rows["events"] -= 1
    rows["repeats"] += 1


def _reason_lost(outcome: str) -> Callable[[list[Written], Tally], Any]:
    def lose(files: list[Written], total: Tally) -> None:
        total[outcome].popitem()

    return lose


def _doubled(files: list[Written], total: Tally) -> None:
    merge(total, copy.deepcopy(total))


def _changed(key: str, by: int, *below: str) -> Callable[[list[Written], Tally], Any]:
    def change(files: list[Written], total: Tally) -> None:
        figures = total
        for name in below:
            figures = figures[name]
        figures[key] += by

    return change


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (_drop("events/"), "lines in events/"),
        (_drop("rejects/"), "lines in rejects/"),
        (_drop("deletions/"), "lines in deletions/"),
        (_drop("profiles/"), "lines in profiles/"),
        (_drop("identities/ids"), "identity files"),
        (_drop("identities/links"), "identity files"),
        (lambda files, total: files.append(files[0]), "lines in|different names|identity files"),
        (lambda files, total: total["narrow"].update(units=total["narrow"]["units"] - 1), "units read for ids"),
        (_changed("units", -1), "units written"),
        (_changed("units", 1), "units written"),
        (_changed("read", -1, "files"), "files read"),
        (_changed("rows", 100_000, "wide"), "pass 2 read .* pass 1 only"),
        (_events_lost, "accounts for"),
        (_moved, "lines in events/"),
        (_type_lost, "lines in|by reason"),
        (_reason_lost("rejects"), "rows rejected, by reason"),
        (_reason_lost("withheld"), "rows withheld, by reason"),
        (_doubled, "units read for ids"),
        (_changed("elements", -1, "received", "links"), "elements received of links"),
        (_changed("elements", 1, "received", "profile attributes"), "elements received of profile attributes"),
        (_changed("elements", -1, "sent", "profile attributes"), "elements received of profile attributes"),
        (_changed("elements", -1, "received", "persons by month"), "elements received of persons by month"),
        (lambda files, total: total.pop("identity_files"), "identity files"),
        (lambda files, total: total.pop("narrow"), "units read for ids"),
    ],
)  # fmt: skip
def test_what_was_lost_or_doubled_on_the_way_is_noticed(
    tamper: Callable[[list[Written], Tally], Any], message: str, published: Published, tmp_path: Path
) -> None:
    context, files, total = published[0], list(published[1]), copy.deepcopy(published[2])
    report.check_conservation(context, files, total)  # it is whole
    tamper(files, total)
    with pytest.raises(AccountingError, match=message):
        report.publish_run(context, files, total)


def test_a_run_that_does_not_add_up_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cut_small(monkeypatch)
    publish_run = report.publish_run

    def forgetful(context: report.RunContext, files: Sequence[Written], total: Tally) -> bytes:
        return publish_run(context, [file for file in files if "events/" not in file.path], total)

    monkeypatch.setattr("transforms.publish_run.publish_run", forgetful)
    assert run(write_source(tmp_path / "in"), tmp_path / "out") == 1
    message = capsys.readouterr().err
    assert "lines in events/: [0], and there must be [" in message
    assert message.count("\n") == 1
    assert not (tmp_path / "out" / "_manifest.json").exists()


def test_the_report_says_what_the_files_hold(published: Published) -> None:
    context, files, total = published
    found = report.build_report(context, files, total)
    assert json.loads(orjson.dumps(found)) == json.loads(json.dumps(found))
    rows = found["rows"]
    assert rows["read"] == sum(count for outcome, count in rows.items() if outcome != "read")
    assert rows["events"] == sum(file.rows or 0 for file in files if file.path.startswith("events/"))
    assert rows["rejects"] == sum(found["rejects"].values())
    for outcome, count in rows.items():
        assert count == sum(kind[outcome] for kind in found["rows_by_type"].values())


def test_too_many_rejects_is_judged_by_rows_and_by_files() -> None:
    def total(read: int, rejected: int, files: int = 1) -> Tally:
        figures: Tally = {"files": {"read": files, "bytes": 100}, "rows_by_type": {"x": {"read": read}}}
        if rejected:
            figures["rejects"] = {"missing_id": rejected}
            figures["reject_examples"] = {"missing_id": [{"file": "a", "row": 1, "detail": "id is null"}]}
        return figures

    tally.check_rejects(total(1000, 10), 0.01)
    tally.check_rejects(total(999, 998), 0.01)
    for refused in (total(1000, 11), total(999, 998, files=20)):
        with pytest.raises(TooManyRejects, match=r"missing_id: .*, e\.g\. a row 1: id is null"):
            tally.check_rejects(refused, 0.01)


def test_a_run_that_has_no_fit_row_is_refused_whatever_its_size() -> None:
    def total(read: int, **more: Any) -> Tally:
        return {"files": {"read": 1, "bytes": 100}, "rows_by_type": {"x": {"read": read}}, **more}

    examples = {"r": [{"file": "a", "row": 1, "detail": "is unfit"}]}
    all_rejected = total(3, rejects={"r": 3}, reject_examples=examples)
    unreadable = total(0, damaged={"whole_files": 1, "bytes_unread": 100, "reasons": {"r": 1}, "examples": examples})
    empty_file = total(0, damaged={"whole_files": 1, "bytes_unread": 0, "reasons": {"r": 1}, "examples": examples})
    lost = total(0, damaged={"rows_lost": 3, "reasons": {"r": 1}, "examples": examples})
    with pytest.raises(TooManyRejects, match="all 3 rows that could be read are rejected: check --input"):
        tally.check_rejects(all_rejected, 0.99)
    for figures in (unreadable, empty_file, lost):
        with pytest.raises(TooManyRejects, match="no row of 1 file could be read: check --input"):
            tally.check_rejects(figures, 0.99)
    one_of_many = total(0, damaged=unreadable["damaged"]) | {"files": {"read": 1_000, "bytes": 90_000}}
    with pytest.raises(TooManyRejects, match="no row of 1,000 files could be read"):
        tally.check_rejects(one_of_many, 0.5)  # the others hold no rows
    tally.check_rejects(total(3, rejects={"r": 2}, reject_examples=examples), 0.0)
    tally.check_rejects(all_rejected, 1.0)  # the user said so
    tally.check_rejects(total(0), 0.0)  # files that say themselves that they hold no rows
