"""Mixpanel's ids of persons without a known user: a prefix, and the id of their Braze profile."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from transforms.vocabulary.persons import ANONYMOUS_PREFIX


def anonymous_ids(profiles: pa.Array) -> pa.Array:
    """The ``distinct_id`` of each Braze profile (strings of either size) that has no known user; null for null.

    >>> anonymous_ids(pa.array(["p", None])).to_pylist() == [ANONYMOUS_PREFIX + "p", None]
    True
    """
    prefix, between = (pa.scalar(text, profiles.type) for text in (ANONYMOUS_PREFIX, ""))
    return pc.binary_join_element_wise(prefix, profiles, between)
