"""Carries a delivery through: takes the lease, reads the ledger, sends what is missing, writes the report."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Iterator
from typing import Any

import orjson
import psutil

from pipelines.delivery.flags import kinds
from pipelines.delivery.live import DeliveryLine
from pipelines.delivery.redelivery import Redelivery
from transforms.delivery.answers import of_engage, of_import
from transforms.delivery.batches import PROFILE_UPDATES, cut, engage_body, pieces
from transforms.delivery.client import APP_HOSTS, HOSTS, Connection
from transforms.delivery.credentials import Credentials, is_sealed, seal
from transforms.delivery.delivered_run import DeliveredRun
from transforms.delivery.delivery_page import page
from transforms.delivery.gate import Gate
from transforms.delivery.lease import acquire
from transforms.delivery.ledger import Ledger, State, check_contract, read_state
from transforms.delivery.outcome import sent, totals, write_refused
from transforms.delivery.sender import Batch, Figures, Route, Sender, gzipped
from transforms.errors import (
    CertificateNotTrusted,
    ConnectionFailed,
    DamagedRunFile,
    DeliveryMismatch,
    DeliveryStopped,
    NotAFinishedRun,
    StoreError,
    UsageError,
)
from transforms.stores.store import be_patient, join, store_for

# With the token put into each of 2,000 updates, a request stays below Mixpanel's 1,000,000 bytes.
_UPDATE_BYTES = 900_000
_SEAL = "token.json"
_LAST_SECONDS = 3.0
_NEXT = {
    "delivered": "Check in the project that events and persons are as expected. Nothing is left to be sent.",
    "partial": "Look at the refused records. Fix the cause in Mixpanel, or the records in a copy of refused/, and "
    "send them with --redeliver refused (and --records FILE).",
    "stopped": "Fix what the message says and give the same command again: it resumes where this one stopped.",
    "interrupted": "Give the same command again: it resumes where this one stopped.",
}


def next_step(status: str) -> str:
    """What is to be done after a delivery that ended so."""
    return _NEXT[status]


def ledger_folder(flags: argparse.Namespace, run: DeliveredRun) -> str:
    """Where this run's delivery to this project is written down."""
    if flags.ledger:
        return join(store_for(flags.ledger).absolute(flags.ledger), flags.project_id, run.digest)
    return join(run.folder, "_delivery", flags.project_id)


def contract(run: DeliveredRun, flags: argparse.Namespace) -> dict[str, Any]:
    """What a ledger is begun with: another run, or other batches, must not go on in it."""
    return {
        "run": run.digest, "project_id": flags.project_id, "region": flags.region,
        "endpoint": flags.endpoint is not None, "batch_events": flags.batch_events, "batch_bytes": flags.batch_bytes,
    }  # fmt: skip


def limits(flags: argparse.Namespace) -> dict[str, tuple[int, int]]:
    """By kind the most records and bytes of a batch."""
    return {
        "events": (flags.batch_events, flags.batch_bytes),
        "profiles": (min(PROFILE_UPDATES, flags.batch_events), min(_UPDATE_BYTES, flags.batch_bytes)),
    }


def check_project(flags: argparse.Namespace, credentials: Credentials) -> str | None:
    """Ask once whether the service account knows the project; returns a warning where that cannot be had.

    Raises:
        UsageError: it does not.
    """
    if credentials.service_account is None:
        return None
    connection = Connection(flags.endpoint or APP_HOSTS[flags.region], min(flags.timeout, 10.0))
    try:
        reply = connection.ask("GET", "/api/app/me", None, {"Authorization": credentials.basic()})
        projects = orjson.loads(reply.body)["results"]["projects"] if reply.status == 200 else None
        known = {str(key) for key in projects} if projects is not None else set()
    except (CertificateNotTrusted, ConnectionFailed, ValueError, KeyError, TypeError):
        return "Mixpanel did not say which projects the service account knows"
    finally:
        connection.close()
    if reply.status == 401:
        raise UsageError("Mixpanel refuses the service account: correct MIXPANEL_SERVICE_ACCOUNT (USER:SECRET)")
    if projects is None:
        return f"Mixpanel did not say which projects the service account knows ({reply.status})"
    if flags.project_id not in known:
        raise UsageError(
            f"the service account does not know the project {flags.project_id}: correct --project_id or --region, or "
            "make it an Owner or Admin there"
        )
    return None


def check_token(folder: str, credentials: Credentials, *, keep: bool = True) -> None:
    """Hold the token against the one that the delivery was begun with; ``keep`` seals it where it is the first.

    Raises:
        DeliveryMismatch: it is another.
    """
    if credentials.token is None:
        return
    path = join(folder, _SEAL)
    store = store_for(path)
    sealed = store.get(path)
    if sealed is None:
        if keep:
            store.put_if_absent(path, seal(credentials.token))
    elif not is_sealed(credentials.token, sealed):
        raise DeliveryMismatch(
            "this delivery was begun with another MIXPANEL_TOKEN: set that one, or give a new --ledger, which sends "
            "everything again"
        )


def deliver(
    run: DeliveredRun, flags: argparse.Namespace, credentials: Credentials, command: str
) -> tuple[dict[str, Any], str, BaseException | None]:
    """Send what is missing; returns the report, its folder, and what ended it before its time.

    Raises:
        DeliveryAtWork, DeliveryMismatch, UsageError: nothing was started.
    """
    folder = ledger_folder(flags, run)
    lease = acquire(folder)
    try:
        check_contract(folder, contract(run, flags), begin=True)
        check_token(folder, credentials)
        before = read_state(folder)
        again = Redelivery(folder, before, flags.records) if flags.redeliver else None
        if again is not None:
            again.check()
        started = time.monotonic()
        figures, ended = _send(run, flags, credentials, folder, lease, before, again)
        return write_report(run, flags, folder, command, figures, time.monotonic() - started, ended), folder, ended
    finally:
        lease.release()


def _send(
    run: DeliveredRun, flags: argparse.Namespace, credentials: Credentials, folder: str, lease: Any, before: State,
    again: Redelivery | None,
) -> tuple[Figures, BaseException | None]:  # fmt: skip
    stopping: list[Sender] = []
    ledger = Ledger(folder, lease.generation, lambda error: stopping[0].stop(DeliveryStopped(f"the ledger: {error}")))
    sender = Sender(
        lambda: Connection(flags.endpoint or HOSTS[flags.region], flags.timeout),
        _routes(flags, credentials),
        Gate(flags.max_events_per_second, time.monotonic),
        ledger,
        lease.is_fresh,
        concurrency=flags.concurrency,
        give_up_after=flags.give_up_after,
        max_refused_share=flags.max_refused_share,
        veil=credentials.veil,
    )
    stopping.append(sender)
    ended: BaseException | None = None
    live = DeliveryLine(sender, {kind: run.rows(kind) for kind in kinds(flags)}, totals(run, before))
    live.start()
    try:
        alone = True
        for kind in kinds(flags):
            most = limits(flags)[kind]
            for batch in _batches(run, kind, most, before) if again is None else again.batches(kind, *most):
                if lease.lost.is_set():
                    raise DeliveryStopped("another delivery took this one for dead and has taken over")
                sender.submit(batch)
                if alone:  # wrong credentials show before much is sent
                    sender.wait()
                    alone = False
            sender.wait()
    except (DeliveryStopped, NotAFinishedRun, DamagedRunFile, StoreError, KeyboardInterrupt) as error:
        ended = error
        if isinstance(error, KeyboardInterrupt):
            be_patient(_LAST_SECONDS)
        sender.stop(DeliveryStopped("over"))
    finally:
        live.stop()
        with contextlib.suppress(KeyboardInterrupt):
            sender.close(2.0 if isinstance(ended, KeyboardInterrupt) else 5.0)
            ledger.close()
    return sender.figures, ended


def _routes(flags: argparse.Namespace, credentials: Credentials) -> dict[str, Route]:
    project = f"&project_id={flags.project_id}" if credentials.service_account is not None else ""
    routes = {
        "events": Route(
            f"/import?strict=1{project}",
            {
                "Authorization": credentials.basic(), "Content-Type": "application/x-ndjson",
                "Content-Encoding": "gzip", "Accept": "application/json",
            },
            gzipped,
            of_import,
        )
    }  # fmt: skip
    if credentials.token is not None:
        token = credentials.token
        routes["profiles"] = Route(
            "/engage?strict=1&verbose=1&ip=0",
            {"Content-Type": "application/json", "Accept": "application/json"},
            lambda lines: engage_body(lines, token.reveal()),
            of_engage,
        )
    return routes


def _batches(run: DeliveredRun, kind: str, most: tuple[int, int], before: State) -> Iterator[Batch]:
    """The batches of a kind that the ledger does not have, in order."""
    for file in run.files[kind]:
        key = kind, file.path
        if before.rows.get(key, 0) == file.rows:
            continue
        done, rows = before.done.get(key, 0), 0
        for batch in cut(pieces(run.read(file), file.path), file.path, *most):
            rows += batch.rows
            if not done >> batch.ordinal & 1:
                numbers = range(batch.first_line, batch.first_line + batch.rows)
                yield Batch(kind, file.path, batch.ordinal, batch.lines, numbers)
        if rows != file.rows:
            raise DamagedRunFile(f"{file.path} has {rows:,} lines, and {file.rows:,} by the manifest")


def write_report(
    run: DeliveredRun, flags: argparse.Namespace, folder: str, command: str, figures: Figures, seconds: float,
    ended: BaseException | None,
) -> dict[str, Any]:  # fmt: skip
    """Write what became of all records, and what is refused as things stand; returns the report."""
    state = read_state(folder)
    found = totals(run, state)
    messages, examples = write_refused(folder, state)
    if isinstance(ended, KeyboardInterrupt):
        status = "interrupted"
    elif ended is not None:
        status = "stopped"
    else:
        left = any(found[kind]["refused"] + found[kind]["not_sent"] for kind in kinds(flags))
        status = "partial" if left else "delivered"
    report = {
        "status": status,
        "message": str(ended or ""),
        "project_id": flags.project_id,
        "region": flags.region,
        "run": run.folder,
        "run_digest": run.digest,
        "command": command,
        "flags": dict(sorted(vars(flags).items())),
        **found,
        **sent(figures, seconds),
        "messages": messages,
        "peak_memory_bytes": _peak_memory(),
        "deletions": (read_report(folder) or {}).get("deletions"),
    }
    put_report(folder, report, examples)
    return report


def read_report(folder: str) -> dict[str, Any] | None:
    """The report that is there; None where there is none."""
    content = store_for(folder).get(join(folder, "report.json"))
    return orjson.loads(content) if content else None


def put_report(folder: str, report: dict[str, Any], examples: list[dict[str, Any]]) -> None:
    """Replace ``report.json`` and ``report.html``; ``examples`` are refused records."""
    store = store_for(folder)
    store.put(join(folder, "report.json"), orjson.dumps(report, option=orjson.OPT_INDENT_2))
    html = page(report, examples, next_step(report["status"]))
    store.put(join(folder, "report.html"), html.encode("utf-8", "replace"))


def _peak_memory() -> int:
    """Bytes that this process held at most; ``ru_maxrss`` would count those of the one that started it."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return int(psutil.Process().memory_info().rss)
