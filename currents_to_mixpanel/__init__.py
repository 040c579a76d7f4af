"""Braze Currents exports as Mixpanel imports: what programs import, and what the commands begin with.

    from currents_to_mixpanel import options, run

    report = run(options(input="exports/", output="out/"))
    print(report.status, report.figures["rows"])

``run`` is the whole command without its command line; ``options`` takes the flags by their names; all that can stop it
is a ``CurrentsToMixpanelError``, drawn in ``errors``. The Beam transforms are those of the package ``transforms``, for
pipelines of your own. Names are looked up when first used: importing this package imports neither Beam nor Arrow. Read
``own_packages`` first, then ``__main__``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.command_line.options import Options
    from pipelines.currents_to_mixpanel import Report, run
    from pipelines.keywords import options
    from transforms import (
        AnswerUnits,
        CountPersons,
        FindRepeats,
        FormatEvents,
        Keyed,
        Plan,
        Publish,
        ReadIds,
        ReadPlan,
        ResolveIdentities,
        RunContext,
        Settings,
        SourceFile,
        UniqueLinks,
        Unit,
        WriteProfiles,
        claim,
        cut_units,
        discover,
        errors,
        rows_of,
    )
    from transforms.errors import CurrentsToMixpanelError, LimitExceeded, RunError, UserError

    __version__: str
else:
    import importlib

    _HOMES = {
        "CurrentsToMixpanelError": "transforms.errors",
        "LimitExceeded": "transforms.errors",
        "Options": "pipelines.command_line.options",
        "Report": "pipelines.currents_to_mixpanel",
        "RunError": "transforms.errors",
        "UserError": "transforms.errors",
        "options": "pipelines.keywords",
        "run": "pipelines.currents_to_mixpanel",
    }

    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module [{__name__}] has no [{name}]; it has {', '.join(__all__)}")
        from currents_to_mixpanel.own_packages import take_own_packages

        take_own_packages()
        if name == "__version__":
            return importlib.import_module("transforms.output.versions").program_version()
        if name == "errors":
            return importlib.import_module("transforms.errors")
        return getattr(importlib.import_module(_HOMES.get(name, "transforms")), name)

    def __dir__():
        return [*globals(), *__all__]


__all__ = [
    "AnswerUnits",
    "CountPersons",
    "CurrentsToMixpanelError",
    "FindRepeats",
    "FormatEvents",
    "Keyed",
    "LimitExceeded",
    "Options",
    "Plan",
    "Publish",
    "ReadIds",
    "ReadPlan",
    "Report",
    "ResolveIdentities",
    "RunContext",
    "RunError",
    "Settings",
    "SourceFile",
    "UniqueLinks",
    "Unit",
    "UserError",
    "WriteProfiles",
    "__version__",
    "claim",
    "cut_units",
    "discover",
    "errors",
    "options",
    "rows_of",
    "run",
]
