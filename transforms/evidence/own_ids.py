"""A row's own external id: whether it names a known user, why not, and what Braze's own connector makes of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.evidence.ids import EXTERNAL_USER_ID, bare, sent_by_connector, usable
from transforms.telemetry.tally import shown
from transforms.vocabulary.persons import ANONYMOUS_PREFIX, EXTERNAL_IDS_LEFT_OUT


@dataclasses.dataclass(frozen=True)
class OwnIds:
    """The external ids of rows.

    Attributes:
        known: the ids that name a known user, else null; one entry a row.
        by_connector: whether Braze's connector sends a row with such an id and Mixpanel takes it; one entry a row.
        left_out: by reason (``EXTERNAL_IDS_LEFT_OUT``) the ids that are there and name no known user, and how many rows
            have each.
    """

    known: pa.Array
    by_connector: np.ndarray
    left_out: dict[str, dict[str, int]]


def own_ids(external_user_id: pa.Array, no_id: tuple[str, ...] = (), crowd: pa.Array | None = None) -> OwnIds:
    """What the external ids of rows (strings, null for none) say; those of ``crowd`` are not known users."""
    encoded = external_user_id.dictionary_encode()
    ids = encoded.dictionary
    good = usable(ids, EXTERNAL_USER_ID, no_id)
    dropped = np.zeros(len(ids), bool)
    if crowd is not None and len(crowd):
        dropped = good & pc.is_in(ids, value_set=crowd.cast(ids.type)).to_numpy(zero_copy_only=False)
        good = good & ~dropped
    if good.all():
        return OwnIds(external_user_id, np.asarray(external_user_id.is_valid()), {})
    codes = pc.fill_null(encoded.indices, len(ids)).to_numpy(zero_copy_only=False)
    known = pc.take(pc.if_else(pa.array(good), ids, pa.scalar(None, ids.type)), encoded.indices)
    by_connector = np.append(sent_by_connector(ids), False)[codes]
    return OwnIds(known, by_connector, _left_out(ids, good, dropped, np.bincount(codes, minlength=len(ids))))


def _left_out(ids: pa.Array, good: np.ndarray, dropped: np.ndarray, rows: np.ndarray) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    places = np.flatnonzero(~good)
    for place, text in zip(places.tolist(), ids.take(pa.array(places)).to_pylist(), strict=True):
        begins = bare(text)[: len(ANONYMOUS_PREFIX)]
        if not begins:
            continue  # blank: as good as null
        reason = "crowd" if dropped[place] else "anonymous_prefix" if begins == ANONYMOUS_PREFIX else "nobody"
        counts = found.setdefault(EXTERNAL_IDS_LEFT_OUT[reason].code, {})
        counts[shown(text)] = counts.get(shown(text), 0) + int(rows[place])
    return found
