"""An HTTP proxy between a client and a store's emulator that does what networks and busy services do, by a seed.

It runs as a process of its own (``with FaultyProxy(host, port) as proxy``), so that it takes no time from the job under
test; ``proxy.set(Faults(…))`` changes what it does, ``proxy.counts()`` says what it has done. What becomes of a request
follows from the seed, the method, the address and how often it was asked for, and not from the order of requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import http.client
import json
import random
import re
import subprocess
import sys
from collections import Counter
from types import TracebackType
from typing import NamedTuple

CONTROL = "/faulty-proxy"
_REFUSALS = {"503": b"503 Service Unavailable", "429": b"429 Too Many Requests"}
_NAME = re.compile(rb'"name": ?"([^"]+)"')
_LIMIT = 1 << 20  # bytes of a head


@dataclasses.dataclass(frozen=True)
class Faults:
    """Shares (0 to 1) of the requests that end badly, and how long all of them take.

    Attributes:
        refused: answered 503 or 429, in turn, without being handed on.
        cut: the connection is closed without an answer, and the request is not handed on.
        torn: the request is done, and the connection closed somewhere in the answer, be it in its head.
        lost: the request is done, and the connection closed without an answer.
        lost_at_first: the first request for each address is lost, whatever ``lost`` is; of writes alone.
        matching: a regular expression; other methods and addresses (``PUT /bucket/name``) are left alone.
        latency: seconds that every answer takes more.
        stalled, stall: the number of one request, from 1, and the seconds that it takes more.
    """

    seed: int = 0
    refused: float = 0.0
    cut: float = 0.0
    torn: float = 0.0
    lost: float = 0.0
    lost_at_first: bool = False
    matching: str = ""
    latency: float = 0.0
    stalled: int = 0
    stall: float = 0.0


class _Message(NamedTuple):
    head: bytes  # with the empty line
    body: bytes

    @property
    def start(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode("latin-1")

    def header(self, name: bytes) -> bytes:
        found = re.search(rb"\r\n" + name + rb":[ \t]*([^\r\n]*)", self.head, re.IGNORECASE)
        return found[1].strip() if found else b""


class _Server:
    """The proxy's own process: hands requests on one by one, each client's connection over one of its own."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self.faults = Faults()
        self._asked: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection, to its end."""
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            while (request := await _request(reader, writer)) is not None:
                method, address = request.start.split(" ")[:2]
                if address == CONTROL:
                    writer.write(_plain(b"200 OK", self._control(request.body)))
                    continue
                named = _NAME.search(request.body[:10_000])  # GCS has the name of what is written in the body
                fate = await self._fate(method, address + (named[1].decode() if named else ""))
                self._counts[fate] += 1
                if fate in _REFUSALS:
                    writer.write(_plain(_REFUSALS[fate], b""))
                    await writer.drain()
                    continue
                if fate == "cut":
                    return
                answer, upstream = await self._ask(request, method, upstream)
                if fate == "lost":
                    return
                whole = answer.head + answer.body
                writer.write(whole[: self._torn_at(request, len(whole))] if fate == "torn" else whole)
                await writer.drain()
                if fate == "torn" or not _keeps_alive(answer):
                    return
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return
        finally:
            for end in (writer, upstream[1] if upstream else None):
                if end is not None:
                    with contextlib.suppress(OSError, RuntimeError):
                        end.close()

    def _control(self, body: bytes) -> bytes:
        if body:
            self.faults = Faults(**json.loads(body))
            self._asked.clear()
            self._counts.clear()
        return json.dumps(self._counts).encode()

    async def _fate(self, method: str, address: str) -> str:
        faults = self.faults
        self._counts["all"] += 1
        stalled = faults.stall > 0 and self._counts["all"] == faults.stalled
        self._counts["stalled"] += stalled
        await asyncio.sleep(faults.latency + stalled * faults.stall)
        asked = f"{method} {address}"
        if not re.search(faults.matching, asked):
            return "well"
        self._asked[asked] += 1
        if faults.lost_at_first and self._asked[asked] == 1 and method in ("PUT", "POST", "DELETE"):
            return "lost"
        chance = random.Random(f"{faults.seed} {asked} {self._asked[asked]}").random()
        for fate in ("refused", "cut", "torn", "lost"):
            chance -= getattr(faults, fate)
            if chance < 0:
                return ("503", "429")[self._counts["all"] % 2] if fate == "refused" else fate
        return "well"

    def _torn_at(self, request: _Message, length: int) -> int:
        """Anywhere in an answer: in its head, as often as not, which clients bear worse."""
        draw = random.Random(f"{self.faults.seed} {request.start} {self._counts['torn']}").random
        return max(1, int(length * draw() ** 2))

    async def _ask(
        self, request: _Message, method: str, upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None
    ) -> tuple[_Message, tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        while True:
            fresh = upstream is None
            if upstream is None:
                upstream = await asyncio.open_connection(*self._target, limit=_LIMIT)
            try:
                upstream[1].write(request.head + request.body)
                await upstream[1].drain()
                answer = await _message(upstream[0], bodiless=method == "HEAD")
                return answer, upstream
            except (OSError, asyncio.IncompleteReadError):
                upstream[1].close()
                if fresh:
                    raise
                upstream = None  # the server had closed the kept connection: nothing was done


def _keeps_alive(answer: _Message) -> bool:
    word = answer.header(b"connection").lower()
    return word == b"keep-alive" or (word != b"close" and answer.start.startswith("HTTP/1.1"))


async def _request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Message | None:
    """The next request, whole; None where the client has closed. ``Expect: 100-continue`` is answered here."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    if re.search(rb"\r\nexpect:", head, re.IGNORECASE):
        head = re.sub(rb"\r\nexpect:[^\r\n]*", b"", head, flags=re.IGNORECASE)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return _Message(head, await _body(reader, head, until_close=False))


async def _message(reader: asyncio.StreamReader, *, bodiless: bool) -> _Message:
    head = await reader.readuntil(b"\r\n\r\n")
    status = head.split(b" ", 2)[1]
    if bodiless or status in (b"204", b"304"):
        return _Message(head, b"")
    return _Message(head, await _body(reader, head, until_close=True))


async def _body(reader: asyncio.StreamReader, head: bytes, *, until_close: bool) -> bytes:
    """The body as it was sent, chunk marks and all."""
    length = re.search(rb"\r\ncontent-length:[ \t]*(\d+)", head, re.IGNORECASE)
    if length:
        return await reader.readexactly(int(length[1]))
    if not re.search(rb"\r\ntransfer-encoding:[ \t]*chunked", head, re.IGNORECASE):
        return await reader.read() if until_close else b""
    parts = []
    while True:
        mark = await reader.readuntil(b"\r\n")
        size = int(mark.split(b";")[0], 16)
        parts += [mark, await reader.readexactly(size + 2)]
        if not size:
            return b"".join(parts)


def _plain(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


async def _main(host: str, port: int) -> None:
    server = _Server(host, port)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, limit=_LIMIT, backlog=512)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # goes when its parent does


class FaultyProxy:
    """A proxy in front of one server, for as long as the block runs."""

    host = "127.0.0.1"

    def __init__(self, host: str, port: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, host, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def __enter__(self) -> FaultyProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def set(self, faults: Faults) -> None:
        """From now on do this; all counts begin afresh."""
        self._ask(json.dumps(dataclasses.asdict(faults)))

    def counts(self) -> Counter[str]:
        """Requests since ``set``: ``all``, and of each fate (``well``, ``503``, ``429``, ``cut``, …)."""
        return Counter(json.loads(self._ask("")))

    def _ask(self, body: str) -> str:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.request("POST", CONTROL, body)
            return connection.getresponse().read().decode()
        finally:
            connection.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
