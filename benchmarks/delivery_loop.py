"""The shortest loop that one would write to post a run to Mixpanel, with aiohttp: read, cut at 2,000 lines, gzip, post.

Ten at a time; no ledger, no limit, and nothing is sent again.
"""

from __future__ import annotations

import asyncio
import gzip
import ssl
import sys
from pathlib import Path

import aiohttp


async def shortest_loop(run: str, url: str) -> None:
    """The loop that one would write with aiohttp."""
    context = ssl.create_default_context()
    gate = asyncio.Semaphore(10)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=10)) as session:

        async def post(lines: list[bytes]) -> None:
            headers = {"Content-Encoding": "gzip", "Content-Type": "application/x-ndjson"}
            body = gzip.compress(b"\n".join(lines) + b"\n", 1)
            try:
                async with session.post(f"{url}/import?strict=1", data=body, headers=headers) as answer:
                    assert (await answer.json(content_type=None))["num_records_imported"] == len(lines)
            finally:
                gate.release()

        tasks = set()
        for path in sorted(Path(run, "events").iterdir()):
            with gzip.open(path) as file:
                lines = file.read().splitlines()
            for at in range(0, len(lines), 2000):
                await gate.acquire()
                tasks.add(asyncio.create_task(post(lines[at : at + 2000])))
        await asyncio.gather(*tasks)


if __name__ == "__main__":
    asyncio.run(shortest_loop(*sys.argv[1:]))
