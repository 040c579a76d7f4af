"""Crowd ids: external ids that more profiles carry than a person has, so a placeholder in all likelihood.

How many profiles carry one is a count of distinct links of rank 0, so it depends on the set of links alone.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.identity.columns import array
from transforms.identity.graph import Graph
from transforms.identity.ids import EXTERNAL_USER_ID, NODES, OWN, USER_ID

KEEP, DROP = "keep", "drop"
CROWD_POLICIES = (KEEP, DROP)


@dataclasses.dataclass(frozen=True)
class Crowd:
    """The crowd ids, those of most profiles first, then bytewise; ``profiles`` has the number of profiles of each."""

    ids: pa.Array
    profiles: np.ndarray


def find_crowd(graph: Graph, max_profiles: int) -> Crowd:
    """The external ids of ``graph`` that more than ``max_profiles`` profiles carry."""
    begin, end = graph.first[EXTERNAL_USER_ID], graph.first[EXTERNAL_USER_ID + 1]
    profiles = np.bincount(graph.b[graph.rank == OWN] - begin, minlength=end - begin)
    found = np.flatnonzero(profiles > max_profiles)
    found = found[np.argsort(-profiles[found], kind="stable")]
    return Crowd(graph.names[EXTERNAL_USER_ID].take(pa.array(found)), profiles[found])


def without_crowd(links: pa.Table, nodes: pa.Table, crowd: Crowd) -> tuple[pa.Table, pa.Table]:
    """``LINKS`` and ``NODES`` in which nobody is one of the ``crowd``; its profiles stay, as lone ids."""
    own = np.asarray(array(links["rank"])) == OWN
    dropped = own & _among(array(links["b"]), crowd)
    alone = array(links["a"]).filter(pa.array(dropped)).unique()
    external = np.asarray(array(nodes["id_type"])) == EXTERNAL_USER_ID
    kept = nodes.filter(pa.array(~(external & _among(array(nodes["id"]), crowd))))
    kinds = pa.array(np.full(len(alone), USER_ID, np.int8))
    lone = pa.Table.from_arrays([kinds, alone.cast(pa.string())], schema=NODES)
    return links.filter(pa.array(~dropped)), pa.concat_tables([kept.cast(NODES), lone])


def _among(ids: pa.Array, crowd: Crowd) -> np.ndarray:
    found: np.ndarray = pc.is_in(ids, value_set=crowd.ids.cast(ids.type)).to_numpy(zero_copy_only=False)
    return found
