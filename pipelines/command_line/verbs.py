"""The installed command ``currents-to-mixpanel``: by its first word the job, a delivery or a sample export."""

from __future__ import annotations

import sys

from pipelines.command_line.interruption import heed_from_the_start


def cli() -> None:
    """Hand the command line to the verb that it begins with; without one it is the job's."""
    heed_from_the_start("currents-to-mixpanel", sys.argv[1:])
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    if verb in ("run", "deliver", "sample"):
        del sys.argv[1]
    if verb == "deliver":
        from pipelines.deliver import cli as deliver

        deliver()
    elif verb == "sample":
        from pipelines.sample_export.__main__ import cli as sample

        sample()
    else:
        from pipelines.currents_to_mixpanel import cli as job

        job()


if __name__ == "__main__":
    cli()
