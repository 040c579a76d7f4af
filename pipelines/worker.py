"""A worker process of a local run: Beam's own, but quiet, deaf to the terminal's Ctrl-C, and gone with its launcher.

Beam's workers outlive a launcher that is killed, and a Ctrl-C that reaches them too ends in their tracebacks.
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import signal
import sys
import threading
import time

from pipelines.exit_status import Status
from pipelines.light_imports import light_imports
from transforms.run import blocks_on_disk, progress

LAUNCHER_VARIABLE = "CURRENTS_TO_MIXPANEL_LAUNCHER"
VERBOSE_VARIABLE = "CURRENTS_TO_MIXPANEL_VERBOSE"
_WATCH_SECONDS = 0.2


# Not ``-m pipelines.worker``: the current folder would come first, and most Beam repositories have a ``pipelines``.
_BOOTSTRAP = """
import sys
root, told = sys.argv[1:]
sys.path[:] = [root, *filter(None, sys.path)]
try:
    import pipelines.worker as worker
    worker.prepare()
except Exception as error:
    with open(told, "a", encoding="utf-8") as file:
        file.write(" ".join(f"{type(error).__name__}: {error}".split()) + "\\n")
    raise
worker.work()
"""


def command_line(told: str) -> str:
    """The shell command that starts a worker; the shell gives way to it, so that its parent is the launcher.

    Why it did not start, where it does not, is a line at the end of the file ``told``.
    """
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return "exec " + shlex.join([sys.executable, "-c", _BOOTSTRAP, root, told])


def prepare() -> None:
    """Watch the launcher, and import what the work needs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    launcher = int(os.environ[LAUNCHER_VARIABLE])
    threading.Thread(target=_end_with, args=(launcher,), name="launcher-watch", daemon=True).start()
    if not os.environ.get(VERBOSE_VARIABLE):
        logging.disable(logging.CRITICAL)
        # Beam prints the traceback of a failed step here; the launcher is told of it too. What the system itself
        # writes of a crash goes past this object.
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    # After the watch: the import of Beam alone takes half a second.
    with light_imports():
        from apache_beam.runners.worker import sdk_worker_main  # noqa: F401

        from pipelines import graph, memory  # noqa: F401

    memory.keep_freed()


def work() -> None:
    """Work until there is no more, or nobody to work for."""
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)


def _end_with(launcher: int) -> None:
    while os.getppid() == launcher:
        time.sleep(_WATCH_SECONDS)
    # What a killed launcher leaves behind; there is nothing where it ended by itself.
    if blocks := os.environ.get(blocks_on_disk.FOLDER_VARIABLE):
        shutil.rmtree(blocks, ignore_errors=True)
    if told := os.environ.get(progress.FOLDER_VARIABLE):
        shutil.rmtree(os.path.dirname(told), ignore_errors=True)
    os._exit(Status.FAILED)
