"""Many reads under way at once, handed on in the order they were asked for.

An object store answers after tens of milliseconds whatever the size, and exports are many small files.
"""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from transforms.stores.store import Entry, store_for

BYTES_AHEAD = 64 << 20
"""Of files that are being read, or wait, while their turn has not come: so much at most, or one file."""

_lock = threading.Lock()


def read_all(entries: Iterable[Entry], concurrency: int) -> Iterator[bytes]:
    """The contents of files, in their order; up to ``concurrency`` reads of a process are under way at once.

    Raises:
        DataChanged: a file is not the one that was listed.
    """
    under_way: deque[tuple[int, Future[bytes]]] = deque()
    ahead = 0
    try:
        for entry in entries:
            store = store_for(entry.path)
            if not store.remote or concurrency == 1:
                while under_way:
                    yield under_way.popleft()[1].result()
                ahead = 0
                yield store.read(entry)
                continue
            while under_way and (len(under_way) >= concurrency or ahead + entry.size > BYTES_AHEAD):
                ahead -= under_way[0][0]
                yield under_way.popleft()[1].result()  # which keeps no content once it is handed on
            under_way.append((entry.size, _pool(concurrency).submit(store.read, entry)))
            ahead += entry.size
        while under_way:
            yield under_way.popleft()[1].result()
    finally:
        for _, future in under_way:
            future.cancel()


def _pool(concurrency: int) -> ThreadPoolExecutor:
    with _lock:
        return _made_pool(concurrency)


@functools.cache
def _made_pool(concurrency: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(concurrency, thread_name_prefix="read")
