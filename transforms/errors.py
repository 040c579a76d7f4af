"""What stops a run, by name."""

from __future__ import annotations


class MixedWorkspaces(Exception):
    """Rows of several Braze workspaces, whose external ids may mean different people."""

    def __init__(self, workspaces: dict[str, str], more: bool) -> None:
        found = ", ".join(f"[{name}] in {file}" for name, file in sorted(workspaces.items())[:5])
        count = f"{len(workspaces)}{' or more' if more else ''}"
        super().__init__(
            f"the export has rows of {count} workspaces (app_group_id): {found}; their external ids may mean "
            "different people: run each on its own, or say --mixed_workspaces if they mean the same"
        )


class UnreadableRepeat(Exception):
    """A row that others were dropped for turned out unreadable: sending neither would lose an event."""


class TornEvidence(Exception):
    """Pass 1, by the columns it reads, took rows for whole that are not: the run must be made again with
    ``Settings.thorough``.
    """
