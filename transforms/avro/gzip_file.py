"""A file that was compressed with gzip as a whole, as ``gzip`` and stores' content encoding leave it, opened in bounds.

What is inside decides, not the name: a store may say of any object that its encoding is gzip.
"""

from __future__ import annotations

import zlib
from typing import Any

from isal import isal_zlib

from transforms.errors import DataError

MAGIC = b"\x1f\x8b"
_GZIP_FRAME = 31  # the window bits that zlib takes for it
_AT_ONCE = 1 << 20
_ERRORS: tuple[Any, ...] = (isal_zlib.error, zlib.error)
# Of its own bytes. Avro of events takes a twentieth at best; deflate goes down to a thousandth, which only bombs do.
_MOST_TIMES = 64


class GzipError(DataError):
    """A file cannot be taken out of its gzip; the message says why, and what to do."""


def opened(content: bytes, least_limit: int) -> bytes:
    """What the members of a gzip hold, one behind the other; of the last one as much as there is.

    The limit is 64 times the compressed size, or ``least_limit`` bytes where that is more.

    Raises:
        GzipError: the stream is damaged, or holds more than the limit.
    """
    limit = max(_MOST_TIMES * len(content), least_limit)
    parts: list[bytes] = []
    size, at = 0, 0
    while content[at : at + 2] == MAGIC:
        stream = isal_zlib.decompressobj(_GZIP_FRAME)
        pending: bytes | memoryview = memoryview(content)[at:]
        while not stream.eof:
            try:
                part = stream.decompress(pending, _AT_ONCE)
            except _ERRORS as error:
                raise GzipError(f"the file is a damaged gzip ({error}): upload it again") from error
            size += len(part)
            if size > limit:
                raise GzipError(
                    f"the file is a gzip of {len(content)} bytes that holds more than {limit}: decompress it (gunzip) "
                    "and run again if that is meant"
                )
            parts.append(part)
            pending = stream.unconsumed_tail
            if not part and not pending and not stream.eof:
                return b"".join(parts)  # cut off: the blocks that are whole are there
        at = len(content) - len(stream.unused_data)
    return b"".join(parts)
