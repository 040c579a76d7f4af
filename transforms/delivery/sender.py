"""Sends batches over several connections until each has its answer, and writes down what became of it.

One heap of pieces that are ready now or later; a thread a connection takes the earliest. A piece that is to be sent
again goes back to the heap with its time, a piece that is to be split as two. A batch is settled, and written into the
ledger, when the last of its pieces is answered.
"""

from __future__ import annotations

import collections
import dataclasses
import heapq
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from isal import isal_zlib

from transforms.delivery.answers import Answer, Verdict
from transforms.delivery.batches import middle
from transforms.delivery.client import Connection, Reply
from transforms.delivery.gate import Gate, backoff
from transforms.delivery.ledger import Ledger, Refusal, Settled
from transforms.errors import CertificateNotTrusted, ConnectionFailed, DeliveryStopped, ProxyError

_MOST_UNDER_WAY = 96 << 20  # bytes of lines in memory
_EXAMPLES = 10
_MOST_MESSAGES = 1_000
_ENOUGH_ANSWERED = 1_000


@dataclasses.dataclass
class Batch:
    """A batch under way: its place, its numbers of lines, and what is known of its records so far."""

    kind: str
    file: str
    ordinal: int
    lines: bytes
    numbers: range | tuple[int, ...]  # of its lines, in their file
    is_redelivery: bool = False
    open_pieces: int = 1
    refused: list[Refusal] = dataclasses.field(default_factory=list)

    @property
    def rows(self) -> int:
        return len(self.numbers)


@dataclasses.dataclass
class _Piece:
    batch: Batch
    lines: bytes
    rows: int
    first: int  # index of its first record in the batch
    attempts: int = 0


@dataclasses.dataclass
class Route:
    """Where a kind of record goes: how its request is made, and how its answer is read."""

    path: str
    headers: dict[str, str]
    body: Callable[[bytes], bytes]
    answer: Callable[[int, Any, bytes, bytes, int], Answer]


class Figures:
    """Counts of one delivery; changed under the sender's lock alone."""

    def __init__(self) -> None:
        self.requests: collections.Counter[str] = collections.Counter()  # by answer
        self.retries: collections.Counter[str] = collections.Counter()
        self.splits: collections.Counter[str] = collections.Counter()
        self.acknowledged: collections.Counter[str] = collections.Counter()  # records by kind, of this delivery
        self.refused: collections.Counter[str] = collections.Counter()
        self.messages: collections.Counter[str] = collections.Counter()
        self.examples: dict[str, tuple[str, int]] = {}  # message -> file and line
        self.minutes: dict[int, list[int]] = {}  # UNIX minute -> acknowledged, refused
        self.bytes = 0


class Sender:
    """Use: ``submit`` batches, ``wait`` for all of them, ``close``. The first two raise ``DeliveryStopped``."""

    def __init__(
        self,
        connect: Callable[[], Connection],
        routes: dict[str, Route],
        gate: Gate,
        ledger: Ledger,
        may_send: Callable[[], bool],
        *,
        concurrency: int,
        give_up_after: float,
        max_refused_share: float,
        veil: Callable[[str], str],
    ) -> None:
        self.figures = Figures()
        self.gate = gate
        self._routes, self._ledger, self._may_send, self._veil = routes, ledger, may_send, veil
        self._give_up_after, self._max_refused_share = give_up_after, max_refused_share
        self._lock = threading.Condition()
        self._heap: list[tuple[float, int, _Piece]] = []
        self._number = 0
        self._under_way = self._bytes = 0
        self._most = 4 * concurrency
        self._stopped: DeliveryStopped | None = None
        self._closing = False
        self._progress = time.monotonic()
        self._rng = random.Random()
        self._connections = [connect() for _ in range(concurrency)]
        self._threads = [
            threading.Thread(target=self._work, args=(one,), name=f"connection-{number}", daemon=True)
            for number, one in enumerate(self._connections)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, batch: Batch) -> None:
        """Hand over a batch; waits while enough are under way."""
        size = len(batch.lines)
        with self._lock:
            while (
                self._stopped is None
                and self._under_way
                and (self._under_way >= self._most or self._bytes + size > _MOST_UNDER_WAY)
            ):
                self._lock.wait(1.0)
            self._check()
            if not self._under_way:
                self._progress = time.monotonic()
            self._under_way += 1
            self._bytes += size
            self._push(_Piece(batch, batch.lines, batch.rows, 0), 0.0)

    def wait(self) -> None:
        """Until every batch is settled."""
        with self._lock:
            while self._stopped is None and self._under_way:
                self._lock.wait(1.0)
            self._check()

    def stop(self, reason: DeliveryStopped) -> None:
        """Send nothing more; the first reason stays."""
        with self._lock:
            self._stopped = self._stopped or reason
            self._lock.notify_all()

    def close(self, seconds: float = 5.0) -> None:
        """End the connections: answers that are due get so long."""
        with self._lock:
            self._closing = True
            self._lock.notify_all()
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0))
        for connection in self._connections:
            connection.close()

    def _check(self) -> None:
        if self._stopped is not None:
            raise self._stopped

    def _push(self, piece: _Piece, when: float) -> None:
        self._number += 1
        heapq.heappush(self._heap, (when, self._number, piece))
        self._lock.notify()

    def _take(self) -> _Piece | None:
        """The next piece that is ready; None when it is over."""
        with self._lock:
            while True:
                if self._closing or self._stopped is not None:
                    return None
                wait = self._heap[0][0] - time.monotonic() if self._heap else 1.0
                if wait <= 0:
                    return heapq.heappop(self._heap)[2]
                self._lock.wait(min(wait, 1.0))

    def _work(self, connection: Connection) -> None:
        while (piece := self._take()) is not None:
            try:
                self._send(connection, piece)
            except BaseException as error:
                self.stop(DeliveryStopped(f"{type(error).__name__} {error}: a fault of this program"))
                return

    def _send(self, connection: Connection, piece: _Piece) -> None:
        batch = piece.batch
        route = self._routes[batch.kind]
        body = route.body(piece.lines)
        while (wait := self.gate.turn(piece.rows, len(piece.lines))) or not self._may_send():
            with self._lock:
                if self._closing or self._stopped is not None:
                    return
                self._lock.wait(min(wait or 0.5, 0.5))
        try:
            reply = connection.ask("POST", route.path, body, route.headers)
            answer, label = route.answer(*reply, piece.lines, piece.rows), str(reply.status)
        except CertificateNotTrusted as error:
            reply, label = Reply(0, {}, b""), "certificate"
            answer = Answer(
                Verdict.STOP,
                words=f"the certificate is not trusted ({error}): name those of your proxy in SSL_CERT_FILE",
            )
        except ProxyError as error:
            reply, label = Reply(0, {}, b""), "proxy"
            answer = Answer(Verdict.STOP, words=str(error))
        except ConnectionFailed as error:
            reply, label = Reply(0, {}, b""), "no answer"
            answer = Answer(Verdict.AGAIN, words=str(error))
        self._settle(piece, answer, reply.status, label, len(body))

    def _settle(self, piece: _Piece, answer: Answer, status: int, label: str, size: int) -> None:
        batch, rows = piece.batch, piece.rows
        with self._lock:
            self.figures.requests[label] += 1
            self.figures.bytes += size
            if answer.verdict is Verdict.TAKEN:
                self._progress = time.monotonic()
                self.gate.took(rows - len(answer.refused))
                if answer.refused:
                    records = piece.lines.splitlines()
                    batch.refused += [
                        Refusal(batch.numbers[piece.first + index], self._veil(words), records[index])
                        for index, words in answer.refused
                    ]
                batch.open_pieces -= 1
                if batch.open_pieces == 0:
                    self._finish(batch)
            elif answer.verdict is Verdict.SPLIT:
                self._progress = time.monotonic()
                self.figures.splits[label] += 1
                at = middle(piece.lines)
                batch.open_pieces += 1
                half = rows // 2
                self._push(_Piece(batch, piece.lines[:at], half, piece.first), 0.0)
                self._push(_Piece(batch, piece.lines[at:], rows - half, piece.first + half), 0.0)
            elif answer.verdict is Verdict.AGAIN:
                self._again(piece, answer, status, label)
            else:
                self._stopped = self._stopped or DeliveryStopped(self._veil(answer.words), status in (401, 403))
                self._lock.notify_all()

    def _again(self, piece: _Piece, answer: Answer, status: int, label: str) -> None:
        self.figures.retries[label] += 1
        piece.attempts += 1
        now = time.monotonic()
        if status == 429:
            wait = self.gate.refused(answer.retry_after)
        else:
            wait = max(backoff(piece.attempts, self._rng), answer.retry_after or 0.0)
        if now - self._progress > self._give_up_after:
            self._stopped = self._stopped or DeliveryStopped(
                f"nothing got through for {self._give_up_after:g} s (--give_up_after): {self._veil(answer.words)}"
            )
            self._lock.notify_all()
            return
        # Not later than what there is to give up for.
        self._push(piece, now + min(wait, max(self._give_up_after - (now - self._progress), 0.0) + 0.01))

    def _finish(self, batch: Batch) -> None:
        """Every piece of the batch is answered: write it down. Under the lock."""
        refused = tuple(sorted(batch.refused))
        lines = tuple(batch.numbers) if batch.is_redelivery else ()
        settled = Settled(batch.kind, batch.file, batch.ordinal, batch.rows, refused, lines)
        for one in refused:
            words = one.message if one.message in self.figures.messages else self._new_words(one.message)
            self.figures.messages[words] += 1
            self.figures.examples.setdefault(words, (batch.file, one.line))
        self._ledger.add(settled, _Done(self, batch))

    def _new_words(self, words: str) -> str:
        """Words of Mixpanel's may name the record: of so many different ones only the first are told apart."""
        return words if len(self.figures.messages) < _MOST_MESSAGES else "(others)"

    def done(self, batch: Batch) -> None:
        """A batch is safe in the ledger."""
        with self._lock:
            figures, refused = self.figures, len(batch.refused)
            is_first = not figures.acknowledged and not figures.refused
            figures.acknowledged[batch.kind] += batch.rows - refused
            figures.refused[batch.kind] += refused
            minute = figures.minutes.setdefault(int(time.time() // 60), [0, 0])
            minute[0] += batch.rows - refused
            minute[1] += refused
            self._under_way -= 1
            self._bytes -= len(batch.lines)
            answered = sum(figures.acknowledged.values()) + sum(figures.refused.values())
            all_refused = sum(figures.refused.values())
            if not batch.is_redelivery:
                if is_first and refused == batch.rows:
                    self._stopped = self._stopped or DeliveryStopped(
                        f"the first batch was refused whole: {self._told()}"
                    )
                elif answered >= _ENOUGH_ANSWERED and all_refused > self._max_refused_share * answered:
                    self._stopped = self._stopped or DeliveryStopped(
                        f"{all_refused:,} of {answered:,} records were refused, more than --max_refused_share "
                        f"{self._max_refused_share:g}: {self._told()}"
                    )
            self._lock.notify_all()

    def _told(self) -> str:
        """The most frequent messages, each with an example."""
        found = []
        for message, count in self.figures.messages.most_common(_EXAMPLES):
            file, line = self.figures.examples[message]
            found.append(f"{count:,} x [{message}], as line {line} of {file}{_meaning(message)}")
        return "; ".join(found)


class _Done:
    def __init__(self, sender: Sender, batch: Batch) -> None:
        self._sender, self._batch = sender, batch

    def __call__(self) -> None:
        self._sender.done(self._batch)


def _meaning(message: str) -> str:
    """What Mixpanel's words mean, where that is known."""
    if any(verb in message for verb in ("$identify", "$create_alias", "$merge")):
        return " (the project is on Simplified ID Merge: run the job with --id_merge simplified)"
    return ""


def gzipped(lines: bytes) -> bytes:
    """The body of a request to /import."""
    return isal_zlib.compress(lines, 1, wbits=31)
