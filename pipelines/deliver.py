"""The command ``python -m pipelines.deliver --input RUN --project_id N --region us|eu|in [flags]``.

Exit statuses are those of ``exit_status``.
"""

from __future__ import annotations

import argparse
import functools
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from pipelines.command_line.exit_status import Status
from pipelines.command_line.failures import fault
from pipelines.command_line.interruption import carry_out
from pipelines.command_line.last_words import complain, finish, show
from pipelines.delivery import flags as command_line
from pipelines.delivery import work
from pipelines.delivery.outlook import outlook
from transforms.delivery.credentials import from_environment
from transforms.delivery.delivered_run import DeliveredRun, open_run
from transforms.delivery.forecast import by_month
from transforms.errors import DeliveryStopped, LimitExceeded, NotAFinishedRun, RunError, UsageError, UserError
from transforms.report.markup import duration, size
from transforms.stores.store import be_patient, join

PROGRAM = "deliver"
NOT_KNOWN: dict[str, Any] = {"events": None, "profiles": None}
"""The counts of ``--json`` where the ledger was not read."""


def main(argv: Sequence[str]) -> Status:
    """Run the command; returns its exit status."""
    end = functools.partial(finish, PROGRAM, argv)
    be_patient()
    try:
        return end(*_run(command_line.parse(argv), list(argv)))
    except (UserError, LimitExceeded) as error:
        return end(Status.of(error), NOT_KNOWN, message=str(error))
    except KeyboardInterrupt:
        return end(Status.INTERRUPTED, NOT_KNOWN, message="interrupted: the same command resumes")
    except SystemExit:  # --help
        return end(Status.DONE, NOT_KNOWN, word="help")
    except (RunError, OSError) as error:
        return end(Status.FAILED, NOT_KNOWN, message=f"{error}: the same command resumes")
    except Exception as error:
        return end(Status.FAILED, NOT_KNOWN, message=fault(error))


def _run(flags: argparse.Namespace, argv: list[str]) -> tuple[Status, dict[str, Any]]:
    run = open_run(flags.input)
    if flags.send_deletions or flags.deletion_status:
        return _deletions(run, flags, shlex.join(["deliver", *argv]))
    if flags.dry_run:
        return Status.DONE, _dry_run(run, flags)
    credentials = from_environment(
        os.environ, token_only=flags.token_only, profiles="profiles" in command_line.kinds(flags)
    )
    if "events" in command_line.kinds(flags) and not flags.untagged and not (run.report.get("flags") or {}).get("tag"):
        raise UsageError(
            "the run has no --tag, by which alone its events can be told from the connector's later: run the job with "
            "--tag, or pass --untagged"
        )
    if not flags.yes:
        _ask(run, flags)
    warning = work.check_project(flags, credentials)
    if warning:
        print(f"look at: {warning}", file=sys.stderr)
    report, folder, ended = work.deliver(run, flags, credentials, shlex.join(["deliver", *argv]))
    show(_six_lines(report, folder))
    told = {**report, "ledger": folder}
    if isinstance(ended, KeyboardInterrupt):
        return _say("interrupted: the same command resumes", Status.INTERRUPTED), told
    if ended is not None:
        nothing_taken = not any(
            report[kind]["acknowledged"] + report[kind]["refused"] for kind in ("events", "profiles")
        )
        if isinstance(ended, DeliveryStopped) and ended.unauthorised and nothing_taken:
            words = f"Mixpanel refuses the credentials ({ended}): correct them, nothing was taken"
            return _say(words, Status.REFUSED), told
        if isinstance(ended, NotAFinishedRun) and nothing_taken:
            return _say(str(ended), Status.REFUSED), told
        return _say(f"stopped: {ended}; fix the cause, and the same command resumes", Status.FAILED), told
    refused = sum(report[kind]["refused"] for kind in command_line.kinds(flags))
    answered = refused + sum(report[kind]["acknowledged"] for kind in command_line.kinds(flags))
    if refused > flags.refused_ok * answered:
        words = (
            f"{refused:,} records were refused: look at {join(folder, 'refused')}; --redeliver refused sends them again"
        )
        return _say(words, Status.LOOK), {**told, "message": words}
    not_sent = sum(report[kind]["not_sent"] for kind in command_line.kinds(flags))
    if not_sent:
        words = f"{not_sent:,} records are not sent yet: run the command without --redeliver"
        return _say(words, Status.LOOK), {**told, "message": words}
    return Status.DONE, told


def _deletions(run: DeliveredRun, flags: argparse.Namespace, command: str) -> tuple[Status, dict[str, Any]]:
    from pipelines.delivery import deletions  # which needs Arrow; a delivery starts without it in half of the time

    if flags.dry_run:
        outcome = deletions.forecast(run, flags)
    else:
        outcome = (deletions.send if flags.send_deletions else deletions.status)(run, flags, command)
    show(outcome.lines)
    status, words = outcome.status()
    if not words:
        return status, outcome.told
    return _say(words, status), {"message": words, **outcome.told}


def _dry_run(run: DeliveredRun, flags: argparse.Namespace) -> dict[str, Any]:
    """Say what would be sent, and send nothing; needs no credentials."""
    told = {"status": "dry_run", **outlook(run, flags)}
    told["months"] = by_month(run) if "events" in command_line.kinds(flags) else {}
    lines = _summary(told, run, flags)
    for month, counts in told["months"].items():
        lines.append(
            f"{month}    {counts['events']:,} events of {counts['persons']:,} persons; without names that are free of "
            f"MTU charges {counts['events_not_free']:,} of {counts['persons_not_free']:,}"
        )
    show(lines)
    return told


def _summary(told: dict[str, Any], run: DeliveredRun, flags: argparse.Namespace) -> list[str]:
    identity = run.report.get("identity") or {}
    through = (identity.get("profiles_known_through") or {}).get("device", 0)
    lines = [
        f"to send    {told[kind]['to_send']:,} {kind} of {told[kind]['in_run']:,} "
        f"({told[kind]['acknowledged']:,} acknowledged and {told[kind]['refused']:,} refused before) in "
        f"{told[kind]['requests']:,} requests"
        for kind in command_line.kinds(flags)
    ]
    lines += [
        f"size       {size(told['bytes'])} before compression, {duration(told['seconds_at_the_limits'])} at the limits",
        *_where(flags),
        f"devices    --device_links {identity.get('device_links', 'unknown')}, {through:,} profiles joined through "
        "devices alone",
    ]
    for name, persons in told.get("attributes", {}).items():
        lines.append(f"attribute  {name} of {persons:,} persons")
    return lines


def _where(flags: argparse.Namespace) -> list[str]:
    """Which project gets what: the token's own gets all that the token authorises."""
    unnamed = f"to the project of MIXPANEL_TOKEN, whose name Mixpanel does not give, region {flags.region}"
    named = f"{flags.project_id}, region {flags.region}"
    lines = [f"project    {unnamed if flags.token_only or flags.only else named}"]
    if flags.with_profiles and not flags.token_only and not flags.only:
        lines.append(f"profiles   {unnamed}")
    return lines


def _ask(run: DeliveredRun, flags: argparse.Namespace) -> None:
    """Ask a person once.

    Raises:
        UsageError: there is none, or it is not wanted.
    """
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on: look at it with --dry_run, then pass --yes")
    print("\n".join(_summary(outlook(run, flags), run, flags)), file=sys.stderr)
    print("Merges in Mixpanel cannot be undone. Send this? [yes/no] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("nothing was sent")


def _six_lines(report: dict[str, Any], folder: str) -> list[str]:
    lines = [
        f"{kind:<10} {report[kind]['acknowledged']:,} of {report[kind]['in_run']:,} acknowledged, "
        f"{report[kind]['refused']:,} refused, {report[kind]['not_sent']:,} not sent"
        for kind in ("events", "profiles")
    ]
    again, split = sum(report["retries"].values()), sum(report["splits"].values())
    return [
        *lines,
        f"requests   {sum(report['requests'].values()):,}, {again:,} sent again, {split:,} split",
        f"speed      {report['events_per_second']:,.0f} events a second, {duration(report['seconds'])}",
        f"status     {report['status']}: project {report['project_id']}, region {report['region']}",
        f"report     {join(folder, 'report.html')}",
    ]


def _say(message: str, status: Status) -> Status:
    complain(PROGRAM, message)
    return status


def cli() -> None:
    """The command: ends at once, whatever its connections wait for."""
    carry_out(main, PROGRAM, sys.argv[1:], NOT_KNOWN, without_waiting=frozenset(Status))


if __name__ == "__main__":
    cli()
