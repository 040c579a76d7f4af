"""The command: ``python -m pipelines.currents_to_mixpanel --input PREFIX[,PREFIX…] --output DIR [flags]``.

Exit statuses are those of ``exit_status``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import json
import logging
import os
import shlex
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any

from pipelines import PROGRAM
from pipelines.command_line import options as command_line
from pipelines.command_line.exit_status import Status
from pipelines.command_line.failures import cause, failed, needs_whole_rows
from pipelines.command_line.flags import ANY
from pipelines.command_line.interruption import carry_out
from pipelines.command_line.last_words import complain, finish, show
from pipelines.command_line.options import Options
from pipelines.command_line.runner_options import DIRECT
from pipelines.command_line.runners import check_answers
from pipelines.command_line.summary import counts, lines
from pipelines.launch.light_imports import light_imports
from pipelines.launch.waiting_workers import WaitingWorkers, default_workers
from pipelines.report import PUBLISHED, SUBMITTED, Report
from transforms.currents.listing import Export, survey
from transforms.errors import (
    InputError,
    JobUnreachable,
    StoreError,
    UsageError,
)
from transforms.identity.score import persons_of
from transforms.output.claims import begin_again, claim, published_by_equal, release
from transforms.output.folder import MANIFEST, inside
from transforms.output.plan_files import Work, hand_out, is_swept, paths_below
from transforms.output.publication import tidy
from transforms.report.figures import RunContext
from transforms.settings import Plan, Settings
from transforms.stores.store import be_patient, join, store_for

_LAST_SECONDS = 5.0  # that an interrupted run gives a store which does not answer
_TOO_LATE = "interrupted, but {} was published already"
FINISHING_SECONDS = 60.0  # that an equal run gets between its sweep and its manifest


def main(argv: Sequence[str], *, own_process: bool = False) -> Status:
    """Run the command; returns its exit status. In a process of its own, a local run leaves Beam's clients out, which
    another run in this process might need.
    """
    verbose = "--verbose" in argv
    told = counts(None)
    end = functools.partial(finish, PROGRAM, argv)
    if not verbose:
        logging.disable(logging.CRITICAL)  # Beam logs from its import on
    report = None
    quotes = True  # of values, in words that are not this program's own
    try:
        options = command_line.parse(argv)
        quotes = not (options.settings.drop or options.settings.hash)
        told["output"] = options.output
        report = run(options, own_process=own_process)
        if report.status == SUBMITTED:
            show(["nothing is published yet: the job writes _manifest.json when it has finished, as its last step"])
            return end(Status.DONE, told, word=report.status)
        told |= {**counts(report.figures), "output": options.output}
        _show_summary(report.figures, options.output)
        if report.incomplete:
            return end(Status.LOOK, told, word=report.status, message=f"published, but {report.incomplete}")
        return end(Status.DONE, told, word=report.status)
    except KeyboardInterrupt as error:
        if report is not None and report.status == PUBLISHED:
            return end(Status.DONE, told, word=report.status, message=_TOO_LATE.format(options.output))
        interrupted = "interrupted: nothing is published; the same command finishes the run"
        return end(Status.INTERRUPTED, told, message=str(error) or interrupted)
    except SystemExit:  # --help
        return end(Status.DONE, told, word="help")
    except Exception as error:
        status = Status.of(error)
        if verbose and status == Status.FAILED:
            traceback.print_exception(error) if quotes else traceback.print_tb(error.__traceback__)
        return end(status, told, message=cause(error, quotes=quotes))
    finally:
        logging.disable(logging.NOTSET)


def _show_summary(report: dict[str, Any], output: str) -> None:
    try:
        show(lines(report, output))
    except Exception as error:  # what is published stays so, whatever a terminal or a pipe makes of the words
        complain(PROGRAM, f"{output} is published, but its summary cannot be shown: {type(error).__name__}: {error}")


def run(options: Options, *, own_process: bool = False) -> Report:
    """Run the job, as the command does, and return what it published; ``own_process`` as in ``main``.

    Raises:
        CurrentsToMixpanelError: it was not begun, or failed; the message says why and what to do.
        KeyboardInterrupt: it was interrupted; the same options finish it.
    """
    be_patient()
    with contextlib.closing(WaitingWorkers(verbose=options.verbose)) as waiting:
        return Report(options.output, _run(options, waiting, own_process))


def _run(options: Options, waiting: WaitingWorkers, own_process: bool) -> dict[str, Any]:
    """The report of the run; empty where it was only submitted."""
    started = time.time()
    check_answers(options.submission)
    if (source := inside(options.output, options.inputs)) is not None:
        raise UsageError(f"--output {options.output} lies in --input {source}: name a folder outside of it")
    if options.truth is not None:
        _check_truth(options.truth)
    if options.submission.runner == DIRECT:
        waiting.begin(options.workers or 1)
    exports = {options.settings.read_until: _survey(options, options.settings.read_until)}
    if options.submission.runner == DIRECT and not options.workers:
        waiting.begin(default_workers(exports[options.settings.read_until].bytes))

    def digest_until(hour: int | None) -> str:
        """Of the files of an equal run that began in another hour."""
        try:
            exports[hour] = exports.get(hour) or _survey(options, hour)
        except (InputError, UsageError):
            return ""  # it was not equal
        return exports[hour].digest

    digest, settings = claim(
        options.output, digest_until(options.settings.read_until), options.settings, _command(options),
        now_given=options.now_given, overwrite=options.overwrite, digest_until=digest_until,
    )  # fmt: skip
    export = exports[settings.read_until]
    plan = Plan.for_input(export.units, export.files, export.bytes, options.read_concurrency)
    context = RunContext(
        output=store_for(options.output).absolute(options.output),
        digest=digest,
        settings=settings,
        plan=plan,
        command=_command(options),
        flags={**command_line.shown_flags(options), "now": settings.now},
        versions=_versions(),
        started=started,
        launcher_process=os.getpid() if options.submission.local else 0,
        listing=export.left_out.figures(settings.read_until),
        coverage=export.coverage.figures(),
    )
    work: Work = ()
    try:
        work = hand_out(export, options.output)
        if not _work(work, context, options, waiting, own_process):
            return {}
    except JobUnreachable as error:
        if not _is_published(options.output, digest):
            raise failed(error, quotes=not (options.settings.drop or options.settings.hash)) from error
    except BaseException as error:
        is_interrupted = isinstance(error, KeyboardInterrupt)
        if is_interrupted:
            be_patient(_LAST_SECONDS)
        if not _is_published(options.output, digest, () if is_interrupted else work):
            with contextlib.suppress(StoreError):
                release(options.output, digest)
            if isinstance(error, Exception):
                raise failed(error, quotes=not (options.settings.drop or options.settings.hash)) from error
            # A thread of the job may have put the manifest meanwhile.
            if not _is_published(options.output, digest):
                raise
        if is_interrupted:
            complain(PROGRAM, _TOO_LATE.format(options.output))
    finally:
        with contextlib.suppress(StoreError):  # what is published is whole, and a failure has words of its own
            tidy(options.output)
    try:
        return _published_report(options.output, digest)
    except KeyboardInterrupt:  # too late: it is published
        be_patient(_LAST_SECONDS)
        return _published_report(options.output, digest)


def _published_report(output: str, digest: str) -> dict[str, Any]:
    report = store_for(output).get(join(output, "report.json"))
    if report is None or not published_by_equal(output, digest):
        raise StoreError(
            f"{output} has no {MANIFEST} of this run although the job ended: something removes its files, or the job "
            "did not write it"
        )
    published: dict[str, Any] = json.loads(report)
    return published


def _survey(options: Options, read_until: int | None) -> Export:
    export = survey(
        options.inputs, since=options.since, until=options.until, read_until=read_until, skip=options.skip,
        skip_archived=options.skip_archived,
    )  # fmt: skip
    if export.event_types is not None:  # else a type may stand in a file's schema alone
        command_line.check_event_types(options.settings.event_types, sorted(export.event_types))
    return export


def _work(units: Work, context: RunContext, options: Options, waiting: WaitingWorkers, own_process: bool) -> bool:
    """Run the job to its end; False where it was only submitted."""
    # Beam takes two seconds to import, and a mistyped flag none to refuse.
    if options.submission.runner != DIRECT:
        from pipelines.launch.remote import run_elsewhere

        return run_elsewhere(units, context, options)
    with light_imports() if own_process else contextlib.nullcontext():
        from pipelines.launch.local import run_locally

    try:
        run_locally(units, context, options, waiting)
    except Exception as error:
        if not needs_whole_rows(error):
            raise
        if published_by_equal(context.output, context.digest):
            return True  # a run beside this one was made again already, and its files are not to be swept
        # Damage that only whole rows show: who is who is found out again, from whole rows alone.
        begin_again(context.output, context.digest, paths_below(units, context.output))
        whole = dataclasses.replace(context.settings, read_whole_rows=True)
        run_locally(units, dataclasses.replace(context, settings=whole), options, waiting)
    return True


def _is_published(output: str, digest: str, work: Work = ()) -> bool:
    """Whether the folder holds this very run although it failed here: an equal one, beside it, has published it, or is
    about to, which shows in that it has swept the plan.
    """
    try:
        until = time.monotonic() + FINISHING_SECONDS if is_swept(work) else 0.0
        while time.monotonic() < until and not published_by_equal(output, digest):
            time.sleep(0.5)
        return published_by_equal(output, digest)
    except StoreError:
        return False


def _check_truth(path: str) -> None:
    content = store_for(path).get(path)
    if content is None:
        raise UsageError(f"--truth {path} is not a file")
    try:
        persons_of(json.loads(content))
    except ValueError as error:
        raise UsageError(
            f"--truth {path} ({error}): give a JSON object of profile to person, such as a sample export's truth.json"
        ) from None


def _command(options: Options) -> str:
    """The command as it would be typed, of the flags that shape the output."""
    words = ["currents-to-mixpanel", "--input", ",".join(options.inputs)]
    plain = Settings(now=options.settings.now)
    for name, value in vars(options.settings).items():
        if name in ("read_whole_rows", "read_until", "hash_key_seal", "suppress_digest") or (
            value == getattr(plain, name) and not (name == "now" and options.now_given)
        ):
            continue
        words.append(f"--{name}")
        if value is not True:
            words.append(",".join(value) if isinstance(value, tuple) else ANY if value is None else str(value))
    for name in ("since", "until"):
        if getattr(options, name) is not None:
            words += [f"--{name}", str(getattr(options, name))]
    for name in options.skip:
        words += ["--skip", name]
    if options.skip_archived:
        words.append("--skip_archived")
    return shlex.join(words)


def _versions() -> dict[str, str]:
    names = (
        "currents-to-mixpanel", "apache-beam", "datafusion", "pyarrow", "arro3-io", "isal", "orjson", "scipy", "numpy",
    )  # fmt: skip
    found = {"python": sys.version.split()[0]}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed as a package"
    return found


def cli() -> None:
    """The installed command."""
    carry_out(functools.partial(main, own_process=True), PROGRAM, sys.argv[1:], counts(None))


if __name__ == "__main__":
    cli()
