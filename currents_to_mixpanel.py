"""Where the installed commands begin: with the packages beside this file, whatever else is called as they are.

Most Beam repositories have a ``pipelines`` or ``transforms`` of their own, and the current folder and PYTHONPATH come
before what is installed. This name is nobody else's. As a script, ``python path/to/currents_to_mixpanel.py``, it is the
job.
"""

from __future__ import annotations

import json
import os
import sys
from typing import NoReturn

_ROOT = os.path.dirname(os.path.abspath(__file__))
_PACKAGES = ("pipelines", "transforms")


def job() -> None:
    """The command ``currents-to-mixpanel``, with its verbs."""
    take_own_packages()
    from pipelines.command_line.verbs import cli

    cli()


def sample_export() -> None:
    """The command ``currents-sample-export``."""
    take_own_packages()
    from pipelines.sample_export.__main__ import cli

    cli()


def _refuse(message: str) -> NoReturn:
    print(f"currents-to-mixpanel: {message}", file=sys.stderr, flush=True)
    if "--json" in sys.argv:
        print(json.dumps({"status": "refused", "message": message, "exit_status": 2}))
    sys.exit(2)


def take_own_packages() -> None:
    """Put this program's folder first; ends the process where another's package was imported already."""
    for name in _PACKAGES:
        package = sys.modules.get(name)
        places = [os.path.realpath(place) for place in getattr(package, "__path__", [])]
        if package is not None and os.path.realpath(os.path.join(_ROOT, name)) not in places:
            place = places[0] if places else getattr(package, "__file__", "nowhere")
            _refuse(
                f"another package was imported under the name {name} before this program began, "
                f"from {place}, and its own is in {_ROOT}: look what Python imports at its start (.pth files, "
                "sitecustomize)"
            )
    sys.path.insert(0, _ROOT)
    for name in _PACKAGES:
        __import__(name)
    sys.path.remove(_ROOT)  # only the two were to be found so: what is installed there stays behind Python's own
    sys.path.append(_ROOT)


if __name__ == "__main__":
    job()
