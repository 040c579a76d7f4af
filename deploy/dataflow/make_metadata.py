"""Writes metadata.json beside this file from the command's own flags: ``python deploy/dataflow/make_metadata.py``."""

from __future__ import annotations

import json
from pathlib import Path

from pipelines import flex_template


def text() -> str:
    """The whole file."""
    return json.dumps(flex_template.metadata(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("metadata.json").write_text(text(), "utf-8")
