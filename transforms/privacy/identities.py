"""Who is who as it may leave: ids in ``identities/``, in the report's examples and in messages under the run's rules.

Who is one person was found out from the real ids; only names change here.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pyarrow as pa

from transforms.arrow.columns import bytewise_order
from transforms.evidence.ids import ID_TYPES, USER_ID
from transforms.identity.resolution import Resolution
from transforms.privacy.rules import DROP, HASH
from transforms.privacy.veil import Veil

_FIELD_OF = {
    **{name: name for name in ID_TYPES},
    "known_users": "external_user_id",
    "external_user_ids": "external_user_id",
}
_ENDS = {"a": "a_type", "b": "b_type"}


def veiled(resolution: Resolution, veil: Veil | None) -> Resolution:
    """The resolution with every id under the name by which it may leave, in the order of these names.

    It is for ``identities/`` alone: ``graph.order``, ``graph.bound`` and ``before`` are left as they were.
    """
    if veil is None or all(veil.everywhere(name) is None for name in ID_TYPES):
        return resolution
    graph = resolution.graph
    names = pa.concat_arrays([veil.names(name, graph.of_type(kind)) for kind, name in enumerate(ID_TYPES)])
    begins = graph.first[:-1]
    order = np.concatenate(
        [begin + bytewise_order(names.slice(begin, end - begin)) for begin, end in itertools.pairwise(graph.first)]
    )
    place = np.empty_like(order)  # the new number of each id
    place[order] = np.arange(len(order))
    a, b = place[graph.a], place[graph.b]
    by = np.lexsort((b, a, graph.type_of(graph.b), graph.rank))
    least = np.full(len(order), len(order))
    np.minimum.at(least, resolution.cluster, place)
    known = resolution.known[order]
    begin = begins[USER_ID]
    made = dataclasses.replace(
        graph,
        names=names.take(pa.array(order)),
        links=graph.links.take(pa.array(by)),
        a=a[by].astype(graph.a.dtype),
        b=b[by].astype(graph.b.dtype),
        rank=graph.rank[by],
        device=np.where(graph.device < 0, -1, place[graph.device])[by].astype(graph.device.dtype),
    )
    return dataclasses.replace(
        resolution,
        graph=made,
        status=resolution.status[by],
        cluster=least[resolution.cluster[order]],
        known=np.where(known < 0, -1, place[known]),
        via=resolution.via[order[begin:] - begin],
    )


def veiled_figures(figures: Any, veil: Veil | None) -> Any:
    """The figures of a resolution with the ids of their examples as they may leave."""
    if veil is None:
        return figures
    if isinstance(figures, list):
        return [veiled_figures(item, veil) for item in figures]
    if not isinstance(figures, dict):
        return figures
    made: dict[str, Any] = {}
    for key, value in figures.items():
        field = figures.get(_ENDS[key]) if key in _ENDS else _FIELD_OF.get(key)
        if isinstance(field, str) and isinstance(value, str):
            made[key] = _name(field, value, veil)
        elif isinstance(field, str) and isinstance(value, list):
            made[key] = [_name(field, item, veil) for item in value]
        else:
            made[key] = veiled_figures(value, veil)
    return made


def veiled_workspaces(workspaces: dict[str, str], veil: Veil | None) -> dict[str, str]:
    """App group ids with a file each, as a message may name them."""
    if veil is None:
        return workspaces
    names = veil.names("app_group_id", pa.array(list(workspaces), pa.string())).to_pylist()
    return dict(zip(names, workspaces.values(), strict=True))


def _name(field: str, value: str, veil: Veil) -> str:
    action = veil.everywhere(field)
    return "(dropped)" if action == DROP else str(veil.leaves(value)) if action == HASH else value
