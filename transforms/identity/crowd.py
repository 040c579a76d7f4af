"""Crowd ids: external ids that more profiles carry than a person has, so a placeholder in all likelihood.

How many profiles carry one is a count of distinct links of rank 0, so it depends on the set of links alone.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa

from transforms.evidence.ids import EXTERNAL_USER_ID, OWN
from transforms.identity.graph import Graph


@dataclasses.dataclass(frozen=True)
class Crowd:
    """The crowd ids, those of most profiles first, then bytewise.

    ``numbers`` are theirs in the graph; ``profiles`` has the number of profiles of each.
    """

    ids: pa.Array
    numbers: np.ndarray
    profiles: np.ndarray


def find_crowd(graph: Graph, max_profiles: int) -> Crowd:
    """The external ids of ``graph`` that more than ``max_profiles`` profiles carry."""
    begin, end = graph.first[EXTERNAL_USER_ID], graph.first[EXTERNAL_USER_ID + 1]
    profiles = np.bincount(graph.b[graph.rank == OWN] - begin, minlength=end - begin)
    found = np.flatnonzero(profiles > max_profiles)
    found = found[np.argsort(-profiles[found], kind="stable")]
    return Crowd(graph.of_type(EXTERNAL_USER_ID).take(pa.array(found)), found + begin, profiles[found])
