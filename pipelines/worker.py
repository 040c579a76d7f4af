"""A worker process of a local run: Beam's own, but quiet, deaf to the terminal's Ctrl-C, and gone with its launcher.

Beam's workers outlive a launcher that is killed, and a Ctrl-C that reaches them too ends in their tracebacks.
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
import threading
import time

from pipelines import memory

LAUNCHER_VARIABLE = "CURRENTS_TO_MIXPANEL_LAUNCHER"
VERBOSE_VARIABLE = "CURRENTS_TO_MIXPANEL_VERBOSE"
_WATCH_SECONDS = 0.2


def command_line() -> str:
    """The shell command that starts a worker; the shell gives way to it, so that its parent is the launcher."""
    return f"exec {shlex.quote(sys.executable)} -m pipelines.worker"


def main() -> None:
    """Work until there is no more, or nobody to work for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    launcher = int(os.environ[LAUNCHER_VARIABLE])
    threading.Thread(target=_end_with, args=(launcher,), name="launcher-watch", daemon=True).start()
    if not os.environ.get(VERBOSE_VARIABLE):
        logging.disable(logging.CRITICAL)
        # Beam prints the traceback of a failed step here; the launcher is told of it too. What the system itself
        # writes of a crash goes past this object.
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    from apache_beam.runners.worker import sdk_worker_main  # after the watch: the import alone takes a second

    memory.keep_freed()
    sdk_worker_main.main(sys.argv)


def _end_with(launcher: int) -> None:
    while os.getppid() == launcher:
        time.sleep(_WATCH_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
