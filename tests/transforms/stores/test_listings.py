"""A listing is whole, or the run fails: pages that cannot be followed, come again, or give an object twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from pipelines import currents_to_mixpanel as command
from tests.exports.small_exports import avro, path, rows
from tests.servers.emulators import Emulator
from transforms.errors import StoreError
from transforms.stores.objects import Bucket, Listed, Meaning, ObjectStore
from transforms.stores.store import Entry, join, store_for

Page = tuple[list[str], str | None]


class _Pages:
    root = "s3://bucket"
    keys_at_once = 1

    def __init__(self, pages: dict[str | None, Page]) -> None:
        self.pages = pages

    def page(self, prefix: str, token: str | None, most: int) -> tuple[list[Listed], str | None]:
        keys, following = self.pages[token]
        return [Listed(key, 1, "v") for key in keys], following

    def meaning(self, error: Exception) -> Meaning:
        return Meaning.OTHER


def listed(pages: dict[str | None, Page]) -> list[str]:
    return [entry.path.rpartition("/")[2] for entry in ObjectStore(cast(Bucket, _Pages(pages))).list("s3://bucket")]


def test_pages_are_followed_to_the_last_in_whatever_order_they_are() -> None:
    assert listed({None: (["a", "b"], "1"), "1": ([], "2"), "2": (["c"], None)}) == ["a", "b", "c"]
    assert listed({None: (["c", "b"], "1"), "1": (["a"], None)}) == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("pages", "reason"),
    [
        ({None: (["a"], "1"), "1": (["b"], "2"), "2": (["c"], "1")}, "the same page again and again"),
        ({None: (["a"], "1"), "1": (["b"], "1")}, "the same page again and again"),
        ({None: (["a", "b"], "1"), "1": (["b", "c"], None)}, "lists b twice"),
        ({None: (["c", "a"], "1"), "1": (["b", "c"], None)}, "lists an object twice"),
        ({None: (["a", "b"], "1"), "1": (["a", "b"], None)}, "lists an object twice"),
    ],
)
def test_a_listing_that_is_not_whole_fails_with_the_place_and_what_the_store_did(
    pages: dict[str | None, Page], reason: str
) -> None:
    with pytest.raises(StoreError, match="cannot list s3://bucket/") as failed:
        listed(pages)
    assert reason in str(failed.value)


def _without_token(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "NextContinuationToken"}


def _quirk(store: Any, change: Callable[[dict[str, Any]], dict[str, Any]], prefix: str) -> Iterator[None]:
    """The store's client gives pages of three objects below ``prefix``, each answer changed."""
    client = store._bucket._client
    whole = client.list_objects_v2

    def cut(**asked: Any) -> dict[str, Any]:
        if not asked["Prefix"].startswith(prefix):
            answer: dict[str, Any] = whole(**asked)
            return answer
        return change(whole(**{**asked, "MaxKeys": 3}))

    client.list_objects_v2 = cut
    yield
    client.list_objects_v2 = whole


@pytest.mark.parametrize("place", ["input", "output"])
def test_a_service_that_says_a_listing_goes_on_and_not_where_fails_the_run(
    place: str, s3: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = s3.url()
    with s3.applied():
        store = store_for(url)
        for number in range(5):
            store.put(join(url, "in", path(f"{number}.avro")), avro(rows(f"{number}")))
            store.put(join(url, "out", f"events/part-{number:05}.ndjson.gz"), b"")
        quirk = _quirk(store, _without_token, "in/" if place == "input" else "out/")
        next(quirk)
        status = command.main([f"--input={url}/in", f"--output={url}/out", "--now=1770000000"])
        next(quirk, None)
    said = capsys.readouterr().err
    assert status == 1, said
    assert "says that its listing goes on, and not where" in said
    assert url in said


def test_an_object_store_lists_more_than_a_page_of_objects_once_each(store_emulator: Emulator) -> None:
    url = store_emulator.url()
    with store_emulator.applied():
        store = store_for(url)
        for number in range(12):
            store.put(join(url, "in", f"{number:03}.avro"), b"x")
        page = store._bucket.page  # type: ignore[attr-defined]
        store._bucket.page = lambda prefix, token, most: page(prefix, token, 5)  # type: ignore[attr-defined]
        found: list[Entry] = list(store.list(join(url, "in")))
    assert [entry.path for entry in found] == [join(url, "in", f"{number:03}.avro") for number in range(12)]
