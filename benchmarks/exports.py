"""The exports that the contenders read: made once, kept in the work folder until the sample generator changes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

from pipelines.sample_export import write_export

ROOT = Path(__file__).resolve().parents[1]
ROWS_A_PERSON = 100
FEWEST_PEOPLE = 60


@dataclasses.dataclass(frozen=True)
class Export:
    """One export: ``rows`` and ``files`` are what was written, ``name`` says what was asked for."""

    name: str
    folder: str
    rows: int
    files: int
    bytes: int


def make(work: Path, rows: int, many_files: bool = False) -> Export:
    """An export of about ``rows`` rows of uncompressed Avro blocks.

    With ``many_files`` a file an event type and five minutes, as Currents leaves them; otherwise a few hundred files.
    """
    name = f"{rows}-many-files" if many_files else str(rows)
    folder = work / "exports" / name
    made = folder.with_suffix(".json")
    recipe = _recipe()
    if made.exists():
        kept = json.loads(made.read_text())
        if kept.pop("recipe") == recipe and folder.exists():
            return Export(**kept)
    shutil.rmtree(folder, ignore_errors=True)
    made.unlink(missing_ok=True)
    print(f"making {folder}", flush=True)
    summary = write_export(
        folder,
        users=max(FEWEST_PEOPLE, rows // ROWS_A_PERSON),
        days=1,
        seed=1,
        rows=rows,
        flush_minutes=5 if many_files else 0,
    )
    export = Export(name, str(folder), summary.rows, summary.files, summary.bytes)
    made.write_text(json.dumps({**dataclasses.asdict(export), "recipe": recipe}))
    return export


def _recipe() -> str:
    """A digest of the generator's source and of the catalogue that it follows."""
    sources = [*sorted((ROOT / "pipelines/sample").glob("*.py")), ROOT / "transforms/currents/catalog.json"]
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sources:
        digest.update(path.read_bytes())
    return digest.hexdigest()
