"""What is done under the lease for deletions: asking for what is left, and for the states of what was asked for."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from pipelines.delivery import work
from transforms.delivery.answers import Verdict
from transforms.delivery.credentials import Credentials
from transforms.delivery.deletions.answers import Made, Task
from transforms.delivery.deletions.ledger import (
    Asked,
    DeletionLedger,
    digest_of,
    done,
    read_asked,
    read_states,
    write_states,
)
from transforms.delivery.deletions.requests import DeletionRequests
from transforms.delivery.deletions.wanted import Wanted, ranges
from transforms.delivery.lease import Lease
from transforms.errors import DeliveryStopped

_SAY_EVERY = 10.0
_MOST_REFUSED_IN_A_ROW = 10
_SETTLED = ("SUCCESS", "FAILURE", "REVOKED")


class Carried:
    """One command's work under the lease; ``carry_out`` is what it is for."""

    def __init__(
        self, wanted: Wanted, flags: argparse.Namespace, folder: str, lease: Lease, credentials: Credentials,
        requests: DeletionRequests,
    ) -> None:  # fmt: skip
        self.wanted, self.flags, self.folder, self.lease = wanted, flags, folder, lease
        self.credentials, self.requests = credentials, requests
        self.taken = 0  # answers that were no refusal of the credentials
        self.warning = ""
        self._states = read_states(folder)
        self._said = time.monotonic()

    def carry_out(self) -> None:
        raise NotImplementedError

    def ask_states(self, tasks: Sequence[Task], *, patient: bool) -> None:
        """Ask for the states of tasks that have not ended, and write down what was told."""
        try:
            for number, task in enumerate(tasks, start=1):
                if self._states.get(task.task_id, ("", 0))[0] in _SETTLED:
                    continue
                self._note(self.requests.state(task.task_id, patient=patient), is_new=not patient)
                self.taken += 1
                self._say(f"{number:,} of {len(tasks):,} tasks asked about")
        finally:
            write_states(self.folder, self._states)

    def _note(self, made: Made, *, is_new: bool) -> None:
        for task in made.tasks:
            if task.state is not None and not (is_new and task.state == "NOT_FOUND"):  # it may be some seconds away
                self._states[task.task_id] = task.state, int(time.time())

    def _say(self, words: str) -> None:
        if time.monotonic() - self._said >= _SAY_EVERY:
            self._said = time.monotonic()
            print(words, file=sys.stderr, flush=True)


class Sending(Carried):
    """Asks for the deletion of what is left, then for the states."""

    def carry_out(self) -> None:
        ledger = DeletionLedger(self.folder, self.lease.generation)
        pieces = pieces_left(self.wanted, self.folder, self.flags)[::-1]
        made: list[Task] = []
        refused_in_a_row = asked = 0
        while pieces:
            first, end = pieces.pop()
            ids = self.wanted.ids[first:end]
            answer = self.requests.delete(ids)
            if answer.verdict is Verdict.SPLIT:
                middle = (first + end) // 2
                pieces += [(middle, end), (first, middle)]
                continue
            words = None if answer.tasks else answer.words
            ledger.add(Asked(first, end - first, digest_of(ids), int(time.time()), answer.tasks, words))
            if words is not None:
                refused_in_a_row += 1
                if refused_in_a_row == _MOST_REFUSED_IN_A_ROW:
                    raise DeliveryStopped(f"{refused_in_a_row} ids in a row were refused one by one: {words}")
                continue
            refused_in_a_row = 0
            self._check_project(answer.tasks, ledger)
            if not made:  # the project shows in the first task's state, if it has not in the answer
                self._look_at_first(answer.tasks, ledger)
                work.check_token(self.folder, self.credentials)
            made += answer.tasks
            self.taken += 1
            asked += len(ids)
            self._say(f"{asked:,} ids asked for, {sum(b - a for a, b in pieces):,} left")
        try:
            self.ask_states(made[1:], patient=False)
        except DeliveryStopped as error:
            self.warning = f"Mixpanel did not tell the states of all tasks ({error}): --deletion_status asks again"

    def _look_at_first(self, tasks: Sequence[Task], ledger: DeletionLedger) -> None:
        try:
            found = self.requests.state(tasks[0].task_id, patient=False)
        except DeliveryStopped as error:
            self.warning = f"Mixpanel did not tell the state of a task ({error}): --deletion_status asks again"
            return
        self._note(found, is_new=True)
        write_states(self.folder, self._states)
        self._check_project(found.tasks, ledger)

    def _check_project(self, tasks: Sequence[Task], ledger: DeletionLedger) -> None:
        for task in tasks:
            if task.project in (None, self.flags.project_id):
                continue
            ledger.add(Asked(0, 0, digest_of(()), int(time.time()), (task,)))
            try:
                self.requests.cancel(task.task_id)
                outcome = "it was cancelled"
                self._note(Made(Verdict.TAKEN, (task._replace(state="REVOKED"),)), is_new=True)
                write_states(self.folder, self._states)
            except DeliveryStopped as error:
                outcome = f"it could not be cancelled ({error}): cancel it at once, until its state is STARTED"
            raise DeliveryStopped(
                f"Mixpanel made the task {task.task_id} in the project {task.project}, which is that of "
                f"MIXPANEL_TOKEN, and not in {self.flags.project_id}: {outcome}; set the right token"
            )


class Looking(Carried):
    """Asks for the states of all tasks."""

    def carry_out(self) -> None:
        self.ask_states([task for one in read_asked(self.folder) for task in one.tasks], patient=True)


def pieces_left(wanted: Wanted, folder: str, flags: argparse.Namespace) -> list[tuple[int, int]]:
    """The stretches of ids that are left to be asked for, a request each."""
    asked, states = read_asked(folder), read_states(folder)
    return list(ranges(len(wanted.ids), done(wanted, asked, states, flags.project_id)[0]))


class LeaseCheck:
    """Holds requests back while the lease is not fresh, and stops them when it is lost."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    def __call__(self) -> None:
        while not self._lease.is_fresh():
            if self._lease.lost.is_set():
                raise DeliveryStopped("another delivery took this one for dead and has taken over")
            time.sleep(0.5)
