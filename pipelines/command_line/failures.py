"""What went wrong, in words for a person: Beam hands on exceptions of a step as text, with a traceback around it."""

from __future__ import annotations

import os
import re
import signal
import traceback

from transforms.errors import DamagedEvidence, LimitExceeded, RunFailed, behind, of_text

_STEP = " [while running '"
_TRACEBACK = "Traceback (most recent call last):\n"
# The last line of a traceback, with all that its message goes on with.
_LAST = re.compile(r"^(?:RuntimeError: )?([A-Za-z_][\w.]*)(?:: |\Z)(.*)", re.DOTALL | re.MULTILINE)

# What a machine may refuse anywhere, and the system's words for it as they come through libraries.
_FORESEEN = {
    re.compile(r"can't start new thread|pthread_create|Resource temporarily unavailable"): (
        "this machine gives the run no more threads or processes: raise the limit (ulimit -u and -v, pids.max or the "
        "process limit of a container), or give --workers 1"
    ),
    re.compile(r"MemoryError|[Mm]alloc of size|[Oo]ut of memory|Cannot allocate memory|bad_alloc|realloc of size"): (
        "this machine does not have enough memory for the run: give it more, or --workers 1, or fewer hours at a time "
        "(--since, --until)"
    ),
    re.compile(r"No usable temporary directory"): (
        "the folder for temporary files is full or cannot be written to: free some of it, or set TMPDIR to another"
    ),
    re.compile(r"No space left on device|Disk quota exceeded"): (
        "the disk is full, or has no room for more names (df, df -i): free some of it, or set TMPDIR to another place"
    ),
    re.compile(r"Too many open files"): "raise the limit of open files (ulimit -n)",
}


def worker_lost(status: int | None, reason: str, file: str = "") -> str:
    """What to say of a worker process that ended before its work did: its exit status, minus the signal's number where
    one ended it (None: not known), and what it said if it could not start, and the input file that it was reading.

    >>> worker_lost(1, "ImportError: libarrow.so: cannot open")
    'a worker process did not start: ImportError: libarrow.so: cannot open: --workers 1 needs none'
    >>> worker_lost(-11, "")
    'a worker process was ended by SIGSEGV: run the same command with --workers 1'
    >>> worker_lost(-11, "", "in/a.avro")
    'a worker process was ended by SIGSEGV while it was reading in/a.avro: run the same command with --workers 1'
    """
    if file and not reason:
        told, colon, rest = worker_lost(status, "").partition(": ")
        return f"{told} while it was reading {file}{colon}{rest}"
    if reason:
        return f"a worker process did not start: {reason}: --workers 1 needs none"
    ended_by = None if status is None else -status if status < 0 else status - 128
    if ended_by in (None, signal.SIGKILL):
        return "a worker process was killed, most often because memory ran out: run the same command with --workers 1"
    if ended_by in set(signal.Signals):
        return f"a worker process was ended by {signal.Signals(ended_by).name}: run the same command with --workers 1"
    return f"a worker process ended by itself, with status {status}: --verbose shows why"


def needs_whole_rows(error: BaseException) -> bool:
    """Whether a run failed because rows that pass 1 took for evidence turned out damaged."""
    return isinstance(behind(error), DamagedEvidence)


def failed(error: Exception, *, quotes: bool = True) -> RunFailed | LimitExceeded:
    """What to raise of a run that was begun, for an error that ended it; ``quotes`` as of ``cause``."""
    found = behind(error)
    if isinstance(found, LimitExceeded):
        return LimitExceeded(found.message)
    return RunFailed(cause(error, quotes=quotes))


def passes_limit(error: BaseException | str) -> bool:
    """Whether a run, or a job by the message that it failed with, ended because a limit of the user's was passed.

    >>> passes_limit("RuntimeError: [currents-to-mixpanel: TooManyRejects] 2% of 10 rows [while running 'Publish']")
    True
    """
    return isinstance(of_text(error) if isinstance(error, str) else behind(error), LimitExceeded)


def cause(error: BaseException, *, quotes: bool = True) -> str:
    """The message of the exception behind an error; one that is not this program's own is named as a fault.

    >>> cause(RuntimeError("a.DataChanged: [currents-to-mixpanel: DataChanged] in/a.avro [while running 'Read']"))
    'in/a.avro'
    >>> cause(OSError("[Errno 24] Too many open files"))
    'OSError [Errno 24] Too many open files: raise the limit of open files (ulimit -n)'
    >>> cause(KeyError("color"))
    'KeyError color: a fault of this program; --verbose shows where'
    >>> cause(KeyError("ada@example.org"), quotes=False)
    'KeyError: a fault of this program; its words may quote a value that must not leave, so they are not shown'

    Without ``quotes``, as where rules say what may leave, the words of a fault are not repeated.
    """
    found = behind(error)
    if found is not None and found.message:
        return found.message
    kind, message = _told(error)
    said = f"{kind.removeprefix('builtins.')} {message}".strip()
    for pattern, cure in _FORESEEN.items():
        if pattern.search(said):
            return f"{said}: {cure}"
    if not quotes:
        fault = "a fault of this program; its words may quote a value that must not leave, so they are not shown"
        return f"{kind.removeprefix('builtins.')}: {fault}"
    return f"{said}: a fault of this program; --verbose shows where"


def _told(error: BaseException) -> tuple[str, str]:
    """(Class, message) of the exception behind an error."""
    text = str(error.args[0]) if len(error.args) == 1 else str(error)
    text = text.rpartition(_STEP)[0] or text
    if type(error) is RuntimeError and text != str(error):
        start = max(text.rfind("\nRuntimeError: ") + 1, _behind_frames(text))
        found = _LAST.match(text, start)
        kind, message = (found[1], found[2]) if found else ("RuntimeError", text[start:])
    else:
        kind, message = f"{type(error).__module__}.{type(error).__qualname__}", text
    return kind, message.strip()


def fault(error: Exception) -> str:
    """What to say of an error that is a fault of this program, with the place; for a verb without ``--verbose``."""
    *_, last = traceback.extract_tb(error.__traceback__) or [None]
    place = f" ({os.path.basename(last.filename)}, line {last.lineno})" if last else ""
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{said}: a fault of this program{place}: report it; the same command resumes"


def _behind_frames(text: str) -> int:
    """Where the exception of the last traceback in a text begins, which a worker process hands on whole; 0 without."""
    last = text.rfind(_TRACEBACK)
    found = re.compile(r"^\S", re.MULTILINE).search(text, last + len(_TRACEBACK)) if last >= 0 else None
    return found.start() if found else 0


def job_cause(text: str) -> str:
    """The message that a job failed with: of this program's own errors all the words, of anything else the last line.

    >>> job_cause("RuntimeError: [currents-to-mixpanel: AccountingError] units: [1] [while running 'Publish']")
    'units: [1]'
    """
    found = of_text(text)
    if found is not None:
        return found.message
    text = text.rpartition(_STEP)[0] or text
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
