"""Places as people type them: each has a known form, or is refused with the form that was meant."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.exports.small_exports import avro, path, rows
from tests.pipelines.command_line.test_command_line import refusal
from transforms.errors import StoreUnavailable
from transforms.stores.places import place
from transforms.stores.store import store_for

MEANT = {
    "s3:/bucket/out": "s3://bucket/out",
    "s3:bucket/out": "s3://bucket/out",
    "gs:bucket/out": "gs://bucket/out",
    "gs:///bucket/out": "gs://bucket/out",
    "S3://bucket/out": "s3://bucket/out",
    "azfs:/account/container/x": "azfs://account/container/x",
    "hdfs:/exports": "hdfs://exports",
    "abfss:/container@account/x": "azfs://ACCOUNT/CONTAINER/PATH",
    "file://exports/x": "file:///exports/x",
    "https://storage.googleapis.com/bucket/exports": "gs://bucket/exports",
    "https://account.blob.core.windows.net/container/exports?sig=hidden": "azfs://account/container/exports",
    "https://account.dfs.core.windows.net/container/x": "azfs://account/container/x",
    "https://bucket.s3.eu-west-1.amazonaws.com/exports": "s3://bucket/exports",
    "https://s3.amazonaws.com/bucket/exports": "s3://bucket/exports",
    "https://example.org/x": "gs://BUCKET/PATH",
    "C:\\exports\\august": "/mnt/c/exports/august",
    "d:/exports": "/mnt/d/exports",
    "$OUT/x": "./$OUT/x",
    "${OUT}": "./${OUT}",
    "%OUT%\\x": "./%OUT%\\x",
    "s3://$BUCKET/out": "$BUCKET",
}
"""What is typed, and what stands in the refusal."""


@pytest.mark.parametrize("typed", MEANT)
def test_a_place_in_no_known_form_is_refused_with_the_form_that_was_meant(typed: str) -> None:
    with pytest.raises(StoreUnavailable) as refused:
        place(typed)
    assert MEANT[typed] in str(refused.value)
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    "typed",
    ["exports", "./$OUT/x", "exports/$OUT", "$OUTxyz-1/a", "a:b/c", "gs://bucket/$x", "azfs://account/$web/x", "x~"],
)
def test_what_may_be_meant_is_taken_as_it_is(typed: str) -> None:
    assert place(typed) == typed


def test_a_tilde_at_the_front_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert [place(text) for text in ("~", "~/out", "~x")] == ["/home/ada", "/home/ada/out", "~x"]
    assert place("file:///exports/x") == place("file:/exports/x") == "/exports/x"


@pytest.mark.parametrize("output", ["s3:/bucket/out", "$OUT/x", "C:\\out"])
def test_no_folder_is_made_for_an_output_in_another_form(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "in" / path("a.avro")
    file.parent.mkdir(parents=True)
    file.write_bytes(avro(rows("a")))
    assert output in refusal(capsys, "--input", "in", f"--output={output}")
    assert os.listdir(tmp_path) == ["in"]


def test_an_access_point_is_taken_in_the_form_of_its_makers_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("boto3")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for mark in "/:":
        root = f"s3://arn:aws:s3:us-east-1:123456789012:accesspoint{mark}my-point"
        store = store_for(f"{root}/exports/a.avro")
        assert store is store_for(f"{root}/other")
        assert store._bucket.root == root  # type: ignore[attr-defined]
