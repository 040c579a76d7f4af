"""What a run returns to whoever called it from Python."""

from __future__ import annotations

import dataclasses
from typing import Any

from transforms.currents.left_out import missing
from transforms.output.folder import MANIFEST
from transforms.stores.store import join

PUBLISHED, SUBMITTED = "published", "submitted"


@dataclasses.dataclass(frozen=True)
class Report:
    """How a run ended that did not fail: the folder, and what ``report.json`` says there (docs/report.md has its keys).

    ``figures`` is empty where the job was only submitted (``no_wait``): it publishes when it is through.
    """

    output: str
    figures: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def status(self) -> str:
        """``published`` or ``submitted``."""
        return PUBLISHED if self.figures else SUBMITTED

    @property
    def manifest(self) -> str:
        """The path of the manifest, which is there once the run is published."""
        return join(self.output, MANIFEST)

    @property
    def warnings(self) -> list[str]:
        """What somebody should look at, a sentence each."""
        return list(self.figures.get("warnings", ()))

    @property
    def incomplete(self) -> str:
        """Which files were found and could not be read, in words; empty where all were read."""
        return missing(self.figures["listing"]) if self.figures else ""
