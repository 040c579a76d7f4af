"""Who is who, in Beam: links to the forest, its certificate, the identity files, and the answers to each unit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import DoOutputsTuple, TaggedOutput
from apache_beam.typehints import with_input_types, with_output_types

from transforms.accounting import AccountingError, Tally, merge
from transforms.elements import (
    ANSWER,
    ASKED,
    CROWD,
    DELETED,
    DROPPED,
    FILE,
    LINKS,
    NODES,
    REPEATS,
    RESOLVED,
    WORKSPACES,
    Keyed,
    Meter,
    Traffic,
    numbered,
    tagged,
    unnumbered,
    untagged,
)  # fmt: skip
from transforms.identity import repeats
from transforms.identity.answers import answer_table, crowd_table, identity_files
from transforms.identity.certificate import certify
from transforms.identity.columns import array
from transforms.identity.evidence import WORKSPACES_KEPT, sharded
from transforms.identity.forest import resolve
from transforms.identity.ids import EXTERNAL_USER_ID
from transforms.identity.links import LinkTable, NodeTable, split, unpack
from transforms.identity.score import score
from transforms.identity.tables import undirected
from transforms.run import progress
from transforms.run.publication import publish_file
from transforms.settings import Plan, Settings
from transforms.stores.store import StoreError, store_for


class MixedWorkspaces(Exception):
    """Rows of several Braze workspaces, whose external ids may mean different people."""

    def __init__(self, workspaces: dict[str, str]) -> None:
        found = ", ".join(f"[{name}] in {file}" for name, file in sorted(workspaces.items())[:5])
        count = f"{len(workspaces)}{' or more' if len(workspaces) >= WORKSPACES_KEPT else ''}"
        super().__init__(
            f"the export has rows of {count} workspaces (app_group_id): {found}; their external ids may mean "
            "different people: run each on its own, or say --mixed_workspaces if they mean the same"
        )


@with_input_types(Keyed)
@dataclasses.dataclass
class ResolveIdentities(beam.PTransform):
    """Finds out which ids are one person, proves it, and writes ``identities/``.

    In: ``ReadIds.LINKS`` (shard; links, lone ids, deleted profiles, workspaces). Out, tagged: ``RESOLVED`` (shard; the
    profiles with a known user, or deleted; the dropped external ids), ``FILES`` (0; manifest entries), ``TALLIES`` (0;
    figures).

    Raises:
        CertificateError: the result contradicts itself; nothing is published.
        MixedWorkspaces: the rows come from several workspaces.

    Example: profiles p1 and p2 were seen on one device, and p1 with the external id "ada"::

        identities = ids.links | ResolveIdentities(settings, plan, output="out")
        identities.resolved | beam.FlatMap(rows_of)
        # {"kind": "resolved", "profile": "p1", "known_user": "ada", "via": "own", "deleted": False, …}
        # {"kind": "resolved", "profile": "p2", "known_user": "ada", "via": "device", "deleted": False, …}
    """

    settings: Settings
    plan: Plan
    output: str
    truth: str | None = None

    RESOLVED = "resolved"
    FILES = "files"
    TALLIES = "tallies"

    def expand(self, links: beam.PCollection[Keyed]) -> DoOutputsTuple:
        if self.plan.id_shards > 1:
            links = (
                links
                | "GroupLinks" >> beam.GroupByKey()  # (shard, [block])
                | "UniqueLinks" >> beam.ParDo(_UniqueLinks()).with_output_types(Keyed)  # (0, block)
            )
        resolve_all = beam.ParDo(_Resolve(self.settings, self.plan, self.output, self.truth)).with_output_types(
            Keyed, files=Keyed, tallies=Keyed
        )
        return (
            links
            | "GatherLinks" >> beam.GroupByKey()  # (0, [block])
            | "Resolve" >> resolve_all.with_outputs(self.FILES, self.TALLIES, main=self.RESOLVED)
        )


class _Gathered:
    """Links, lone ids and deleted profiles out of packed blocks, each once."""

    def __init__(self, blocks: Iterable[bytes], traffic: Traffic) -> None:
        links, nodes, deleted = LinkTable(), NodeTable(), NodeTable()
        self.workspaces: dict[str, str] = {}
        self.traffic: Tally = {}
        for element in blocks:
            tag, body = untagged(traffic.received(element))
            if tag == LINKS:
                links.add(unpack(body))
            elif tag == NODES:
                nodes.add(unpack(body))
            elif tag == DELETED:
                deleted.add(unpack(body))
            elif tag == WORKSPACES:
                told = orjson.loads(body)
                merge(self.traffic, told.get("traffic", {}))
                for workspace, file in told["workspaces"].items():
                    self.workspaces[workspace] = min(file, self.workspaces.get(workspace, file))
        self.workspaces = dict(sorted(self.workspaces.items())[:WORKSPACES_KEPT])
        self.links, self.nodes, self.deleted = links.result(), nodes.result(), deleted.result()


class _UniqueLinks(beam.DoFn):
    """Makes one shard's links, ids and deleted profiles unique before they all meet in one place."""

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Keyed]:
        traffic = Traffic()
        gathered = _Gathered(element[1], traffic)
        for tag, table in ((LINKS, gathered.links), (NODES, gathered.nodes), (DELETED, gathered.deleted)):
            for block in split(table):
                yield 0, traffic.sent(tagged(tag, block))
        # The step has no figures of its own to send: they go with the links. The element that carries them is counted
        # before it is whole, by its number only.
        traffic.sent(WORKSPACES)
        yield 0, tagged(WORKSPACES, orjson.dumps({"workspaces": gathered.workspaces, "traffic": traffic.figures}))


class _Resolve(beam.DoFn):
    def __init__(self, settings: Settings, plan: Plan, output: str, truth: str | None) -> None:
        self._settings = settings
        self._plan = plan
        self._output = output
        self._truth = truth

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Keyed | TaggedOutput]:
        meter = Meter("resolve")
        gathered = _Gathered(element[1], meter)
        if len(gathered.workspaces) > 1 and not self._settings.mixed_workspaces:
            raise MixedWorkspaces(gathered.workspaces)
        resolution = resolve(
            undirected(gathered.links),
            gathered.nodes,
            device_links=self._settings.device_links,
            max_profiles_per_device=self._settings.max_profiles_per_device,
            crowd_ids=self._settings.crowd_ids,
            max_profiles_per_known_user=self._settings.max_profiles_per_known_user,
        )
        certify(resolution.links, resolution.ids)
        figures = dict(resolution.figures)
        if self._truth is not None:
            figures["score"] = score(resolution.profiles, _truth(self._truth))
        paths = 0
        for path, data, rows in identity_files(resolution):
            paths += 1
            written = publish_file(self._output, path, data, rows)
            yield TaggedOutput(ResolveIdentities.FILES, (0, tagged(FILE, written.to_bytes())))
        answers = answer_table(resolution.profiles, array(gathered.deleted["id"]))
        of_shard: dict[int, list[tuple[bytes, bytes]]] = {shard: [] for shard in range(self._plan.id_shards)}
        for shard, block in sharded(answers, "profile", self._plan.id_shards):
            of_shard[shard].append((RESOLVED, block))
        for shard, block in sharded(crowd_table(resolution.dropped), "id", self._plan.id_shards):
            of_shard[shard].append((CROWD, block))
        for shard, blocks in of_shard.items():  # each says how many there are, one at least: none may be lost unseen
            for tag, block in blocks or [(RESOLVED, b"")]:
                yield shard, meter.sent(tagged(tag, numbered(max(1, len(blocks)), block)))
        counts: Tally = {"identity": figures, "identity_files": paths, "deleted_profiles": gathered.deleted.num_rows}
        merge(counts, gathered.traffic)
        yield TaggedOutput(ResolveIdentities.TALLIES, meter.tally(counts))
        progress.advance("resolve", 1, resolution.ids.num_rows)


def _truth(path: str) -> dict[str, str]:
    data = store_for(path).get(path)
    if data is None:
        raise StoreError(f"--truth {path} is not there")
    truth: dict[str, str] = orjson.loads(data)
    return truth


@with_input_types(asked=Keyed, resolved=Keyed)
@with_output_types(Keyed)
@dataclasses.dataclass
class AnswerUnits(beam.PTransform):
    """Tells each unit who its profiles are.

    In: a dict of ``asked`` (``ReadIds.ASKED``) and ``resolved`` (``ResolveIdentities.RESOLVED``), both keyed by shard.
    Out: (unit number; how many ids are answered for, and the profiles of them that are known or deleted, or the
    external ids of them that were dropped).

    Raises:
        AccountingError: a shard did not get all that was resolved for it.

    Example::

        {"asked": ids.asked, "resolved": identities.resolved} | AnswerUnits() | beam.FlatMap(rows_of)
        # {"kind": "answer", "unit": 0, "profile": "p1", "known_user": "ada", "via": "own", "deleted": False, …}
    """

    def expand(self, inputs: dict[str, beam.PCollection[Keyed]]) -> beam.PCollection[Keyed]:
        return (
            (inputs["asked"], inputs["resolved"])
            | "AskedAndResolved" >> beam.Flatten()
            | "GroupByShard" >> beam.GroupByKey()  # (shard, [asked or resolved block])
            | "Answer" >> beam.ParDo(_Answer()).with_output_types(Keyed)  # (unit, answer)
        )


class _Answer(beam.DoFn):
    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Keyed]:
        asked: list[bytes] = []
        tables: dict[bytes, list[pa.Table]] = {RESOLVED: [], CROWD: []}
        resolved, expected = 0, 1
        for item in element[1]:
            tag, body = untagged(item)
            if tag == ASKED:
                asked.append(body)
                continue
            expected, block = unnumbered(body)
            resolved += 1
            if block:
                tables[tag].append(unpack(block))
        if resolved != expected:
            raise AccountingError(
                f"shard [{element[0]}] got {resolved} elements of resolved profiles, and there must be [{expected}]: "
                "the runner lost or doubled elements; run again, or on another runner"
            )
        known, crowd = (pa.concat_tables(found).combine_chunks() if found else None for found in tables.values())
        for body in asked:
            unit, block = unnumbered(body)
            nodes = unpack(block)
            ids, external = array(nodes["id"]), pc.equal(array(nodes["id_type"]), EXTERNAL_USER_ID)
            for tag, some, table, key in (
                (ANSWER, ids.filter(pc.invert(external)), known, "profile"),
                (DROPPED, ids.filter(external), crowd, "id"),
            ):
                if not len(some):
                    continue
                blocks = [b""]
                if table is not None:
                    found = pc.index_in(some, value_set=table[key]).drop_null()
                    blocks = split(table.take(found)) or blocks
                for count, answer in zip(_shares(len(some), len(blocks)), blocks, strict=True):
                    yield unit, tagged(tag, numbered(count, answer))


def _shares(total: int, parts: int) -> list[int]:
    """What each part of an answer counts for, one at least, so that none is lost or doubled unseen; ``total`` in all.

    >>> _shares(10, 3)
    [8, 1, 1]
    """
    return [total - parts + 1, *[1] * (parts - 1)]


@with_input_types(Keyed)
@with_output_types(Keyed)
@dataclasses.dataclass
class FindRepeats(beam.PTransform):
    """Finds rows whose event type and id came before.

    In: ``ReadIds.KEYS`` (shard; a unit's event-id keys). Out: (unit number; how many keys are answered for, rows to
    drop, rows that others were dropped for).

    Example: row 1 of the only unit has the id of row 0::

        ids["keys"] | FindRepeats() | beam.FlatMap(rows_of)
        # {"kind": "repeat", "unit": 0, "row": 1, "dropped": True}, {"kind": "repeat", "unit": 0, "row": 0, …}
    """

    def expand(self, keys: beam.PCollection[Keyed]) -> beam.PCollection[Keyed]:
        return (
            keys
            | "GroupKeys" >> beam.GroupByKey()  # (shard, [keys of a unit])
            | "FindEqualKeys" >> beam.ParDo(_FindRepeats()).with_output_types(Keyed)  # (unit, repeats)
        )


class _FindRepeats(beam.DoFn):
    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Keyed]:
        blocks: list[tuple[int, bytes]] = []
        counts: dict[int, int] = {}
        for item in element[1]:
            unit, block = unnumbered(untagged(item)[1])
            blocks.append((unit, block))
            counts[unit] = counts.get(unit, 0) + repeats.count_keys(block)
        answers = dict(repeats.find_repeats(blocks))
        del blocks
        for unit in sorted(counts):
            parts = repeats.split_answer(answers.get(unit, repeats.NO_REPEATS))
            for count, answer in zip(_shares(counts[unit], len(parts)), parts, strict=True):
                yield unit, tagged(REPEATS, numbered(count, answer))
