"""Which symbolic links to folders a listing of the disk goes through: each folder once, whatever leads to it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable


@dataclasses.dataclass
class Links:
    """The links of a listing. Memory is bounded by the number of links that are gone through.

    Attributes:
        wanted: whether anything below a path (as it is listed) may be asked for.
        is_covered: whether all that is below a folder (its real path) is listed at its own place anyway.
        is_listed: whether a file (its real path) is.
        targets: the real folders that links led to, shared by listings that are one to their reader.
        twice: called with the path of each folder that is left out because it is listed elsewhere.
        nowhere: called with the path of each link that leads nowhere.
        irregular: called with the path of each pipe, socket or device.
    """

    wanted: Callable[[str], bool]
    is_covered: Callable[[str], bool]
    is_listed: Callable[[str], bool]
    targets: set[str]
    twice: Callable[[str], None]
    nowhere: Callable[[str], None]
    irregular: Callable[[str], None]

    def enter(self, path: str) -> str | None:
        """The real folder that a link leads to; None where it is not to be gone through."""
        if not self.wanted(path):
            return None
        real = os.path.realpath(path)
        if self.is_covered(real) or self._is_behind_another(real):
            self.twice(path)
            return None
        self.targets.add(real)
        return real

    def passes(self, path: str, real: str) -> bool:
        """Whether to go on into a folder that lies behind a link."""
        if real in self.targets or self.is_covered(real):
            self.twice(path)
            return False
        return True

    def _is_behind_another(self, real: str) -> bool:
        while real not in self.targets:
            above, name = os.path.split(real)
            if above == real or name.startswith((".", "_")):  # what is hidden there may be asked for here
                return False
            real = above
        return True
