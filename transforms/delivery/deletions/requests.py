"""Requests to Mixpanel's deletion API: one at a time, a second apart, each until it has its answer."""

from __future__ import annotations

import collections
import random
import time
from collections.abc import Callable, Sequence
from typing import Protocol
from urllib.parse import quote

import orjson

from transforms.delivery.answers import Verdict
from transforms.delivery.client import Reply
from transforms.delivery.deletions.answers import Made, of_cancellation, of_deletion, of_state
from transforms.delivery.gate import backoff
from transforms.errors import CertificateNotTrusted, ConnectionFailed, DeliveryStopped, ProxyError

SECONDS_APART = 1.0
_PATH = "/api/app/data-deletions/v3.0/"
_PATIENCE = 20.0  # seconds, for what is not the errand itself


class Asks(Protocol):
    """A connection, or what stands for it."""

    def ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Reply: ...


class DeletionRequests:
    """Asks over one connection; ``check`` is called before each request and raises where none may be made.

    ``requests`` and ``retries`` count by answer. All methods raise ``DeliveryStopped``.
    """

    def __init__(
        self,
        connection: Asks,
        token: str,
        gdpr_token: str,
        check: Callable[[], None],
        give_up_after: float,
        veil: Callable[[str], str],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connection, self._check, self._veil = connection, check, veil
        self._query = f"?token={token}"
        self._headers = {"Authorization": f"Bearer {gdpr_token}", "Accept": "application/json"}
        self._give_up_after, self._clock, self._sleep = give_up_after, clock, sleep
        self._last: float | None = None  # when the last answer came
        self._rng = random.Random()
        self.requests: collections.Counter[str] = collections.Counter()
        self.retries: collections.Counter[str] = collections.Counter()

    def delete(self, ids: Sequence[str]) -> Made:
        """Ask for the deletion of these; the answer is ``TAKEN`` or ``SPLIT``."""
        body = orjson.dumps({"compliance_type": "GDPR", "distinct_ids": ids})
        return self._until_answered(
            "POST", _PATH, body, lambda reply: of_deletion(*reply, len(ids)), self._give_up_after
        )

    def state(self, task_id: str, *, patient: bool = True) -> Made:
        """Ask for a task's state, for seconds only where that is not what the command is for."""
        patience = self._give_up_after if patient else min(self._give_up_after, _PATIENCE)
        return self._until_answered("GET", _path(task_id), None, lambda reply: of_state(*reply, task_id), patience)

    def cancel(self, task_id: str) -> None:
        """Take a task back, which can be done until Mixpanel has begun with it."""
        patience = min(self._give_up_after, _PATIENCE)
        self._until_answered("DELETE", _path(task_id), None, lambda reply: of_cancellation(*reply), patience)

    def _until_answered(
        self, method: str, path: str, body: bytes | None, read: Callable[[Reply], Made], patience: float
    ) -> Made:
        began, attempts = self._clock(), 0
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        while True:
            made, label = self._once(method, path + self._query, body, headers, read)
            self.requests[label] += 1
            made = made._replace(words=self._veil(made.words))
            if made.verdict is Verdict.STOP:
                raise DeliveryStopped(made.words, unauthorised=label in ("401", "403"))
            if made.verdict is not Verdict.AGAIN:
                return made
            self.retries[label] += 1
            attempts += 1
            left = patience - (self._clock() - began)
            if left <= 0:
                raise DeliveryStopped(f"nothing got through for {patience:g} s (--give_up_after): {made.words}")
            wait = backoff(attempts, self._rng)
            if made.retry_after is not None:
                wait = made.retry_after if label == "429" else max(wait, made.retry_after)
            self._sleep(min(wait, left + 0.01))

    def _once(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], read: Callable[[Reply], Made]
    ) -> tuple[Made, str]:
        if self._last is not None:
            self._sleep(max(self._last + SECONDS_APART - self._clock(), 0.0))
        self._check()
        try:
            reply = self._connection.ask(method, path, body, headers)
            return read(reply), str(reply.status)
        except CertificateNotTrusted as error:
            words = f"the certificate is not trusted ({error}): name those of your proxy in SSL_CERT_FILE"
            return Made(Verdict.STOP, words=words), "certificate"
        except ProxyError as error:
            return Made(Verdict.STOP, words=str(error)), "proxy"
        except ConnectionFailed as error:
            return Made(Verdict.AGAIN, words=str(error)), "no answer"
        finally:
            self._last = self._clock()


def _path(task_id: str) -> str:
    """A task's path: whatever an answer called it, it leads nowhere else."""
    return f"{_PATH}{quote(task_id, safe='').replace('.', '%2E')}/"
