"""Under which versions a run goes on with the files of an equal one: those that wrote them, or nothing is there yet."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from pathlib import Path

import pytest

from tests.commands.whole_run import read_output, run_cli
from tests.exports import small_exports
from tests.transforms.output.test_claims import FILES, check_published, held, names, place, reports, take, write
from transforms.errors import OutputFolderError
from transforms.output import claims
from transforms.output.claims import release
from transforms.output.folder import CLAIM, MANIFEST
from transforms.output.publication import finish, publish_file
from transforms.output.versions import differing, output_versions
from transforms.stores.store import join, store_for

__all__ = ["place"]


def under_versions(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    monkeypatch.setattr(claims, "output_versions", lambda: {**output_versions(), **versions})


def test_the_claim_holds_the_versions_of_what_shapes_bytes(place: str) -> None:
    take(place)
    versions = held(place)["versions"]
    assert versions["python"] == ".".join(platform.python_version_tuple()[:2])
    for name in ("arro3-core", "arro3-io", "datafusion", "fastavro", "isal", "orjson", "pyarrow"):
        assert versions[name] == importlib.metadata.version(name)


def test_a_run_with_files_is_not_gone_on_with_under_other_versions(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        under_versions(patch, isal="1.6.9", python="3.9")
        digest = take(place)
        write(place)
    before = held(place)
    here = output_versions()
    for _ in range(2):
        with pytest.raises(OutputFolderError) as refusal:
            take(place)
        assert "isal 1.6.9, python 3.9;" in str(refusal.value)
        assert f"here is isal {here['isal']}, python {here['python']}," in str(refusal.value)
        assert "--overwrite" in str(refusal.value)
        assert "orjson" not in str(refusal.value)
    assert held(place) == before
    assert len(names(place)) == FILES + 1
    with monkeypatch.context() as patch:
        under_versions(patch, isal="1.6.9", python="3.9")
        assert take(place) == digest
    assert take(place, overwrite=True) == digest
    assert held(place)["versions"] == here
    assert names(place) == {CLAIM}


def test_of_a_failed_run_too_no_files_are_gone_on_with_under_other_versions(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        under_versions(patch, orjson="0.1")
        digest = take(place)
        publish_file(place, "events/part-00000.ndjson.gz", b"written", 1)
        release(place, digest)
    with pytest.raises(OutputFolderError, match=r"with orjson 0\.1; here is orjson"):
        take(place)
    take(place, "other")  # nothing of a failed run stays for a different one
    assert names(place) == {CLAIM}


def test_a_claim_without_files_goes_over_to_the_new_versions(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        under_versions(patch, orjson="0.1")
        digest = take(place)
        assert held(place)["versions"]["orjson"] == "0.1"
    assert take(place) == digest
    assert held(place)["versions"] == output_versions()
    write(place)
    assert take(place) == digest


def test_a_claim_of_an_older_release_has_no_versions_and_is_gone_on_with(place: str) -> None:
    digest = take(place)
    older = {name: value for name, value in held(place).items() if name != "versions"}
    store_for(place).put(join(place, CLAIM), json.dumps(older).encode())
    write(place)
    assert take(place) == digest
    finish(place, digest, (files := write(place)), reports("this"))
    check_published(place, files)


def test_the_digest_is_the_same_under_all_versions(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = take(place)
    under_versions(monkeypatch, isal="9.9", pyarrow="99")
    assert take(place, overwrite=True) == digest


def test_versions_that_one_side_alone_names_do_not_differ() -> None:
    assert differing({}, {"isal": "1"}) is None
    assert differing({"isal": "1", "old": "2"}, {"isal": "1", "new": "3"}) is None
    assert differing({"isal": "1", "orjson": "2"}, {"isal": "3", "orjson": "4"}) == (
        "isal 1, orjson 2",
        "isal 3, orjson 4",
    )


@pytest.mark.slow
def test_the_command_refuses_files_of_other_versions_with_status_2_until_it_may_overwrite(tmp_path: Path) -> None:
    source = small_exports.write(
        tmp_path / "in", {small_exports.path("a"): small_exports.avro(small_exports.rows("a"))}
    )
    output = tmp_path / "out"
    assert run_cli(source, output).returncode == 0
    (output / MANIFEST).unlink()  # as if it had been killed just before the end
    claim = json.loads((output / CLAIM).read_bytes())
    versions = claim["versions"]
    (output / CLAIM).write_text(json.dumps({**claim, "versions": {**versions, "isal": "1.6.9"}}))
    refused = run_cli(source, output)
    assert refused.returncode == 2
    assert f"with isal 1.6.9; here is isal {versions['isal']}" in refused.stderr
    assert not (output / MANIFEST).exists()
    done = run_cli(source, output, "--overwrite")
    assert done.returncode == 0, done.stderr
    assert len(read_output(output).event_lines) == 12
    assert json.loads((output / CLAIM).read_bytes())["versions"] == versions
