"""Run the program on an export, read back all it published, and compare that with what the oracle expects."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet

from tests.oracle.identity import LinkKey, Node, typed
from tests.oracle.whole_job import ROW_KINDS, Expected

ROOT = Path(__file__).resolve().parents[2]
MODULE = "pipelines.currents_to_mixpanel"
ROW_COUNTS = frozenset({"read", *ROW_KINDS})
REJECT_KEYS = frozenset({"reason", "detail", "file", "row", "event_type", "id", "record"})
BESIDE_MANIFEST = frozenset({"_manifest.json", "_claim.json"})
SHOWN = 5  # differences shown of each kind


class Actual(NamedTuple):
    """What one finished run left in its folder; lines are raw, without their newline."""

    event_lines: list[bytes]
    profile_lines: list[bytes]
    deletion_lines: list[bytes]
    rejects: list[dict[str, Any]]
    ids: dict[Node, tuple[str | None, str]]
    links: dict[LinkKey, tuple[int, str, str, str, str | None]]
    report: dict[str, Any]
    manifest: dict[str, dict[str, Any]]  # path -> its entry


def flags(**policy: Any) -> list[str]:
    """Command-line flags of the oracle's keyword arguments; None and () mean that the flag is not given."""
    argv = []
    for name, value in policy.items():
        if value is None or value == ():
            continue
        text = ",".join(value) if isinstance(value, (list, tuple)) else str(value)
        argv.append(f"--{name}={text}")
    return argv


def _argv(input_dir: Path | str, output_dir: Path | str, extra: Sequence[str]) -> list[str]:
    return [f"--input={input_dir}", f"--output={output_dir}", *extra]


def run_cli(
    input_dir: Path | str, output_dir: Path | str, *extra: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own; ``env`` is added to this process's environment."""
    command = [sys.executable, "-m", MODULE, *_argv(input_dir, output_dir, extra)]
    environment = {**os.environ, **(env or {})}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)


def run_in_process(input_dir: Path | str, output_dir: Path | str, *extra: str) -> int:
    """Run the command's ``main`` in this process and return its exit status."""
    status: int = importlib.import_module(MODULE).main(_argv(input_dir, output_dir, extra))
    return status


def read_output(output_dir: Path | str) -> Actual:
    """Parse every file of the contract, after checking each against ``_manifest.json``. Raises AssertionError."""
    folder = Path(output_dir)
    manifest = _read_manifest(folder)
    ids: dict[Node, tuple[str | None, str]] = {}
    id_rows = _parquet_rows(folder, manifest, "identities/ids-")
    for row in id_rows:
        node = (row["id_type"], row["id"])
        assert node not in ids, f"{node} stands twice in identities/ids"
        ids[node] = (row["distinct_id"], row["cluster"])
    order = [(row["id_type"].encode(), row["id"].encode()) for row in id_rows]
    assert order == sorted(order), "identities/ids is not sorted by id_type and id"
    links: dict[LinkKey, tuple[int, str, str, str, str | None]] = {}
    for row in _parquet_rows(folder, manifest, "identities/links-"):
        small, large = sorted(((row["a_type"], row["a"]), (row["b_type"], row["b"])), key=typed)
        key = (row["rank"], small, large)
        assert key not in links, f"{key} stands twice in identities/links"
        links[key] = (row["time"], row["event_id"], row["file"], row["status"], row["device_id"])
    rejects = [json.loads(line) for line in _lines(folder, manifest, "rejects/")]
    for reject in rejects:
        assert set(reject) >= REJECT_KEYS, f"a reject lacks {sorted(REJECT_KEYS - set(reject))}"
    return Actual(
        event_lines=_lines(folder, manifest, "events/"),
        profile_lines=_lines(folder, manifest, "profiles/"),
        deletion_lines=_lines(folder, manifest, "deletions/"),
        rejects=rejects,
        ids=ids,
        links=links,
        report=json.loads((folder / "report.json").read_bytes()),
        manifest=manifest,
    )


def _read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    listed = json.loads((folder / "_manifest.json").read_bytes())["files"]
    if isinstance(listed, list):
        listed = {entry.get("path") or entry.get("name") or entry["file"]: entry for entry in listed}
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert present - BESIDE_MANIFEST == set(listed), (
        f"not in the manifest: {sorted(present - BESIDE_MANIFEST - set(listed))}, "
        f"only in the manifest: {sorted(set(listed) - present)}"
    )
    for path, entry in listed.items():
        content = (folder / path).read_bytes()
        assert entry["bytes"] == len(content), f"{path}: {entry['bytes']} bytes in the manifest, {len(content)} on disk"
        assert entry["sha256"] == hashlib.sha256(content).hexdigest(), f"{path}: SHA-256 differs from the manifest's"
        if path.endswith(".ndjson.gz"):
            rows = gzip.decompress(content).count(b"\n")
        elif path.endswith(".parquet"):
            rows = pyarrow.parquet.read_metadata(folder / path).num_rows
        else:
            continue
        assert entry["rows"] == rows, f"{path}: {entry['rows']} rows in the manifest, {rows} in the file"
    return dict(sorted(listed.items()))


def _lines(folder: Path, manifest: Iterable[str], prefix: str) -> list[bytes]:
    text = b"".join(gzip.decompress((folder / path).read_bytes()) for path in manifest if path.startswith(prefix))
    assert not text or text.endswith(b"\n"), f"{prefix}: a file ends without a newline"
    return text.split(b"\n")[:-1]


def _parquet_rows(folder: Path, manifest: Iterable[str], prefix: str) -> list[dict[str, Any]]:
    paths = [path for path in manifest if path.startswith(prefix)]
    return [row for path in paths for row in pyarrow.parquet.read_table(folder / path).to_pylist()]


def compare(actual: Actual, expected: Expected) -> None:
    """Assert that a run published exactly what the oracle expects; the message shows the first differences."""
    rows = actual.report["rows"]
    assert set(rows) == ROW_COUNTS, f"report.rows has the keys {sorted(rows)}"
    assert rows["read"] == sum(rows.values()) - rows["read"], f"report.rows does not add up: {rows}"
    _assert_same("rejects", Counter((r["reason"], r["file"], r["row"]) for r in actual.rejects), expected.rejects)
    _assert_same("rows_by_type", _cells(actual.report["rows_by_type"]), _cells(expected.rows_by_type))
    _assert_same("rows", rows, expected.rows)
    totals = {reason: by_type.total() for reason, by_type in expected.withheld.items()}
    _assert_same("withheld", _nonzero(actual.report["withheld"]), totals)
    turned = {(kind, reason): n for reason, kinds in expected.withheld.items() for kind, n in kinds.items()}
    _assert_same("withheld_by_type", _cells(actual.report["withheld_by_type"]), turned)
    _assert_same("identities/links", actual.links, expected.links)
    _assert_same("identities/ids", actual.ids, expected.ids)
    _assert_same_lines("deletions", actual.deletion_lines, expected.deletions)
    _assert_same_lines("profiles", actual.profile_lines, expected.profiles)
    order = [json.loads(line)["$distinct_id"] for line in actual.profile_lines]
    assert order == sorted(order), "profiles are not sorted by $distinct_id"
    _assert_same_lines("events", actual.event_lines, expected.events)


def _nonzero(counts: Mapping[Any, int]) -> dict[Any, int]:
    return {key: count for key, count in counts.items() if count}


def _cells(table: Mapping[str, Mapping[str, int]]) -> dict[tuple[str, str], int]:
    return _nonzero({(row, column): count for row, counts in table.items() for column, count in counts.items()})


def _assert_same(what: str, actual: Mapping[Any, Any], expected: Mapping[Any, Any]) -> None:
    keys = {**expected, **actual}
    differing = [key for key in keys if actual.get(key) != expected.get(key)]
    shown = [f"  {key}: got {actual.get(key)}, expected {expected.get(key)}" for key in differing[:SHOWN]]
    assert not differing, "\n".join([f"{what}: {len(differing)} of {len(keys)} differ", *shown])


def canonical(value: Any) -> Any:
    """A value in which two writings of one number, and two spacings of one JSON text, are equal."""
    if isinstance(value, dict):
        return {key: canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float(value)
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return {"JSON text": canonical(json.loads(value))}
        except ValueError:
            return value
    return value


def _assert_same_lines(what: str, lines: list[bytes], expected: list[dict[str, Any]]) -> None:
    got = Counter(_text(json.loads(line)) for line in lines)
    wanted = Counter(_text(value) for value in expected)
    missing, unexpected = sorted((wanted - got).elements()), sorted((got - wanted).elements())
    if not missing and not unexpected:
        return
    message = [f"{what}: {len(missing)} lines missing, {len(unexpected)} unexpected"]
    candidates = {_name(json.loads(text)): json.loads(text) for text in unexpected}
    for text in missing[:SHOWN]:
        line = json.loads(text)
        other = candidates.get(_name(line))
        message.append(f"  missing    {text[:1500]}" if other is None else f"  differs    {_difference(line, other)}")
    if not missing or len(unexpected) > len(missing):
        message += [f"  unexpected {text[:1500]}" for text in unexpected[:SHOWN]]
    raise AssertionError("\n".join(message))


def _text(value: Any) -> str:
    return json.dumps(canonical(value), sort_keys=True, ensure_ascii=False)


def _name(line: dict[str, Any]) -> Any:
    """What tells one line from another: an event's name and $insert_id, or the person."""
    if "event" in line:
        return line["event"], line["properties"].get("$insert_id")
    return line.get("$distinct_id") or (line.get("user_id"), line.get("time"))


def _difference(wanted: dict[str, Any], got: dict[str, Any]) -> str:
    flat_wanted, flat_got = _flat(wanted), _flat(got)
    parts = [
        f"{key}: got {_shown(flat_got, key)}, expected {_shown(flat_wanted, key)}"
        for key in sorted({*flat_wanted, *flat_got})
        if flat_wanted.get(key) != flat_got.get(key)
    ]
    return f"{_name(wanted)}: " + "; ".join(parts[:8])


def _shown(values: dict[str, Any], key: str) -> str:
    return repr(values[key])[:300] if key in values else "nothing"


def _flat(line: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in line.items():
        flat.update(value if key in ("properties", "$set", "$set_once") and isinstance(value, dict) else {key: value})
    return flat
