"""The files that were listed and not read, in words: for the summary and the warnings."""

from __future__ import annotations

import datetime

from transforms.currents.left_out import Listing, NotRead, UnreadableDates
from transforms.vocabulary.files import NOT_READ


def in_short(listing: Listing) -> str:
    """One line, empty where everything was read."""
    parts = []
    for reason, found in listing["not_read"].items():
        words = NOT_READ[reason].plain
        if reason == "unfinished_hour" and (until := listing["read_until"]) is not None:
            words = f"left for later (of {_hour(until)} and after)"
        parts.append(f"{found['files']:,} {words}")
    files = sum(found["files"] for found in listing["not_read"].values())
    return f"{files:,} file{'' if files == 1 else 's'}: {', '.join(parts)}" if parts else ""


def warnings(listing: Listing) -> list[str]:
    """What somebody should look at, a sentence each."""
    left, told = listing["not_read"], []
    if found := left.get("other_name"):
        told.append(
            f"{_files(found)} that look like exports were not read, because their names do not end in .avro (such as "
            f"{found['example']}): unpack compressed ones (gunzip) or name them (--input '…/**/*.avro.gz'), and rename "
            "the others to end in .avro"
        )
    if hidden := listing["hidden_avro"]:
        told.append(
            f"{hidden:,} .avro file{' was' if hidden == 1 else 's were'} not read, because the name, or that of a "
            f"folder above, begins with . or _ (such as {left['hidden']['example']}): tools name temporary files like "
            "this; rename what is data"
        )
    if found := left.get("archived"):
        told.append(
            f"{_files(found)} ({found['bytes']:,} bytes) are archived, and were left out by --skip_archived (such as "
            f"{found['example']}): restore them, and run again without the flag"
        )
    if found := left.get("link_nowhere"):
        told.append(
            f"{_files(found)} cannot be read, because they are links to files that do not exist (such as "
            f"{found['example']}): restore the files, and run again"
        )
    if found := left.get("placeholder"):
        told.append(
            f"{_files(found)} cannot be read, because a cloud drive has not downloaded them (such as "
            f"{found['example']}): download them, and run again"
        )
    if found := left.get("not_regular"):
        told.append(
            f"{_files(found)} cannot be read, because they are pipes, sockets or devices (such as "
            f"{found['example']}): write their content to files"
        )
    dates = listing["unreadable_dates"]
    if dates["files"]:
        told.append(
            f"{_files(dates)} read although their hour cannot be told (such as {dates['example']}): their date= is "
            "neither an hour (date=YYYY-MM-DD-HH) nor a day (date=YYYY-MM-DD)"
        )
    return told


def _files(found: NotRead | UnreadableDates) -> str:
    return f"{found['files']:,} file{'' if found['files'] == 1 else 's'}"


def _hour(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%d %H:00 UTC")
