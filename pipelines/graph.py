"""The graph, top to bottom as the data goes: units, ids, persons, events, publication."""

from __future__ import annotations

import apache_beam as beam

from transforms.answer_units import AnswerUnits
from transforms.count_persons import CountPersons
from transforms.find_repeats import FindRepeats
from transforms.format_events import FormatEvents
from transforms.messages.elements import Keyed
from transforms.output.plan_files import PlanFiles, Work
from transforms.publish_run import Publish
from transforms.read_ids import ReadIds
from transforms.read_plan import ReadPlan
from transforms.report.figures import RunContext
from transforms.resolve_identities import ResolveIdentities
from transforms.unique_links import UniqueLinks
from transforms.write_profiles import WriteProfiles


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

    # Pass 1: ids only. (shard, what a unit says of them by number), (shard, event-id keys),
    # (unit number, the unit, or the profiles of its rows by number)
    ids = work | "ReadIds" >> ReadIds(settings, plan)
    tallies = [ids.tallies]  # (0, figures)

    # Who is who, and which rows repeat. (unit number, a line for each of its profiles)
    if plan.id_shards == 1:
        identities = ids.links | "ResolveIdentities" >> ResolveIdentities(settings, plan, output, truth)
        answers = identities.resolved
    else:  # (0, what a shard says of ids), (shard, which of them each unit asks for), (shard, a line for each profile)
        unique = ids.links | "UniqueLinks" >> UniqueLinks(settings)
        identities = unique.links | "ResolveIdentities" >> ResolveIdentities(settings, plan, output, truth)
        answers = {"asked": unique.asked, "resolved": identities.resolved} | "AnswerUnits" >> AnswerUnits()
        tallies.append(unique.tallies)
    # (unit number, its repeats)
    repeats = ids["keys"] | "FindRepeats" >> FindRepeats()

    # Pass 2: whole rows. (unit number, the unit, its answers, its repeats) → (0, file), (shard, attributes), …
    answered = (ids.units, answers, repeats) | "UnitsAndAnswers" >> beam.Flatten()
    written = answered | "FormatEvents" >> FormatEvents(settings, plan, output)
    profiles = written.attributes | "WriteProfiles" >> WriteProfiles(settings, output)  # (0, file)
    persons = written.persons | "CountPersons" >> CountPersons()  # (0, figures)

    files = (identities.files, written.files, profiles.files) | "Files" >> beam.Flatten()
    tallies += [identities.tallies, written.tallies, profiles.tallies, persons]
    {"files": files, "tallies": tallies | "Tallies" >> beam.Flatten()} | "Publish" >> Publish(context)
