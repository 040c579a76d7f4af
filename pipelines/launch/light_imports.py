"""Beam imported without the clients of clouds and databases that it imports where they are installed.

They are half of what ``import apache_beam`` costs. Beam takes what it cannot import for not installed, which is how it
is mostly used; a local run needs none of them: the stores have clients of their own, and import them when a path needs
one. Not for a process that may submit a job to another runner later.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import sys
from collections.abc import Iterator

CLIENTS = (
    "apache_beam.io.gcp.bigquery", "azure", "boto3", "bson", "google.api_core", "google.auth", "google.cloud.dataflow",
    "google.cloud.storage", "pymongo",
)  # fmt: skip


@contextlib.contextmanager
def light_imports() -> Iterator[None]:
    """What is imported within finds none of the clients, unless it was imported before. Nor is garbage looked for:
    modules are none.
    """
    logging.getLogger("apache_beam.io.mongodbio").setLevel(logging.ERROR)  # it warns where it finds no client
    hidden = [name for name in CLIENTS if name not in sys.modules]
    collects = gc.isenabled()
    gc.disable()
    # Python's own way to say that a module cannot be imported.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
        if collects:
            gc.enable()
