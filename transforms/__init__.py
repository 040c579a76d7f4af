"""Braze Currents exports as Mixpanel imports: the Beam transforms, and what is needed to use them.

    from transforms import FormatEvents, ReadIds, ResolveIdentities, Settings

Read, resolve, format, write: every transform takes and gives ``(number, bytes)`` pairs, which ``rows_of`` shows as
plain dicts. The pure modules below import no Beam, and importing one of them must not do so either: hence the names
here are looked up when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transforms.answer_units import AnswerUnits
    from transforms.count_persons import CountPersons
    from transforms.currents.listing import discover
    from transforms.currents.paths import SourceFile, Unit, cut_units
    from transforms.find_repeats import FindRepeats
    from transforms.format_events import FormatEvents
    from transforms.messages.elements import Keyed
    from transforms.messages.inspecting import rows_of
    from transforms.output.claims import claim
    from transforms.publish_run import Publish
    from transforms.read_ids import ReadIds
    from transforms.read_plan import ReadPlan
    from transforms.report.figures import RunContext
    from transforms.resolve_identities import ResolveIdentities
    from transforms.settings import Plan, Settings
    from transforms.unique_links import UniqueLinks
    from transforms.write_profiles import WriteProfiles
else:
    _HOMES = {
        "transforms.currents.listing": ("discover",),
        "transforms.currents.paths": ("SourceFile", "Unit", "cut_units"),
        "transforms.messages.elements": ("Keyed",),
        "transforms.format_events": ("FormatEvents",),
        "transforms.messages.inspecting": ("rows_of",),
        "transforms.answer_units": ("AnswerUnits",),
        "transforms.count_persons": ("CountPersons",),
        "transforms.find_repeats": ("FindRepeats",),
        "transforms.publish_run": ("Publish",),
        "transforms.read_ids": ("ReadIds",),
        "transforms.read_plan": ("ReadPlan",),
        "transforms.resolve_identities": ("ResolveIdentities",),
        "transforms.output.claims": ("claim",),
        "transforms.report.figures": ("RunContext",),
        "transforms.settings": ("Plan", "Settings"),
        "transforms.unique_links": ("UniqueLinks",),
        "transforms.write_profiles": ("WriteProfiles",),
    }

    import importlib

    def __getattr__(name):
        for module, names in _HOMES.items():
            if name in names:
                return getattr(importlib.import_module(module), name)
        raise AttributeError(f"module [{__name__}] has no [{name}]; it has {', '.join(__all__)}")

    def __dir__():
        return [*globals(), *__all__]


__all__ = [
    "AnswerUnits",
    "CountPersons",
    "FindRepeats",
    "FormatEvents",
    "Keyed",
    "Plan",
    "Publish",
    "ReadIds",
    "ReadPlan",
    "ResolveIdentities",
    "RunContext",
    "Settings",
    "SourceFile",
    "UniqueLinks",
    "Unit",
    "WriteProfiles",
    "claim",
    "cut_units",
    "discover",
    "rows_of",
]
