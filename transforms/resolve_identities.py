"""Who is who: ids numbered, links to the forest and its certificate, the identity files, what each unit is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import orjson
from apache_beam.pvalue import DoOutputsTuple, TaggedOutput
from apache_beam.typehints import with_input_types

from transforms.errors import MixedWorkspaces, StoreError
from transforms.evidence.ids import USER_ID
from transforms.evidence.unit_evidence import WORKSPACES_KEPT
from transforms.identity.agreement import agreement
from transforms.identity.answers import CrowdLines, ProfileLines, identity_files
from transforms.identity.forest import NEXT, resolve
from transforms.identity.gathering import Gathered
from transforms.identity.graph import undirected
from transforms.identity.invariants import certify
from transforms.identity.score import persons_of, score
from transforms.messages.elements import FILE, Keyed, Meter, bodies, tagged
from transforms.messages.told import cut, to_shard, to_unit
from transforms.output.publication import publish_file
from transforms.privacy.identities import veiled, veiled_figures, veiled_workspaces
from transforms.privacy.suppression import suppressed_persons
from transforms.privacy.veil import veil_of
from transforms.settings import Plan, Settings
from transforms.stores.store import store_for
from transforms.telemetry import progress
from transforms.telemetry.tally import Tally


@with_input_types(Keyed)
@dataclasses.dataclass
class ResolveIdentities(beam.PTransform):
    """Finds out which ids are one person, proves it, and writes ``identities/``.

    In: (0; part of what a unit, or a shard of them, says of ids). Out, tagged: ``RESOLVED`` (the number of who said so;
    a line for each of its profiles in their order, or its dropped external ids), ``FILES`` (0; manifest entries),
    ``TALLIES`` (0; figures).

    Raises:
        AccountingError: a part of what a source says was lost or doubled.
        InvariantError: the result contradicts itself; nothing is published.
        MixedWorkspaces: the rows come from several workspaces.

    Example: a unit's profiles p1 and p2 were seen on one device, and p1 with the external id "ada"::

        identities = ids.links | ResolveIdentities(settings, plan, output="out")
        identities.resolved | beam.FlatMap(rows_of)
        # {"kind": "answer", "unit": 0, "profile": 0, "known_user": "ada", "via": "own", "deleted": False, …}
        # {"kind": "answer", "unit": 0, "profile": 1, "known_user": "ada", "via": "device", "deleted": False, …}
    """

    settings: Settings
    plan: Plan
    output: str
    truth: str | None = None

    RESOLVED = "resolved"
    FILES = "files"
    TALLIES = "tallies"

    def expand(self, links: beam.PCollection[Keyed]) -> DoOutputsTuple:
        resolve_all = beam.ParDo(_Resolve(self.settings, self.plan, self.output, self.truth)).with_output_types(
            Keyed, files=Keyed, tallies=Keyed
        )
        return (
            links
            | "GatherLinks" >> beam.GroupByKey()  # (0, [part])
            | "Resolve" >> resolve_all.with_outputs(self.FILES, self.TALLIES, main=self.RESOLVED)
        )


class _Resolve(beam.DoFn):
    def __init__(self, settings: Settings, plan: Plan, output: str, truth: str | None) -> None:
        self._settings = settings
        self._plan = plan
        self._output = output
        self._truth = truth

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Keyed | TaggedOutput]:
        meter = Meter("resolve")
        settings = self._settings
        gathered = Gathered(bodies(element[1], meter), keep_externals=settings.asks_externals)
        workspaces = dict(sorted(gathered.workspaces.items())[:WORKSPACES_KEPT])
        veil = veil_of(settings)
        if len(workspaces) > 1 and not settings.mixed_workspaces:
            named = veiled_workspaces(workspaces, veil)
            raise MixedWorkspaces.of(named, more=len(workspaces) >= WORKSPACES_KEPT)
        graph, place = gathered.graph()
        resolution = resolve(
            undirected(graph),
            device_links=settings.device_links,
            device_stay=settings.device_stay,
            max_profiles_per_device=settings.max_profiles_per_device,
            crowd_ids=settings.crowd_ids,
            max_profiles_per_known_user=settings.max_profiles_per_known_user,
        )
        del graph
        certify(resolution.links, resolution.ids)
        truth = _truth(self._truth) if self._truth is not None else None
        anonymous = np.empty_like(gathered.anonymous)
        anonymous[place] = gathered.anonymous
        figures = dict(resolution.figures)
        figures["device_policies"] = agreement(
            resolution.graph,
            resolution.before,
            anonymous,
            chosen=(settings.device_links, settings.device_stay if settings.device_links == NEXT else None),
            max_profiles_per_device=settings.max_profiles_per_device,
            truth=truth,
        )
        if truth is not None:
            figures["score"] = score(resolution.profiles, truth)
        paths = 0
        for path, data, rows in identity_files(veiled(resolution, veil)):
            paths += 1
            written = publish_file(self._output, path, data, rows)
            yield TaggedOutput(ResolveIdentities.FILES, (0, tagged(FILE, written.to_bytes())))
        suppressed = suppressed_persons(settings, resolution)
        lines = ProfileLines(resolution, place[gathered.deleted], None if suppressed is None else suppressed.profiles)
        crowd = None
        if settings.asks_externals:
            crowd = CrowdLines(
                gathered.externals(), resolution.dropped, None if suppressed is None else suppressed.known_users
            )
        ids = resolution.graph.size
        del resolution
        for number in sorted(gathered.told):
            told = place[gathered.numbers[number][USER_ID][: gathered.told[number]]]
            answers = [(begin + at, block) for begin, table in lines.of(told) for at, block in cut(table)]
            externals = gathered.externals_of(number)
            dropped = crowd.of(externals) if crowd is not None and len(externals) else None
            send = to_unit if self._plan.id_shards == 1 else to_shard
            for packed in send(answers, dropped, len(externals)):
                yield number, meter.sent(packed)
        figures = veiled_figures(figures, veil)
        counts: Tally = {"identity": figures, "identity_files": paths, "deleted_profiles": len(gathered.deleted)}
        yield TaggedOutput(ResolveIdentities.TALLIES, meter.tally(counts))
        progress.advance("resolve", 1, ids)


def _truth(path: str) -> dict[str, str]:
    data = store_for(path).get(path)
    if data is None:
        raise StoreError(f"--truth {path} is not there")
    return persons_of(orjson.loads(data))
