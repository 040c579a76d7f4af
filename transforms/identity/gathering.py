"""All that the sources say, put together: each id and link once, and the numbers under which each source knows them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from transforms.arrow.columns import array
from transforms.arrow.numbering import Numbering
from transforms.errors import AccountingError
from transforms.evidence.ids import DEVICE_ID, EXTERNAL_USER_ID, ID_TYPES, USER_ID
from transforms.evidence.sources import ASKED, LISTS, Source, place_of, unpack_source
from transforms.evidence.tables import LinkTable, ends, with_ends
from transforms.identity.graph import Graph, build_graph

_IDS_AT_ONCE = 1 << 20


class Gathered:
    """The ids and links of sources, each once.

    Attributes:
        numberings: by list (``ID_TYPES``, ``ASKED``) the distinct ids, numbered by first appearance.
        numbers: of each source the numbers of its ids, by list; without ``keep_externals`` of its profiles alone.
        told: how many of its profiles, from the first on, each source must be told about; ``begins``: under which
            number the first of them is known there.
        deleted: the numbers of deleted profiles, ascending.
        anonymous: of each profile (int64) how many rows name it and no known user.
        workspaces: ``app_group_id`` to the first file that has it.
    """

    def __init__(self, parts: Iterable[bytes], keep_externals: bool = False) -> None:
        """Take in the parts of sources (``pack_source``), in any order.

        Raises:
            AccountingError: a part of a source came twice, or not at all.
        """
        self.numberings = [Numbering() for _ in LISTS]
        self.numbers: dict[int, list[np.ndarray]] = {}
        self.told: dict[int, int] = {}
        self.begins: dict[int, int] = {}
        self.workspaces: dict[str, str] = {}
        self.anonymous = np.zeros(0, np.int64)
        self._keep_externals = keep_externals
        self._links = LinkTable()
        self._deleted: list[np.ndarray] = []
        waiting: dict[int, Source] = {}
        incomplete: dict[int, dict[int, bytes]] = {}
        for part in parts:
            number, position, count = place_of(part)
            found = incomplete.setdefault(number, {})
            if number in self.told or number in waiting or position in found:
                raise AccountingError(
                    f"part [{position}] of what source [{number}] says of ids came twice: the runner doubled elements; "
                    "run again, or on another runner"
                )
            found[position] = part
            if len(found) == count:
                waiting[number] = unpack_source([found[at] for at in range(count)])
                incomplete[number] = {}
                known = sum(map(len, self.numberings))
                if sum(source.size for source in waiting.values()) > max(_IDS_AT_ONCE, known):
                    self._take_in(waiting)
                    waiting = {}
        self._take_in(waiting)
        for number, found in incomplete.items():
            if found:
                raise AccountingError(
                    f"of what source [{number}] says of ids only [{len(found)}] parts came: the runner lost elements; "
                    "run again, or on another runner"
                )
        self.deleted = np.unique(np.concatenate([np.zeros(0, np.int32), *self._deleted]))

    def source(self) -> Source:
        """All of it as one source, which must be told about every profile."""
        names = tuple(numbering.names for numbering in self.numberings)
        notes = {"workspaces": self.workspaces}
        anonymous = np.minimum(self.anonymous, np.iinfo(np.int32).max).astype(np.int32)
        return Source(names, self.links(), self.deleted, anonymous, len(names[USER_ID]), 0, notes)

    def graph(self) -> tuple[Graph, np.ndarray]:
        """The graph of all, and the place of each profile (by its number) among the graph's.

        What it is made of is given away with it: afterwards there are names of external ids alone.
        """
        graph, numbers = build_graph([numbering.names for numbering in self.numberings[: len(ID_TYPES)]], self.links())
        self._links = LinkTable()
        for kind in (DEVICE_ID, USER_ID):
            self.numberings[kind] = Numbering()
        return graph, numbers[USER_ID] - np.int32(graph.first[USER_ID])

    def externals(self) -> pa.Array:
        """All external ids, those that are only asked about behind the others."""
        names = [self.numberings[kind].names for kind in (EXTERNAL_USER_ID, ASKED)]
        return array(pa.chunked_array([column.cast(pa.large_string()) for column in names]))

    def externals_of(self, number: int) -> np.ndarray:
        """The external ids of a source, by their position in ``externals``."""
        of_source = self.numbers[number]
        return np.append(of_source[EXTERNAL_USER_ID], of_source[ASKED] + len(self.numberings[EXTERNAL_USER_ID]))

    def links(self) -> pa.Table:
        """``LINKS`` between the numbers of ``numberings``, each once, in the order of (rank, a, b)."""
        return self._links.result()

    def _take_in(self, sources: dict[int, Source]) -> None:
        """Number the ids of sources, then their links."""
        numbers = [
            numbering.number([source.names[kind] for source in sources.values()])
            for kind, numbering in zip(LISTS, self.numberings, strict=True)
        ]
        grown = np.zeros(len(self.numberings[USER_ID]), np.int64)
        grown[: len(self.anonymous)] = self.anonymous
        self.anonymous = grown
        for at, (number, source) in enumerate(sources.items()):
            of_source = [of_list[at] for of_list in numbers]
            self.told[number] = source.told
            self.begins[number] = source.begin
            self.numbers[number] = [
                codes if kind == USER_ID or self._keep_externals else codes[:0]
                for kind, codes in zip(LISTS, of_source, strict=True)
            ]
            self._deleted.append(of_source[USER_ID][source.deleted])
            self.anonymous[of_source[USER_ID]] += source.anonymous
            self._links.add(with_ends(source.links, *ends(source.links, of_source)))
            for workspace, file in source.notes.get("workspaces", {}).items():
                self.workspaces[workspace] = min(file, self.workspaces.get(workspace, file))
