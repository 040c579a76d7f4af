"""The exports that the contenders read: made once, kept in the work folder until the sample generator changes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

from pipelines.sample_export.__main__ import write_export

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
    return _made(work, name, ["benchmarks.exports", str(rows), "5" if many_files else "0"])


def make_six_types(work: Path, rows: int, users: int) -> Export:
    """An export of six event types in large files, of very many people (``six_types.py``)."""
    return _made(work, six_types_name(rows, users), ["benchmarks.six_types", str(rows), str(users)])


def six_types_name(rows: int, users: int) -> str:
    return f"six-types-{rows}-{users}"


def _made(work: Path, name: str, command_of: list[str]) -> Export:
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
    # In a process of its own: Linux counts the memory of a process to the peak of those that it starts later.
    module, *arguments = command_of
    command = [sys.executable, "-m", module, str(folder), *arguments]
    ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    export = Export(name, str(folder), **json.loads(ended.stdout))
    made.write_text(json.dumps({**dataclasses.asdict(export), "recipe": recipe}))
    return export


def _recipe() -> str:
    """A digest of the generator's source and of the catalogue that it follows."""
    sources = [*sorted((ROOT / "pipelines/sample_export").glob("*.py")), ROOT / "transforms/currents/catalog.json"]
    sources.append(ROOT / "benchmarks/six_types.py")
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sources:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def main(folder: str, rows: str, flush_minutes: str) -> None:
    people = max(FEWEST_PEOPLE, int(rows) // ROWS_A_PERSON)
    made = write_export(folder, users=people, days=1, seed=1, rows=int(rows), flush_minutes=int(flush_minutes))
    print(json.dumps({"rows": made.rows, "files": made.files, "bytes": made.bytes}))


if __name__ == "__main__":
    main(*sys.argv[1:])
