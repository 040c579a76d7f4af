"""What stops a command, by name, and the exit status that it ends with; whoever calls from Python catches these.

::

    CurrentsToMixpanelError            1
    ├── UserError                      2  what was typed, or what is there, forbids it: nothing was started
    │   ├── UsageError                 2
    │   ├── InputError                 2
    │   │   └── NoFilesFound           2
    │   ├── OutputFolderError          2
    │   ├── StoreUnavailable           2  a StoreError too
    │   ├── NotAFinishedRun            2
    │   ├── CredentialsError           2
    │   ├── ProxyError                 2
    │   ├── DeliveryMismatch           2
    │   ├── DeliveryAtWork             2
    │   └── UnsupportedSchema          2  a ValueError too
    ├── LimitExceeded                  4  a limit that was set: nothing changed
    │   ├── TooManyRejects             4
    │   └── TooManyDeletions           4
    └── RunError                       1  what was begun cannot be finished: the same command resumes
        ├── RunFailed                  1
        ├── StoreError                 1
        │   ├── StoreUnavailable       2
        │   ├── DataChanged            1
        │   ├── IncompleteListing      1
        │   └── Conflict               1
        ├── UnsortedListing            1
        ├── FolderTaken                1
        ├── MixedWorkspaces            1
        ├── DamagedEvidence            1
        ├── UnreadableRepeat           1
        ├── AccountingError            1
        ├── InvariantError             1
        ├── OversizedElement           1
        ├── DiskFull                   1
        ├── WrongBlock                 1
        ├── WorkerLost                 1
        ├── EndpointUnreachable        1
        ├── JobFailed                  1
        ├── JobUnreachable             1
        ├── DeliveryStopped            1
        ├── DamagedRunFile             1
        ├── ConnectionFailed           1
        ├── CertificateNotTrusted      1
        └── DataError                  1  a ValueError too; the classes below it stand where they are raised

Beam hands on what a step raises: whole where the step runs in this process, as text from everywhere else. Each error
therefore says its name in the text that it has behind a step, and ``of_text`` finds it there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

_STEP = " [while running '"
"""What Beam puts behind the message of an error, with the name of the step."""
_MARK = re.compile(r"\[currents-to-mixpanel: (\w+)\] ")


class CurrentsToMixpanelError(Exception):
    """The base of all. Each one, of ``DataError`` apart, is made of its message alone, as Beam makes it once more."""

    exit_status: ClassVar[int] = 1

    @property
    def message(self) -> str:
        """What is wrong and what to do, for a person."""
        text = super().__str__()
        return text.rpartition(_STEP)[0] or text

    def __str__(self) -> str:
        """The message; behind a step of Beam's it begins with the error's name."""
        text = super().__str__()
        return f"[currents-to-mixpanel: {type(self).__name__}] {text}" if _STEP in text else text


def of_text(text: str) -> CurrentsToMixpanelError | None:
    """The error in a text that Beam made of it, which may hold a traceback; None where there is no such error.

    >>> of_text("RuntimeError: a.b.TooManyRejects: [currents-to-mixpanel: TooManyRejects] 2% [while running 'Publish']")
    TooManyRejects('2%')
    """
    marks = list(_MARK.finditer(text))
    if not marks:
        return None
    kind = {found.__name__: found for found in _below(CurrentsToMixpanelError)}.get(marks[-1][1], RunError)
    return (RunError if issubclass(kind, DataError) else kind)(text[marks[-1].end() :].partition(_STEP)[0].strip())


def behind(error: BaseException) -> CurrentsToMixpanelError | None:
    """The error of this program that another one is, or tells of; None where it is somebody else's."""
    return error if isinstance(error, CurrentsToMixpanelError) else of_text(" ".join(map(str, error.args)))


def _below(kind: type[CurrentsToMixpanelError]) -> Iterator[type[CurrentsToMixpanelError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _below(below)


class UserError(CurrentsToMixpanelError):
    """What was typed, or what is there already, forbids it: nothing was started."""

    exit_status = 2


class LimitExceeded(CurrentsToMixpanelError):
    """A limit that the user set was passed: nothing changed. The message says which."""

    exit_status = 4


class RunError(CurrentsToMixpanelError):
    """What was begun cannot be finished; the same command resumes when the cause is gone."""


class UsageError(UserError):
    """The command line is refused; the message says what to write instead."""


class InputError(UserError):
    """The inputs cannot be read as they were asked for; the message says what to ask for instead."""


class NoFilesFound(InputError):
    """An input matches no file; the message names the pattern and the nearest folder that exists."""


class OutputFolderError(UserError):
    """The output folder cannot be used; the message says why and what to do."""


class NotAFinishedRun(UserError):
    """The input is not a finished run, or not the one that its manifest describes; the message says what to do."""


class CredentialsError(UserError):
    """Credentials are missing or do not have their form; the message names the variable, never its value."""


class ProxyError(UserError):
    """A proxy cannot be used as it is named, or does not let us through; the message has the cure, and no password."""


class DeliveryMismatch(UserError):
    """The ledger is of another run, other cutting flags, another region or another token; the message has the cure."""


class DeliveryAtWork(UserError):
    """Another delivery of the same run is at work."""


class UnsupportedSchema(UserError, ValueError):
    """A schema that Currents does not write; the message says what of it."""


class TooManyRejects(LimitExceeded):
    """More rows are unfit than ``--max_reject_share`` allows, or all are."""


class TooManyDeletions(LimitExceeded):
    """There is more to delete than ``--delete_at_most`` allows; nothing was asked for."""


class RunFailed(RunError):
    """The run, once begun, failed; the message says why."""


class StoreError(RunError):
    """A file cannot be read or written; the message names it and the cure."""


class StoreUnavailable(UserError, StoreError):
    """A place that may not be used as it was named: no permission, a file for a folder, a store that is not known."""


class DataChanged(StoreError):
    """A file is not the one that was listed."""


class IncompleteListing(StoreError):
    """A page says that others follow, and gives no way to get them; the message continues «the service …»."""


class Conflict(StoreError):
    """A name that was to be written holds other bytes: another run is writing here."""


class UnsortedListing(RunError):
    """A service lists names in another order than that of their bytes: all of them have to be sorted here.

    S3's directory buckets and Azure's hierarchical namespaces do.
    """


class FolderTaken(RunError):
    """Another run took the folder while this one was at work."""


class MixedWorkspaces(RunError):
    """Rows of several Braze workspaces, whose external ids may mean different people."""

    @classmethod
    def of(cls, workspaces: dict[str, str], more: bool) -> MixedWorkspaces:
        """``workspaces``: a file by workspace; ``more``: whether there may be others."""
        found = ", ".join(f"[{name}] in {file}" for name, file in sorted(workspaces.items())[:5])
        count = f"{len(workspaces)}{' or more' if more else ''}"
        return cls(
            f"the export has rows of {count} workspaces (app_group_id): {found}; their external ids may mean "
            "different people: run each on its own, or pass --mixed_workspaces if they mean the same"
        )


class DamagedEvidence(RunError):
    """Pass 1, by the columns it reads, took rows for whole that are not: the run must be made again with
    ``Settings.read_whole_rows``.
    """


class UnreadableRepeat(RunError):
    """A row that others were dropped for turned out unreadable: sending neither would lose an event."""


class AccountingError(RunError):
    """Figures that must agree do not: something was lost or doubled on the way. Nothing is published then."""


class InvariantError(RunError):
    """The identity tables contradict themselves; the message names the first offending values."""


class OversizedElement(RunError):
    """An element would be too large for some runner: a fault of this program, not of the data."""


class DiskFull(RunError):
    """A block cannot be written."""


class WrongBlock(RunError):
    """What is on the disk is not what was written there."""


class WorkerLost(RunError):
    """A worker process ended before its work did."""


class EndpointUnreachable(RunError):
    """Nothing answers where the job is to be submitted."""


class JobFailed(RunError):
    """A job on another runner was not taken, or failed, or was cancelled; the message says why."""


class JobUnreachable(RunError):
    """A job on another runner can be watched no more; it may go on, and publish."""


class DeliveryStopped(RunError):
    """The delivery cannot go on; the message says why. ``unauthorised``: by Mixpanel's refusing the credentials."""

    def __init__(self, message: str, unauthorised: bool = False) -> None:
        super().__init__(message)
        self.unauthorised = unauthorised


class DamagedRunFile(RunError):
    """A file of the run is not a whole gzip file of whole lines."""


class ConnectionFailed(RunError):
    """The connection broke, or the answer did not come, or not whole; the message is one line."""


class CertificateNotTrusted(RunError):
    """The certificate of the other side was not signed by anybody who is trusted."""


class DataError(RunError, ValueError):
    """Bytes are not what they should be: caught where they are read, and made a value (damage, or a reject)."""
