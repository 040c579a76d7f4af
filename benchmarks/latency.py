"""A server that is far away: what a client sends arrives after a while, in a process of its own.

with delay("127.0.0.1", 9000, seconds=0.03) as port: …

What was asked for once is answered from memory from then on, since emulators answer some hundred requests a second,
and it is their clients that are measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def delay(host: str, port: int, seconds: float) -> Iterator[int]:
    """A port of this machine behind which the given one is so many seconds away, there and back."""
    process = subprocess.Popen(
        [sys.executable, __file__, host, str(port), str(seconds)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
# Of one connection or one request only: a client takes them amiss in the answer to another.
_NOT_KEPT = re.compile(rb"\r\n(connection|x-ms-client-request-id|date):[^\r]*", re.IGNORECASE)
_answers: dict[bytes, bytes] = {}


class _Upstream(asyncio.Protocol):
    """The server's end of one connection."""

    def __init__(self, client: asyncio.Transport) -> None:
        self._client = client
        self.asked = b""  # the first line of the request that is being answered, if it is worth remembering
        self._answer = b""

    def data_received(self, data: bytes) -> None:
        self._client.write(data)
        if self.asked:
            self._answer += data
            head, end, body = self._answer.partition(_HEAD_END)
            length = _LENGTH.search(head)
            if end and length and len(body) == int(length.group(1)):
                _answers[self.asked] = _NOT_KEPT.sub(b"", head) + end + body
                self.asked = self._answer = b""

    def connection_lost(self, error: Exception | None) -> None:
        self._client.close()


class _Client(asyncio.Protocol):
    """A client's end: what it sends waits before it is handed on."""

    def __init__(self, host: str, port: int, seconds: float) -> None:
        self._target, self._seconds = (host, port), seconds
        self._server: asyncio.Transport | None = None
        self._upstream: _Upstream | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._connecting = asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        made, self._upstream = await loop.create_connection(
            lambda: _Upstream(self._transport),
            *self._target,  # type: ignore[arg-type]
        )
        self._server = made
        for data in self._early:
            self._hand_on(data)

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(self._seconds, self._hand_on, data)

    def _hand_on(self, data: bytes) -> None:
        asked = data.partition(b"\r\n")[0] if data.startswith(b"GET ") and data.endswith(_HEAD_END) else b""
        if asked in _answers:
            self._transport.write(_answers[asked])  # type: ignore[attr-defined]
        elif self._server is None or self._upstream is None:
            self._early.append(data)
        else:
            self._upstream.asked = asked
            self._server.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self._server is not None:
            self._server.close()


async def _serve(host: str, port: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Client(host, port, seconds), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)  # goes when its parent does


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
