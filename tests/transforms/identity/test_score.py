"""Precision and recall of pairs of profiles."""

from __future__ import annotations

from itertools import combinations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.identity.score import score


def profiles(cluster_of: dict[str, int]) -> pa.Table:
    return pa.table(
        {"id": pa.array(list(cluster_of), pa.string()), "cluster": pa.array(cluster_of.values(), pa.int64())}
    )


def test_the_score_counts_pairs_and_persons_joined_wrongly() -> None:
    said = profiles({"a1": 7, "a2": 7, "b1": 7, "b2": 9, "c1": 11, "unknown": 7})
    result = score(said, {"a1": "A", "a2": "A", "b1": "B", "b2": "B", "c1": "C", "absent": "C"})
    assert (result["pairs_said"], result["pairs_true"], result["pairs_right"]) == (3, 2, 1)
    assert result["precision"] == pytest.approx(1 / 3)
    assert result["recall"] == pytest.approx(1 / 2)
    assert (result["profiles"], result["persons"], result["wrongly_joined"]) == (5, 3, 2)
    assert result["wrongly_joined_per_million"] == pytest.approx(2e6 / 3)


def test_nothing_to_compare_is_no_error() -> None:
    assert score(profiles({}), {})["precision"] == 1.0
    assert score(profiles({"a": 1}), {"b": "B"})["recall"] == 1.0


NAMES = st.sampled_from("abcdefghij")


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAMES, st.integers(0, 3)), st.dictionaries(NAMES, st.sampled_from("XYZ")))
def test_the_score_equals_counting_pairs_one_by_one(said: dict[str, int], truth: dict[str, str]) -> None:
    pairs = list(combinations(sorted(said.keys() & truth.keys()), 2))
    same_said = {pair for pair in pairs if said[pair[0]] == said[pair[1]]}
    same_true = {pair for pair in pairs if truth[pair[0]] == truth[pair[1]]}
    result = score(profiles(said), truth)
    assert result["pairs_said"] == len(same_said)
    assert result["pairs_true"] == len(same_true)
    assert result["pairs_right"] == len(same_said & same_true)
    assert result["wrongly_joined"] == len({truth[name] for pair in same_said - same_true for name in pair})
