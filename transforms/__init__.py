"""Braze Currents exports as Mixpanel imports: the Beam transforms, and what is needed to use them.

    from transforms import FormatEvents, ReadIds, ResolveIdentities, Settings

Read, resolve, format, write: every transform takes and gives ``(number, bytes)`` pairs, which ``rows_of`` shows as
plain dicts. The pure modules below import no Beam, and importing one of them must not do so either: hence the names
here are looked up when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transforms.currents.listing import discover
    from transforms.currents.paths import SourceFile, Unit, cut_units
    from transforms.elements import Keyed
    from transforms.formatting import FormatEvents
    from transforms.inspecting import rows_of
    from transforms.publishing import CountPersons, Publish, WriteProfiles
    from transforms.reading import ReadIds
    from transforms.resolving import FindRepeats, ResolveIdentities
    from transforms.run.claims import claim
    from transforms.run.report import RunContext
    from transforms.settings import Plan, Settings
    from transforms.sharding import AnswerUnits, UniqueLinks
else:
    _HOMES = {
        "transforms.currents.listing": ("discover",),
        "transforms.currents.paths": ("SourceFile", "Unit", "cut_units"),
        "transforms.elements": ("Keyed",),
        "transforms.formatting": ("FormatEvents",),
        "transforms.inspecting": ("rows_of",),
        "transforms.publishing": ("CountPersons", "Publish", "WriteProfiles"),
        "transforms.reading": ("ReadIds",),
        "transforms.resolving": ("FindRepeats", "ResolveIdentities"),
        "transforms.run.claims": ("claim",),
        "transforms.run.report": ("RunContext",),
        "transforms.settings": ("Plan", "Settings"),
        "transforms.sharding": ("AnswerUnits", "UniqueLinks"),
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
