"""How well the resolver did, where it is known which profiles belong to one person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.arrow.columns import plain


def persons_of(truth: Any) -> dict[str, str]:
    """Profile to person, of a truth file's JSON: that object itself, or what it has under ``persons``.

    Raises ValueError where it is neither.
    """
    persons = truth.get("persons", truth) if isinstance(truth, dict) else truth
    if not isinstance(persons, dict) or not all(isinstance(person, str) for person in persons.values()):
        raise ValueError("not a JSON object of profile to person, nor one that has it under [persons]")
    return persons


def score(profiles: pa.Table, truth: Mapping[str, str]) -> dict[str, float | int]:
    """Compare ``profiles`` (``id``, ``cluster``) with ``truth`` (profile to person), over the profiles both know.

    ``precision``: share of the pairs of profiles said to be one person that are one; ``recall``: share of the pairs
    that are one person that were said to be (both 1.0 where there is no pair); ``pairs_said``, ``pairs_true``,
    ``pairs_right``: the pairs; ``profiles``, ``persons``: how many were compared; ``wrongly_joined``: persons that
    share a cluster with another person, ``wrongly_joined_per_million``: of a million persons.
    """
    ids = pa.array(list(truth), pa.string())
    row = pc.index_in(plain(profiles["id"]), value_set=ids)
    compared = np.asarray(row.is_valid())
    persons = pa.array(list(truth.values()), pa.string()).dictionary_encode()
    person = np.asarray(persons.indices)[np.asarray(row.drop_null())]
    cluster = np.asarray(profiles["cluster"].combine_chunks())[compared]

    person_sizes = np.bincount(person)
    numbers, cluster, cluster_sizes = np.unique(cluster, return_inverse=True, return_counts=True)
    cells, cell_sizes = np.unique(cluster * len(persons.dictionary) + person, return_counts=True)
    said, true, right = (_pairs(sizes) for sizes in (cluster_sizes, person_sizes, cell_sizes))

    persons_of_cluster = np.bincount(cells // max(len(persons.dictionary), 1), minlength=len(numbers))
    mixed = persons_of_cluster[cells // max(len(persons.dictionary), 1)] > 1
    wrongly_joined = len(np.unique(cells[mixed] % max(len(persons.dictionary), 1)))
    count = int((person_sizes > 0).sum())
    return {
        "precision": right / said if said else 1.0,
        "recall": right / true if true else 1.0,
        "pairs_said": said,
        "pairs_true": true,
        "pairs_right": right,
        "profiles": len(person),
        "persons": count,
        "wrongly_joined": wrongly_joined,
        "wrongly_joined_per_million": wrongly_joined * 1e6 / count if count else 0.0,
    }


def _pairs(sizes: np.ndarray) -> int:
    sizes = sizes.astype(np.int64)
    return int((sizes * (sizes - 1) // 2).sum())
