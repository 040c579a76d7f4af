"""Files that are compressed as a whole are read as what they hold, within bounds."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from pipelines import currents_to_mixpanel as command
from tests.exports.small_exports import NOW, avro, path, rows, write
from tests.servers.emulators import Emulator
from transforms.avro.container import read_container
from transforms.avro.gzip_file import GzipError, opened
from transforms.stores.store import join

PLAIN = avro(rows("a"))
PACKED = gzip.compress(PLAIN, mtime=0)


def test_a_packed_file_is_what_it_holds() -> None:
    packed, plain = read_container(PACKED), read_container(PLAIN)
    assert (packed.rows, packed.damages, len(packed.blocks)) == (plain.rows, (), len(plain.blocks)) == (12, (), 3)
    assert opened(gzip.compress(PLAIN[:50]) + gzip.compress(PLAIN[50:]), 0) == PLAIN


def test_of_a_packed_file_that_is_cut_off_the_whole_blocks_are_read() -> None:
    stored = gzip.compress(PLAIN, 0)  # as it is, so that a cut falls where it is wanted
    container = read_container(stored[: len(stored) - len(PLAIN) // 5])
    assert 4 <= sum(block.rows for block in container.blocks) < 12
    assert [damage.reason for damage in container.damages] == ["truncated"]


def test_no_more_is_unpacked_than_a_file_of_events_holds() -> None:
    bomb = gzip.compress(bytes(50_000_000), mtime=0)
    with pytest.raises(GzipError, match="holds more than"):
        opened(bomb, 1_000)
    (damage,) = read_container(bomb, 1_000).damages
    assert damage.reason == "gzip"
    assert opened(bomb, 50_000_000) == bytes(50_000_000)


@pytest.mark.parametrize("typed", ["a.avro.gz", "*.avro.gz"])
def test_a_packed_file_that_is_asked_for_by_name_is_read(typed: str, tmp_path: Path) -> None:
    write(tmp_path / "in", {"a.avro.gz": PACKED})
    assert command.main([f"--input={tmp_path}/in/{typed}", f"--output={tmp_path}/out", f"--now={NOW}"]) == 0
    assert json.loads((tmp_path / "out" / "report.json").read_text())["rows"]["read"] == 12


def test_an_object_with_gzip_as_its_content_encoding_gives_the_same_run(gcs: Emulator, tmp_path: Path) -> None:
    from google.cloud import storage

    url = gcs.url()
    with gcs.applied():
        client = storage.Client(project="emulator")
        blob = client.bucket(url.removeprefix("gs://")).blob(f"in/{path('a')}")
        blob.content_encoding = "gzip"
        blob.upload_from_string(PACKED, content_type="application/octet-stream")
        assert command.main([f"--input={join(url, 'in')}", f"--output={tmp_path}/out", f"--now={NOW}"]) == 0
    write(tmp_path / "in", {path("a"): PLAIN})
    assert command.main([f"--input={tmp_path}/in", f"--output={tmp_path}/plain", f"--now={NOW}"]) == 0
    one, other = (sorted((tmp_path / name / "events").iterdir()) for name in ("out", "plain"))
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in other] != []
