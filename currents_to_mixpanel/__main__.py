"""The installed command: ``python -m currents_to_mixpanel``, or ``python path/to/currents_to_mixpanel``."""

from __future__ import annotations

import os
import sys

if not __package__:  # by its path: Python put this folder first, where the one around it belongs
    _FOLDER = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [os.path.dirname(_FOLDER), *(place for place in sys.path if place != _FOLDER)]

from currents_to_mixpanel.own_packages import job

if __name__ == "__main__":
    job()
