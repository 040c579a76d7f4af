"""Carries deletions through: refuses what is not sure, asks a person, asks Mixpanel, writes the report."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from pipelines.command_line.exit_status import Status
from pipelines.delivery import work
from pipelines.delivery.deletion_work import Carried, LeaseCheck, Looking, Sending, pieces_left
from transforms.delivery.client import APP_HOSTS, Connection
from transforms.delivery.credentials import Credentials, for_deletions
from transforms.delivery.deletions.ledger import (
    UNDECIDED,
    read_asked,
    read_states,
    told,
)
from transforms.delivery.deletions.requests import SECONDS_APART, DeletionRequests
from transforms.delivery.deletions.wanted import (
    Wanted,
    not_delivered,
    objections,
    select,
    unconfirmed,
    undecided_lines,
)
from transforms.delivery.delivered_run import DeliveredRun
from transforms.delivery.lease import acquire
from transforms.delivery.ledger import check_contract, read_state
from transforms.delivery.outcome import examples_of_refused, totals
from transforms.delivery.sender import Figures
from transforms.errors import DamagedRunFile, DeliveryStopped, StoreError, TooManyDeletions, UsageError
from transforms.mixpanel.ndjson import GzipLines
from transforms.report.markup import duration
from transforms.stores.store import be_patient, join, store_for

_LAST_SECONDS = 3.0


class Outcome(NamedTuple):
    """How it ended: lines for the terminal, the JSON object, and what ended it before its time."""

    lines: list[str]
    told: dict[str, Any]
    ended: BaseException | None = None

    def status(self) -> tuple[Status, str]:
        """The exit status, and the line that says what to do, where something is to be done."""
        if isinstance(self.ended, KeyboardInterrupt):
            return Status.INTERRUPTED, "interrupted: the same command resumes"
        if isinstance(self.ended, UsageError):
            return Status.REFUSED, str(self.ended)
        if self.ended is not None:
            return Status.FAILED, f"stopped: {self.ended}; fix the cause, and the same command resumes"
        found = self.told["deletions"]
        if refused := found.get("refused"):
            return Status.LOOK, f"{refused:,} ids were refused: look at the report; the same command asks again"
        if bad := found.get("ended_badly"):
            words = "tasks failed, were cancelled or are not known: their persons are still there; look at the report"
            return Status.LOOK, f"{bad:,} {words}; --send_deletions asks again for those that failed"
        return Status.DONE, ""


def forecast(run: DeliveredRun, flags: argparse.Namespace) -> Outcome:
    """What would be asked for, and what would forbid it; asks nobody and writes nothing."""
    _check_ledger(run, flags, begin=False)
    wanted = _select(run)
    folder = work.ledger_folder(flags, run)
    left, requests = _left(wanted, folder, flags)
    forbidden = list(_objections(run, wanted, flags, folder))
    if flags.delete_at_most is not None and len(wanted.ids) > flags.delete_at_most:
        forbidden.append(_limit(wanted, flags))
    counts = {
        "in_run": wanted.lines, "ids": len(wanted.ids), "asked": len(wanted.ids) - left, "to_ask": left,
        "requests": requests, "seconds": max(requests - 1, 0) * SECONDS_APART, "undecided": wanted.undecided,
        "forbidden": forbidden,
    }  # fmt: skip
    lines = _summary(run, wanted, flags, left, requests, "deletions/ of the run")
    told_ = {"status": "dry_run", "deletions": counts, **totals(run, read_state(folder))}
    return Outcome([*lines, *(f"forbidden  {one}" for one in forbidden)], told_)


def send(run: DeliveredRun, flags: argparse.Namespace, command: str) -> Outcome:
    """Ask for what is left to be deleted.

    Raises:
        TooManyDeletions, UsageError, CredentialsError, DeliveryAtWork, DeliveryMismatch: nothing was asked for.
    """
    _check_ledger(run, flags, begin=False)
    wanted = _select(run)
    folder = work.ledger_folder(flags, run)
    if flags.delete_at_most is not None and len(wanted.ids) > flags.delete_at_most:
        raise TooManyDeletions(_limit(wanted, flags))
    credentials = for_deletions(os.environ)
    left, requests = _left(wanted, folder, flags)
    for objection in _objections(run, wanted, flags, folder) if left or not wanted.ids else ():
        raise UsageError(objection)
    if left and flags.delete_at_most is None:
        _confirm(_summary(run, wanted, flags, left, requests, "deletions/ of the run"), left)
    return _with_lease(run, flags, command, credentials, wanted, Sending)


def status(run: DeliveredRun, flags: argparse.Namespace, command: str) -> Outcome:
    """Ask for the states of the tasks that were made before.

    Raises:
        UsageError, CredentialsError, DeliveryAtWork, DeliveryMismatch: nothing was asked.
    """
    _check_ledger(run, flags, begin=False)
    credentials = for_deletions(os.environ)
    if not any(one.tasks for one in read_asked(work.ledger_folder(flags, run))):
        raise UsageError("no deletion of this run was asked for in this project: --send_deletions does that")
    return _with_lease(run, flags, command, credentials, _select(run), Looking)


def _with_lease(
    run: DeliveredRun, flags: argparse.Namespace, command: str, credentials: Credentials, wanted: Wanted,
    kind: Callable[..., Carried],
) -> Outcome:  # fmt: skip
    folder = work.ledger_folder(flags, run)
    lease = acquire(folder)
    try:
        _check_ledger(run, flags, begin=True)
        work.check_token(folder, credentials, keep=False)
        assert credentials.token is not None
        assert credentials.gdpr_token is not None
        connection = Connection(flags.endpoint or APP_HOSTS[flags.region], flags.timeout)
        requests = DeletionRequests(
            connection, credentials.token.reveal(), credentials.gdpr_token.reveal(), LeaseCheck(lease),
            flags.give_up_after, credentials.veil,
        )  # fmt: skip
        carried = kind(wanted, flags, folder, lease, credentials, requests)
        ended: BaseException | None = None
        try:
            carried.carry_out()
        except (DeliveryStopped, StoreError, KeyboardInterrupt) as error:
            ended = error
            if isinstance(error, KeyboardInterrupt):
                be_patient(_LAST_SECONDS)
        finally:
            connection.close()
        found = _report(run, flags, folder, command, wanted, ended, carried.warning)
        if carried.taken == 0 and isinstance(ended, DeliveryStopped) and ended.unauthorised:
            ended = UsageError(f"Mixpanel refuses the credentials ({ended}): correct them, nothing was asked for")
        told_ = {"status": found["status"], "deletions": found, **totals(run, read_state(folder)),
                 "requests": dict(requests.requests), "project_id": flags.project_id, "region": flags.region,
                 "ledger": folder}  # fmt: skip
        return Outcome(_last_lines(found, flags, folder, carried.warning), told_, ended)
    finally:
        lease.release()


def _select(run: DeliveredRun) -> Wanted:
    try:
        return select(run)
    except DamagedRunFile as error:
        raise UsageError(f"{error}: run the job again into a new folder, and deliver that") from None


def _check_ledger(run: DeliveredRun, flags: argparse.Namespace, *, begin: bool) -> None:
    folder = work.ledger_folder(flags, run)
    contract = work.contract(run, flags)
    if read_state(folder).rows:  # how batches were cut is nothing to deletions
        contract = {name: value for name, value in contract.items() if not name.startswith("batch_")}
    check_contract(folder, contract, begin=begin)


def _objections(run: DeliveredRun, wanted: Wanted, flags: argparse.Namespace, folder: str) -> list[str]:
    missing = None
    if flags.confirmed is not None:
        content = store_for(flags.confirmed).get(flags.confirmed)
        if content is None:
            raise UsageError(f"--confirmed {flags.confirmed} is not a file")
        try:
            missing = unconfirmed(wanted.ids, content, flags.confirmed)
        except DamagedRunFile as error:
            raise UsageError(f"--confirmed {error}") from None
    state = read_state(folder)
    undelivered = not_delivered(totals(run, state), state, flags.refused_ok)
    found = [f"{undelivered} (project {flags.project_id}); deletions come after"] if undelivered else []
    return [*found, *objections(run, wanted, missing, time.time(), stale=flags.stale_deletions)]


def _limit(wanted: Wanted, flags: argparse.Namespace) -> str:
    return f"{len(wanted.ids):,} ids are to be deleted, more than --delete_at_most {flags.delete_at_most}: look at them"


def _left(wanted: Wanted, folder: str, flags: argparse.Namespace) -> tuple[int, int]:
    pieces = pieces_left(wanted, folder, flags)
    return sum(end - first for first, end in pieces), len(pieces)


def _summary(
    run: DeliveredRun, wanted: Wanted, flags: argparse.Namespace, left: int, requests: int, where: str
) -> list[str]:
    ids = len(wanted.ids)
    return [
        f"to delete  {left:,} ids of {ids:,} ({ids - left:,} asked for before) in {requests:,} requests, about "
        f"{duration(2 * requests * SECONDS_APART)}",
        f"undecided  {wanted.undecided:,} of {wanted.lines:,} lines need a person's decision: {where}",
        f"project    that of MIXPANEL_TOKEN, which Mixpanel does not name; {flags.project_id} is meant, region "
        f"{flags.region}",
        f"run        {run.folder}",
        "what       all events and the profile of each id, within 30 days; it can be cancelled until Mixpanel begins",
    ]


def _confirm(lines: list[str], left: int) -> None:
    """Have a person type the number of ids.

    Raises:
        UsageError: there is nobody, or another number was typed.
    """
    if not sys.stdin.isatty():
        raise UsageError(
            f"there is no terminal to ask on (and --yes does not answer for deletions): look at the {left:,} ids with "
            "--dry_run, then pass --delete_at_most N"
        )
    print("\n".join(lines), file=sys.stderr)
    print("Type the number of ids to have them deleted: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != str(left):
        raise UsageError("that is not the number of ids: nothing was asked for")


def _report(
    run: DeliveredRun, flags: argparse.Namespace, folder: str, command: str, wanted: Wanted,
    ended: BaseException | None, warning: str,
) -> dict[str, Any]:  # fmt: skip
    path = join(folder, "deletions", UNDECIDED) if wanted.undecided else None
    if path is not None and store_for(path).entry(path) is None:
        lines = GzipLines()
        for line in undecided_lines(run, wanted.ids):
            lines.add(line, 1)
        store_for(path).put(path, lines.finish())
    found = told(wanted, read_asked(folder), read_states(folder), flags.project_id, path)
    if isinstance(ended, KeyboardInterrupt):
        found["status"] = "interrupted"
    elif ended is not None:
        found |= {"status": "stopped", "message": str(ended)}
    elif warning:
        found["message"] = warning
    report = work.read_report(folder) or work.write_report(run, flags, folder, command, Figures(), 0.0, None)
    report["deletions"] = {**found, "command": command}
    work.put_report(folder, report, examples_of_refused(folder, read_state(folder)))
    return found


def _last_lines(found: dict[str, Any], flags: argparse.Namespace, folder: str, warning: str) -> list[str]:
    states = ", ".join(f"{count:,} {state}" for state, count in found["states"].items()) or "none"
    lines = [
        f"deletions  {found['asked']:,} of {found['ids']:,} ids asked for, {found['refused']:,} refused, "
        f"{found['not_asked']:,} not asked for",
        f"undecided  {found['undecided']:,} of {found['in_run']:,} lines need a person's decision"
        + (f": {found['undecided_file']}" if found["undecided"] else ""),
        f"tasks      {states}",
        f"status     {found['status']}: project {flags.project_id}, region {flags.region}",
        f"report     {join(folder, 'report.html')}",
    ]
    return [*lines, *([f"look at    {warning}"] if warning else [])]
