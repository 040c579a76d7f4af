"""What a delivery, or a redelivery, would send now: for ``--dry_run``, and for the question before anything is sent."""

from __future__ import annotations

import argparse
from typing import Any

from pipelines.delivery.flags import kinds
from pipelines.delivery.redelivery import Redelivery
from pipelines.delivery.work import contract, ledger_folder, limits
from transforms.delivery.delivered_run import DeliveredRun
from transforms.delivery.forecast import attributes, forecast
from transforms.delivery.gate import BYTES_A_SECOND
from transforms.delivery.ledger import State, check_contract, read_state


def outlook(run: DeliveredRun, flags: argparse.Namespace) -> dict[str, Any]:
    """The figures of ``forecast`` and, where profiles are to be sent, their attributes; writes nothing.

    Raises:
        DeliveryMismatch: the ledger is of another run, or was begun with other flags.
        UsageError: ``--records`` names what is not refused.
    """
    folder = ledger_folder(flags, run)
    check_contract(folder, contract(run, flags), begin=False)
    state = read_state(folder)
    wanted = () if flags.redeliver else kinds(flags)
    told = forecast(run, wanted, limits(flags), state, flags.max_events_per_second)
    if flags.redeliver:
        told |= _again(told, flags, folder, state)
    if "profiles" in kinds(flags):
        told["attributes"] = attributes(run)
    return told


def _again(told: dict[str, Any], flags: argparse.Namespace, folder: str, state: State) -> dict[str, Any]:
    redelivery = Redelivery(folder, state, flags.records)
    redelivery.check()
    found: dict[str, Any] = {kind: {**told[kind]} for kind in ("events", "profiles")}
    seconds = 0.0
    for kind in kinds(flags):
        of = found[kind]
        for batch in redelivery.batches(kind, *limits(flags)[kind]):
            of["to_send"] += batch.rows
            of["requests"] += 1
            of["bytes"] += len(batch.lines)
        seconds += max(of["to_send"] / flags.max_events_per_second, of["bytes"] / BYTES_A_SECOND)
    for name in ("requests", "bytes"):
        found[name] = sum(found[kind][name] for kind in kinds(flags))
    return {**found, "seconds_at_the_limits": round(seconds, 1)}
