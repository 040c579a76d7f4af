"""What answers of Mixpanel's deletion API mean; its pages and its schema show two shapes, and both are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from transforms.delivery.answers import Verdict, of_status, words_of

ENDED_BADLY = frozenset({"FAILURE", "REVOKED", "NOT_FOUND"})
"""States after which the persons of a task are still there."""
_LONGEST_STATE = 40


class Task(NamedTuple):
    """A deletion that Mixpanel has taken on; state and project are None where it does not tell."""

    task_id: str
    state: str | None = None
    project: str | None = None


class Made(NamedTuple):
    """The answer to a request for deletions: ``TAKEN`` with its tasks, or without any where its only id is refused."""

    verdict: Verdict
    tasks: tuple[Task, ...] = ()
    words: str = ""
    retry_after: float | None = None


def of_deletion(status: int, headers: Mapping[str, str], body: bytes, ids: int) -> Made:
    """What was answered to a request for so many ids. Header names are in lower case."""
    if status == 413:
        return _refused(ids, f"413 {words_of(body)}")
    if status not in (200, 201, 202, 400):
        answer = of_status(status, headers, body)
        return Made(answer.verdict, words=answer.words, retry_after=answer.retry_after)
    try:
        said = orjson.loads(body)
    except ValueError:
        return Made(Verdict.AGAIN, words=f"{status} with an answer that is not JSON: {words_of(body)}")
    tasks = tuple(_tasks(said))
    if status == 400 or (not tasks and isinstance(said, dict) and said.get("error")):
        return _refused(ids, f"{status} {words_of(body)}")
    if not tasks:
        return Made(Verdict.AGAIN, words=f"{status} with an answer that names no task: {words_of(body)}")
    return Made(Verdict.TAKEN, tasks)


def of_state(status: int, headers: Mapping[str, str], body: bytes, task_id: str) -> Made:
    """What was answered to the question for a task's state: ``TAKEN`` with that one task."""
    if status == 404:
        return Made(Verdict.TAKEN, (Task(task_id, "NOT_FOUND"),))
    if status != 200:
        answer = of_status(status, headers, body)
        return Made(answer.verdict, words=answer.words, retry_after=answer.retry_after)
    try:
        results = orjson.loads(body)["results"]
    except (ValueError, KeyError, TypeError):
        return Made(Verdict.AGAIN, words=f"200 with an answer that has no results: {words_of(body)}")
    for entry in results if isinstance(results, list) else [results]:
        if isinstance(entry, dict) and (state := _state(entry)) is not None:
            return Made(Verdict.TAKEN, (Task(task_id, state, _project(entry)),))
    return Made(Verdict.AGAIN, words="200 with an answer that has no state")


def of_cancellation(status: int, headers: Mapping[str, str], body: bytes) -> Made:
    """What was answered to taking a task back: ``TAKEN`` where it is."""
    if status in (200, 202, 204):
        return Made(Verdict.TAKEN)
    answer = of_status(status, headers, body)
    return Made(answer.verdict, words=answer.words, retry_after=answer.retry_after)


def _refused(ids: int, words: str) -> Made:
    return Made(Verdict.SPLIT if ids > 1 else Verdict.TAKEN, words=words)


def _tasks(said: Any) -> list[Task]:
    results = said.get("results") if isinstance(said, dict) else None
    found = []
    for entry in results if isinstance(results, list) else [results]:
        if not isinstance(entry, dict):
            continue
        name = entry.get("task_id") or entry.get("tracking_id")
        if isinstance(name, (str, int)) and not isinstance(name, bool):
            found.append(Task(str(name), _state(entry), _project(entry)))
    return found


def _state(entry: dict[str, Any]) -> str | None:
    state = entry.get("status")
    return state.upper()[:_LONGEST_STATE] if isinstance(state, str) and state else None


def _project(entry: dict[str, Any]) -> str | None:
    project = entry.get("project_id")
    return str(project) if isinstance(project, (str, int)) and not isinstance(project, bool) else None
