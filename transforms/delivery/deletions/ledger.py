"""What was asked to be deleted: a file a request below ``deletions/`` of the delivery's folder, after its whole answer.

A request names a stretch of the run's ids in their order. A stretch counts as asked for where its ids are still those
of its digest; a request whose answer was lost has no file, and is made again, which deletes nothing more.
"""

from __future__ import annotations

import collections
import hashlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from transforms.delivery.deletions.answers import ENDED_BADLY, Task
from transforms.delivery.deletions.wanted import Wanted
from transforms.stores.store import join, store_for

_NAME = re.compile(r"deletions/asked-(\d{6})-(\d{6})\.json")
_STATES = "states.json"
UNDECIDED = "undecided.ndjson.gz"

States = dict[str, tuple[str, int]]
"""Task to its state and the UNIX second of that."""


class Asked(NamedTuple):
    """One request: ids from ``first`` on, their digest, its tasks (none where its one id was refused) and words.

    Without ids: what was told of a task later, that it is in another project.
    """

    first: int
    ids: int
    sha256: str
    asked_at: int  # UNIX seconds
    tasks: tuple[Task, ...]
    refused: str | None = None


def digest_of(ids: Sequence[str]) -> str:
    return hashlib.sha256(orjson.dumps(ids)).hexdigest()


class DeletionLedger:
    """Writes requests down, under names of one lease's generation."""

    def __init__(self, folder: str, generation: int) -> None:
        self._folder, self._generation, self._number = folder, generation, 0

    def add(self, asked: Asked) -> None:
        """Write a request down; it is safe when this returns."""
        path = join(self._folder, "deletions", f"asked-{self._generation:06d}-{self._number:06d}.json")
        store_for(path).put_if_absent(
            path, orjson.dumps({**asked._asdict(), "tasks": [tuple(task) for task in asked.tasks]})
        )
        self._number += 1


def read_asked(folder: str) -> list[Asked]:
    """Every request that was answered, in the order of the answers."""
    store, prefix = store_for(folder), len(join(folder, ""))
    found = []
    for entry in store.list(join(folder, "deletions")):
        if _NAME.fullmatch(entry.path[prefix:]) and (content := store.get(entry.path)):
            said = orjson.loads(content)
            found.append(Asked(**{**said, "tasks": tuple(Task(*task) for task in said["tasks"])}))
    return found


def read_states(folder: str) -> States:
    """The states as they were told last."""
    content = store_for(folder).get(join(folder, "deletions", _STATES))
    return {task: (state, at) for task, (state, at) in orjson.loads(content or b"{}").items()}


def write_states(folder: str, states: States) -> None:
    """Replace what was told last."""
    path = join(folder, "deletions", _STATES)
    store_for(path).put(path, orjson.dumps(states, option=orjson.OPT_INDENT_2))


def done(
    wanted: Wanted, asked: Sequence[Asked], states: States, project: str
) -> tuple[list[tuple[int, int]], dict[int, str]]:
    """Stretches that were asked for in that project by tasks that did not fail, and Mixpanel's words by the place of an
    id that it refused."""
    void = {task_id for task_id, (state, _) in states.items() if state == "FAILURE"}
    void |= {task.task_id for one in asked for task in one.tasks if task.project not in (None, project)}
    stretches: list[tuple[int, int]] = []
    refused: dict[int, str] = {}
    for one in asked:
        end = one.first + one.ids
        if not one.ids or digest_of(wanted.ids[one.first : end]) != one.sha256:
            continue
        if one.refused is not None:
            refused[one.first] = one.refused
        elif not void & {task.task_id for task in one.tasks}:
            stretches.append((one.first, end))
    taken = {place for place in refused if any(first <= place < end for first, end in stretches)}
    return stretches, {place: words for place, words in refused.items() if place not in taken}


def told(
    wanted: Wanted, asked: Sequence[Asked], states: States, project: str, undecided_file: str | None
) -> dict[str, Any]:
    """The report's ``deletions``: ``ids`` = ``asked`` + ``refused`` + ``not_asked``, and every task with its state."""
    stretches, refused = done(wanted, asked, states, project)
    merged = _merged(stretches)
    covered = sum(end - first for first, end in merged)
    projects = {task.task_id: task.project for one in asked for task in one.tasks if task.project is not None}
    tasks: list[dict[str, Any]] = []
    bad = 0
    for one in asked:
        for task in one.tasks if one.ids else ():
            state, at = states.get(task.task_id, (task.state or "UNKNOWN", one.asked_at))
            tasks.append({"task_id": task.task_id, "ids": one.ids, "state": state, "state_at": at,
                          "asked_at": one.asked_at, "project_id": projects.get(task.task_id)})  # fmt: skip
            made_anew = any(first <= one.first and one.first + one.ids <= end for first, end in merged)
            is_ours = projects.get(task.task_id) in (None, project)
            bad += is_ours and state in ENDED_BADLY and not (state == "FAILURE" and made_anew)
    ids = len(wanted.ids)
    left = ids - covered - len(refused)
    words = collections.Counter(refused.values())
    return {
        "status": "partial" if left or refused else "asked" if ids else "nothing",
        "message": "",
        "in_run": wanted.lines,
        "undecided": wanted.undecided,
        "undecided_file": undecided_file,
        "ids": ids,
        "asked": covered,
        "refused": len(refused),
        "not_asked": left,
        "messages": dict(sorted(words.items())),
        "states": dict(sorted(collections.Counter(task["state"] for task in tasks).items())),
        "ended_badly": bad,
        "tasks": tasks,
    }


def _merged(stretches: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Stretches as disjoint ones: two requests for the same ids count once."""
    found: list[tuple[int, int]] = []
    for first, end in sorted(stretches):
        if found and first <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((first, end))
    return found
