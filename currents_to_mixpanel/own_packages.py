"""Where the installed command begins: with the packages beside this one, whatever else is called as they are.

Most Beam repositories have a ``pipelines`` or ``transforms`` of their own, and the current folder and PYTHONPATH come
before what is installed. The name ``currents_to_mixpanel`` is nobody else's.
"""

from __future__ import annotations

import json
import os
import sys
from typing import NoReturn

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PACKAGES = ("pipelines", "transforms")


def job() -> None:
    """The command ``currents-to-mixpanel``, with its verbs."""
    _take_or_refuse()
    from pipelines.command_line.verbs import cli

    cli()


def take_own_packages() -> None:
    """Import this program's packages from the folder that this one is in.

    Raises:
        ImportError: another package was imported under one of their names already; the message has its place.
    """
    for name in _PACKAGES:
        package = sys.modules.get(name)
        places = [os.path.realpath(place) for place in getattr(package, "__path__", [])]
        if package is not None and os.path.realpath(os.path.join(_ROOT, name)) not in places:
            place = places[0] if places else getattr(package, "__file__", "nowhere")
            raise ImportError(
                f"another package was imported under the name {name} before this program began, "
                f"from {place}, and its own is in {_ROOT}: check what Python imports at its start (.pth files, "
                "sitecustomize)"
            )
    sys.path.insert(0, _ROOT)
    for name in _PACKAGES:
        __import__(name)
    sys.path.remove(_ROOT)  # only the two were to be found so: what is installed there stays behind Python's own
    if _ROOT not in sys.path:
        sys.path.append(_ROOT)


def _take_or_refuse() -> None:
    try:
        take_own_packages()
    except ImportError as error:
        refuse(str(error))


def refuse(message: str) -> NoReturn:
    """End the process, before any module that could say so is imported."""
    print(f"currents-to-mixpanel: {message}", file=sys.stderr, flush=True)
    if "--json" in sys.argv:
        print(json.dumps({"status": "refused", "message": message, "exit_status": 2}))
    sys.exit(2)
