"""The commands: the job itself, and the sample export.

Arrow's and DataFusion's allocator gives freed memory back after ten milliseconds, and the next chunk of rows then pays
for it to be zeroed again; a second costs little at the peak and saves a tenth of the job's CPU. It reads its setting
when it is loaded, which is why this stands here.
"""

from __future__ import annotations

import importlib.util
import os
import sys

PROGRAM = "currents-to-mixpanel"
os.environ.setdefault("MIMALLOC_PURGE_DELAY", "1000")


_IS_MODULE_RUN = sys.argv[:1] == ["-m"]  # which Python says of itself while it looks for the module to run


def _refuse_another(name: str) -> None:
    """Raises ImportError where the program's other package would be one of somebody else's folder of that name."""
    own = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # imported by hand, without a place
        spec = None
    found = [os.path.realpath(place) for place in (spec.submodule_search_locations or [])] if spec else []
    if spec is None or os.path.join(own, name) in found:
        return
    place = found[0] if found else spec.origin
    message = (
        f"another package is imported under the name {name}, from {place}, and this program's own is in {own}: start "
        "it as currents-to-mixpanel, or from another folder, and check whether PYTHONPATH names that one"
    )
    if _IS_MODULE_RUN:
        from currents_to_mixpanel.own_packages import refuse

        refuse(message)
    raise ImportError(message)


_refuse_another("transforms")  # before anything of it is imported
if _IS_MODULE_RUN:
    from pipelines.command_line.interruption import heed_from_the_start

    heed_from_the_start(PROGRAM, sys.argv[1:])
