"""The installed command ``currents-to-mixpanel``: by its first word the job, a delivery, a sample export or an entry
of the catalogue.
"""

from __future__ import annotations

import difflib
import sys

from pipelines import PROGRAM
from pipelines.command_line.exit_status import Status
from pipelines.command_line.interruption import heed_from_the_start
from pipelines.command_line.last_words import finish

VERBS = ("run", "deliver", "sample-export", "catalog-entry")
_SHORT = {"sample": "sample-export", "sample_export": "sample-export", "catalog_entry": "catalog-entry"}


def cli() -> None:
    """Hand the command line to the verb that it begins with; without one it is the job's."""
    heed_from_the_start(PROGRAM, sys.argv[1:])
    first = sys.argv[1] if len(sys.argv) > 1 else ""
    verb = _SHORT.get(first, first)
    if verb in VERBS:
        del sys.argv[1]
    elif verb and not verb.startswith("-"):
        near = difflib.get_close_matches(verb, (*VERBS, *_SHORT), 1)
        meant = f"did you mean {near[0]}?" if near else f"the verbs are {', '.join(VERBS)}; run may be left out"
        sys.exit(finish(PROGRAM, sys.argv[1:], Status.REFUSED, {}, message=f"{first} is not a verb: {meant}"))
    if verb == "deliver":
        from pipelines.deliver import cli as deliver

        deliver()
    elif verb == "sample-export":
        from pipelines.sample_export.__main__ import cli as sample_export

        sample_export()
    elif verb == "catalog-entry":
        from pipelines.catalog_entry import cli as catalog_entry

        catalog_entry()
    else:
        from pipelines.currents_to_mixpanel import cli as job

        job()


if __name__ == "__main__":
    cli()
