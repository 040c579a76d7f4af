"""Hands connections on: ``python forwarder.py FROM_HOST:PORT=TO_HOST:PORT …``; the standard library alone.

Prism names its own address ``localhost``, also to workers on other hosts: a host of its own forwards its loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        writer.close()


async def _serve(rules: list[str]) -> None:
    servers = []
    for rule in rules:
        here, there = (place.rsplit(":", 1) for place in rule.split("="))

        async def join(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str = there[0], port: str = there[1]
        ) -> None:
            try:
                far_reader, far_writer = await asyncio.open_connection(host, int(port))
            except OSError:
                writer.close()
                return
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

        servers.append(await asyncio.start_server(join, here[0], int(here[1])))
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1:]))
