"""The kinds of files that a run writes: where they stand, what a line of them is, and what the lines must add up to."""

from __future__ import annotations

import dataclasses
import re

from transforms.vocabulary.terms import Term, Terms


@dataclasses.dataclass(frozen=True)
class OutputFiles(Term):
    """One kind of file; the meaning says what a line (or a row) is.

    Attributes:
        folder, name: where one stands; the name has its number for ``{number}``.
        counted: figures of the run, as paths into its tally; their sum is the number of lines, or of files.
        counts: what is held against ``counted``: ``lines`` or ``files``.
    """

    folder: str
    name: str
    counted: tuple[str, ...]
    counts: str = "lines"

    def at(self, number: int, **names: str) -> str:
        """The path of one, relative to the output; ``names`` for what else the name leaves open."""
        return f"{self.folder}/{self.name.format(number=f'{number:05d}', **names)}"

    @property
    def label(self) -> str:
        """What is counted, for a message."""
        return f"lines in {self.folder}/" if self.counts == "lines" else f"{self.code} files"

    @property
    def shown(self) -> str:
        """The path as the documentation has it."""
        return f"{self.folder}/{self.name.format(number='NNNNN', table='*')}"


_LINES = "part-{number}.ndjson.gz"

OUTPUT_FILES = Terms(
    "a kind of output file",
    __name__,
    OutputFiles("events", "an event for Mixpanel's `/import`", "events", _LINES, ("rows.events",)),
    OutputFiles("profiles", "a Mixpanel profile update for `/engage`", "profiles", _LINES, ("profile_lines",)),
    OutputFiles(
        "deletions", "a Braze profile that was deleted on request", "deletions", _LINES, ("rows.deletions",)
    ),
    OutputFiles(
        "rejects",
        "a row that cannot be sent, or a piece of a file that cannot be read, with the reason",
        "rejects",
        _LINES,
        ("rows.rejects", "damaged.lines"),
    ),
    OutputFiles(
        "identity",
        "who is who: ids with their person, and the links between ids with their evidence",
        "identities",
        "{table}-{number}.parquet",
        ("identity_files",),
        counts="files",
    ),
)  # fmt: skip
"""Feeds the writers, the names that may be removed, the sums before a run is published, and the README."""

_FORMS = [
    re.escape(f"{kind.folder}/{kind.name}").replace(r"\{number\}", r"\d+").replace(r"\{table\}", "[a-z]+")
    for kind in OUTPUT_FILES
]
OWN_NAMES = re.compile("|".join(_FORMS))
"""Matches the path, relative to the output, of each file that a run may have written."""
