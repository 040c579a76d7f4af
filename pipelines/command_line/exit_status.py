"""The exit statuses, the same on every verb: ``run``, ``deliver``, ``sample`` and the tools beside them."""

from __future__ import annotations

import enum

from transforms.errors import CurrentsToMixpanelError


class Status(enum.IntEnum):
    """A status with its meaning, in the words of the documentation's tables.

    >>> int(Status.LIMIT), Status.LIMIT.name, Status.LIMIT.meaning
    (4, 'LIMIT', 'a limit that you set was exceeded: nothing changed')
    """

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Status:
        status = int.__new__(cls, code)
        status._value_ = code
        status.meaning = meaning
        return status

    DONE = 0, "done"
    FAILED = 1, "failed or stopped: fix the cause, and the same command resumes"
    REFUSED = 2, "refused: nothing was started"
    LOOK = 3, "done, but look"
    LIMIT = 4, "a limit that you set was exceeded: nothing changed"
    INTERRUPTED = 130, "interrupted: the same command resumes"

    __str__ = int.__repr__

    @classmethod
    def of(cls, error: BaseException) -> Status:
        """The status of a command that an error ends."""
        code = error.exit_status if isinstance(error, CurrentsToMixpanelError) else cls.FAILED
        return next(status for status in cls if status == code)

    @property
    def word(self) -> str:
        """What ``--json`` says in ``status``, unless the verb has a word of its own."""
        return self.name.lower()
