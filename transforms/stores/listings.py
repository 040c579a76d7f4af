"""Whether a listing that comes page by page is whole: what it lacks, the run would lack without a word."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np

from transforms.errors import StoreError


class WholeListing:
    """Follows the pages of one listing. Memory: 16 bytes a page, and 8 an object.

    Raises:
        StoreError: from ``take`` or ``end``, where a page comes again or an object is listed twice.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._tokens: set[int] = set()
        self._keys = array("q")
        self._last = ""
        self._in_order = True

    def take(self, keys: Sequence[str], token: str | None) -> None:
        """Note the keys of a page, and what the next one is asked for with."""
        if token is not None:
            if hash(token) in self._tokens:
                raise StoreError(
                    f"cannot list {self._place}: the service gives the same page again and again, so its listing has "
                    "no end: report it to the maker of the store"
                )
            self._tokens.add(hash(token))
        self._keys.extend(map(hash, keys))
        for key in keys:
            if key == self._last:
                raise self._twice(key)
            self._in_order = self._in_order and key > self._last
            self._last = key

    def end(self) -> None:
        """Hold the whole listing against itself; one in ascending order has nothing twice."""
        if self._in_order:
            return
        hashes = np.sort(np.frombuffer(self._keys, np.int64))
        if len(hashes) > 1 and bool((hashes[1:] == hashes[:-1]).any()):
            raise self._twice()

    def _twice(self, key: str = "") -> StoreError:
        return StoreError(
            f"cannot list {self._place}: the service lists {key or 'an object'} twice, so others may be missing from "
            "its listing: run again, and report it to the maker of the store if it stays so"
        )
