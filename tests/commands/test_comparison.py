"""The comparison of a run with the oracle accepts what the oracle itself would publish and notices each difference."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from tests.commands.whole_run import compare, read_output
from tests.exports.random_exports import NOW, random_export
from tests.oracle import whole_job as oracle
from tests.oracle.whole_job import Expected

Change = Callable[[Expected], Any]


def publish(expected: Expected, folder: Path) -> None:
    """Write what the oracle expects in the form of the contract."""
    (folder / "identities").mkdir(parents=True)
    rejects: list[dict[str, Any]] = [
        {"reason": reason, "detail": "", "file": file, "row": row, "event_type": "", "id": None, "record": {}}
        for (reason, file, row), count in expected.rejects.items()
        for _ in range(count)
    ]
    lines = {"events": expected.events, "profiles": expected.profiles, "deletions": expected.deletions}
    rows: dict[str, int | None] = {}
    for kind, values in {**lines, "rejects": rejects}.items():
        path = f"{kind}/part-00000.ndjson.gz"
        (folder / kind).mkdir()
        text = b"".join(json.dumps(value).encode() + b"\n" for value in values)
        (folder / path).write_bytes(gzip.compress(text, mtime=0))
        rows[path] = len(values)
    ids = [
        {"id_type": kind, "id": value, "distinct_id": distinct_id, "cluster": cluster}
        for (kind, value), (distinct_id, cluster) in expected.ids.items()
    ]
    ids.sort(key=lambda row: (row["id_type"], row["id"] or ""))
    links = [
        {"a_type": b[0], "a": b[1], "b_type": a[0], "b": a[1], "rank": rank}
        | dict(zip(("time", "event_id", "file", "status", "device_id"), values, strict=True))
        for (rank, a, b), values in expected.links.items()
    ]
    for name, table in (("ids", ids), ("links", links)):
        path = f"identities/{name}-00000.parquet"
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table), folder / path)
        rows[path] = len(table)
    by_type: dict[str, dict[str, int]] = {}
    for reason, kinds in expected.withheld.items():
        for kind, count in kinds.items():
            by_type.setdefault(kind, {})[reason] = count
    report = {
        "rows": expected.rows,
        "rows_by_type": expected.rows_by_type,
        "withheld": {reason: kinds.total() for reason, kinds in expected.withheld.items()},
        "withheld_by_type": by_type,
    }
    (folder / "report.json").write_text(json.dumps(report))
    rows["report.json"] = None
    files = {}
    for path, row_count in rows.items():
        content = (folder / path).read_bytes()
        files[path] = {"rows": row_count, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "_manifest.json").write_text(json.dumps({"files": files}))


def test_what_the_oracle_would_publish_is_accepted(tmp_path: Path) -> None:
    expected = oracle.run(random_export(7), now=NOW)
    publish(expected, tmp_path / "run")
    compare(read_output(tmp_path / "run"), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e.events.pop(), "events: 0 lines missing, 1 unexpected"),
        (lambda e: e.events.append(e.events[0]), "events: 1 lines missing, 0 unexpected"),
        (lambda e: e.events[0]["properties"].update({"$user_id": "x"}), r"\$user_id: got .*, expected 'x'"),
        (lambda e: e.profiles[0]["$set"].update(a=1), "profiles: 1 lines missing, 1 unexpected"),
        (lambda e: e.deletions[0].update(via="x"), "via: got '.*', expected 'x'"),
        (lambda e: e.rejects.update([("missing_id", "f", 1)]), "rejects: 1 of .* differ"),
        (lambda e: e.rows.update(events=0), "events: got .*, expected 0"),
        (lambda e: e.ids.popitem(), "identities/ids: 1 of .* differ"),
        (lambda e: e.links.update(dict.fromkeys(list(e.links)[:2])), "identities/links: 2 of .* differ"),
        (lambda e: e.withheld["deleted_user"].update(["x"]), "withheld: 1 of .* differ"),
    ],
)
def test_each_difference_is_noticed(change: Change, message: str, tmp_path: Path) -> None:
    expected = oracle.run(random_export(7), now=NOW)
    publish(expected, tmp_path / "run")
    change(expected)
    with pytest.raises(AssertionError, match=message):
        compare(read_output(tmp_path / "run"), expected)


def test_a_file_beside_the_manifest_and_changed_bytes_are_noticed(tmp_path: Path) -> None:
    publish(oracle.run(random_export(7), now=NOW), tmp_path / "run")
    (tmp_path / "run" / "_claim.json").write_text("{}")
    read_output(tmp_path / "run")
    (tmp_path / "run" / "left-over.tmp").touch()
    with pytest.raises(AssertionError, match=r"not in the manifest: \['left-over.tmp'\]"):
        read_output(tmp_path / "run")
    (tmp_path / "run" / "left-over.tmp").unlink()
    (tmp_path / "run" / "report.json").write_text("{}")
    with pytest.raises(AssertionError, match=r"report.json: .* bytes in the manifest, 2 on disk"):
        read_output(tmp_path / "run")
