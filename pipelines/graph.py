"""The graph, top to bottom as the data goes: units, ids, persons, events, publication."""

from __future__ import annotations

import apache_beam as beam

from transforms.elements import Keyed
from transforms.formatting import FormatEvents
from transforms.publishing import CountPersons, Publish, WriteProfiles
from transforms.reading import ReadIds, ReadPlan
from transforms.resolving import AnswerUnits, FindRepeats, ResolveIdentities
from transforms.run.plan_files import PlanFiles, Work
from transforms.run.report import RunContext


def build(root: beam.Pipeline, units: Work, context: RunContext, truth: str | None = None) -> None:
    """Add the whole job to a pipeline: nothing is read or written until it runs."""
    settings, plan, output = context.settings, context.plan, context.output

    if isinstance(units, PlanFiles):
        begin = [(number, path.encode()) for number, path in enumerate(units.paths)]
    else:
        begin = [(unit.number, unit.to_bytes()) for unit in units]
    work = root | "Units" >> beam.Create(begin, reshuffle=False).with_output_types(Keyed)  # (unit number, unit)
    if isinstance(units, PlanFiles):  # (number, path) until here
        work = work | "ReadPlan" >> ReadPlan()

    # Pass 1: ids only. (shard, links), (shard, profiles asked for), (shard, event-id keys), (unit number, unit)
    ids = work | "ReadIds" >> ReadIds(settings, plan)

    # Who is who, and which rows repeat. (shard, profiles with a known user)
    identities = ids.links | "ResolveIdentities" >> ResolveIdentities(settings, plan, output, truth)
    # (unit number, its profiles' answers)
    answers = {"asked": ids.asked, "resolved": identities.resolved} | "AnswerUnits" >> AnswerUnits()
    # (unit number, its repeats)
    repeats = ids["keys"] | "FindRepeats" >> FindRepeats()

    # Pass 2: whole rows. (unit number, the unit, its answers, its repeats) → (0, file), (shard, attributes), …
    answered = (ids.units, answers, repeats) | "UnitsAndAnswers" >> beam.Flatten()
    written = answered | "FormatEvents" >> FormatEvents(settings, plan, output)
    profiles = written.attributes | "WriteProfiles" >> WriteProfiles(settings, output)  # (0, file)
    persons = written.persons | "CountPersons" >> CountPersons()  # (0, figures)

    files = (identities.files, written.files, profiles.files) | "Files" >> beam.Flatten()
    tallies = (
        ids.tallies, identities.tallies, written.tallies, profiles.tallies, persons,
    ) | "Tallies" >> beam.Flatten()  # fmt: skip
    {"files": files, "tallies": tallies} | "Publish" >> Publish(context)
