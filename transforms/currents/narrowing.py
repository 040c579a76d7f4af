"""What the flags leave out of a listing: files that are skipped by name, and hours that are not asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from transforms.currents.left_out import LeftOut
from transforms.currents.paths import DAY, HOUR, date_of, has_glob, matches_glob
from transforms.errors import InputError


def narrowed_by(left_out: LeftOut) -> str:
    """What may be widened where nothing is left, for the end of a sentence."""
    flags = ["--since", "--until", "--skip"]
    if "archived" in left_out.counts:
        flags.append("--skip_archived")
    found = f"{', '.join(flags[:-1])} and {flags[-1]}: widen them"
    if later := left_out.counts.get("unfinished_hour"):
        files = later["files"]
        found += f" ({files:,} lie in an hour that is not over by the clock of this run: wait, or give --until)"
    return found


class Skipped:
    """What ``--skip`` names; ``unused`` is what named no file yet.

    ``forms`` has for each path, name or glob what was typed.
    """

    def __init__(self, forms: Mapping[str, str]) -> None:
        self.unused = set(forms.values())
        self._exact = forms
        self._globs = [(form, name) for form, name in self._exact.items() if has_glob(form)]

    def has(self, path: str, name: str) -> bool:
        found = self._exact.get(path) or self._exact.get(name)
        if found is not None:
            self.unused.discard(found)
        if found is None or not self.unused.isdisjoint(typed for _, typed in self._globs):
            base = name.rpartition("/")[2]
            for glob, typed in self._globs:
                if (
                    matches_glob(path, glob)
                    or matches_glob(name, glob)
                    or ("/" not in glob and matches_glob(base, glob))
                ):
                    found = typed
                    self.unused.discard(typed)
        return found is not None


@dataclasses.dataclass(frozen=True)
class Hours:
    """What ``discover`` asks of dates."""

    since: int | None
    until: int | None
    read_until: int | None

    def excludes(self, name: str, path: str, left_out: LeftOut) -> str | None:
        """The reason for which a file is not read by its date, if there is one.

        Raises:
            InputError: nobody can tell.
        """
        date = date_of(name) or date_of(path)
        if date is None:
            return None
        is_narrowed = self.since is not None or self.until is not None
        if date.begin is None:
            if is_narrowed:
                raise InputError(
                    f"[{date.folder}] in {path} is neither an hour (date=YYYY-MM-DD-HH) nor a day (date=YYYY-MM-DD), "
                    "so --since and --until cannot be compared with it: rename it, leave it out with --skip, or give "
                    "neither flag"
                )
            left_out.count_date(name)
            return None
        if is_narrowed:
            for flag, limit in (("--since", self.since), ("--until", self.until)):
                if limit is not None and date.seconds == DAY and date.begin < limit < date.begin + DAY:
                    raise InputError(
                        f"{flag} lies inside the day of [{date.folder}], of which {path} holds all hours: take a whole "
                        "day for it, or leave such files out with --skip"
                    )
            if (self.since is not None and date.begin < self.since) or (
                self.until is not None and date.begin >= self.until
            ):
                return "outside_hours"
        if self.read_until is not None and date.seconds == HOUR and date.begin >= self.read_until:
            return "unfinished_hour"
        return None
