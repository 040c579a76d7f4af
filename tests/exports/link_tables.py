"""Links and ids written as strings, turned into the numbers that the identity modules take, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from tests.oracle.kruskal_by_hand import Link
from transforms.evidence.ids import B_TYPES, LINKS, USER_ID
from transforms.evidence.sources import LISTS, Source
from transforms.identity.graph import Graph, build_graph

Row = dict[str, Any]


def source_of(rows: Iterable[Row], nodes: Iterable[tuple[int, str]] = (), deleted: Iterable[str] = ()) -> Source:
    """A source that says these links (``a`` and ``b`` as strings) and names these ids besides."""
    names: dict[int, dict[str, int]] = {kind: {} for kind in LISTS}

    def number(kind: int, name: str) -> int:
        return names[kind].setdefault(name, len(names[kind]))

    links = [
        {"last": 0, **row, "a": number(USER_ID, row["a"]), "b": number(B_TYPES[row["rank"] % len(B_TYPES)], row["b"])}
        for row in rows
    ]
    for kind, name in nodes:
        number(kind, name)
    gone = np.array([number(USER_ID, name) for name in deleted], np.int32)
    lists = tuple(pa.array(list(names[kind]), pa.string()) for kind in LISTS)
    anonymous = np.arange(len(lists[USER_ID]), dtype=np.int32)
    return Source(lists, pa.Table.from_pylist(links, schema=LINKS), gone, anonymous, len(lists[USER_ID]))


def graph_of(rows: Iterable[Row], nodes: Iterable[tuple[int, str]] = ()) -> Graph:
    """The graph of these links, in any order, and ids."""
    source = source_of(rows, nodes)
    return build_graph(source.names, source.links)[0]


def rows_of_links(links: Iterable[Link]) -> list[Row]:
    return [link._asdict() for link in links]


def as_strings(names: Iterable[Any], links: pa.Table) -> list[Row]:
    """The rows of ``LINKS`` with the ids in the place of their numbers."""
    texts = [list(column.to_pylist()) for column in names]
    return [
        {**row, "a": texts[USER_ID][row["a"]], "b": texts[B_TYPES[row["rank"]]][row["b"]]} for row in links.to_pylist()
    ]
