"""Listing object stores: one pass, merged and deduplicated without a set of names, no more asked for than needed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pytest

from tests.servers.emulators import Emulator
from transforms.currents import listing, paths
from transforms.currents.listing import discover, survey
from transforms.currents.paths import SourceFile
from transforms.errors import NoFilesFound, UnsortedListing
from transforms.stores import store as stores
from transforms.stores.store import Entry


class Bucket:
    """Names and nothing else; ``asked`` has the prefix of every listing that was begun."""

    remote = True

    def __init__(self, names: Sequence[str], root: str = "gs://b", *, shuffled: bool = False) -> None:
        self.root = root
        self.names = sorted(names, key=str.encode)
        if shuffled:
            random.Random(5).shuffle(self.names)
        self.asked: list[str] = []
        self.given = 0

    def list(self, folder: str, beginning: str = "") -> Iterator[Entry]:
        prefix = f"{folder.rstrip('/')}/{beginning}"
        self.asked.append(prefix)
        for name in self.names:
            if f"{self.root}/{name}".startswith(prefix):
                self.given += 1
                yield Entry(f"{self.root}/{name}", len(name), f"v{len(name)}")

    def entry(self, path: str) -> Entry | None:
        return Entry(path, 1, "v") if path.removeprefix(f"{self.root}/") in self.names else None

    def is_folder(self, path: str) -> bool:
        return any(f"{self.root}/{name}".startswith(f"{path}/") for name in self.names)

    def absolute(self, path: str) -> str:
        return path.rstrip("/")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    made = Bucket(
        [
            *(f"in/event_type=a/date=2026-01-{day:02}-00/{n}.avro" for day in range(1, 31) for n in range(3)),
            *(f"in/event_type=a.b/date=2026-01-{day:02}-00/{n}.avro" for day in range(1, 31) for n in range(3)),
            "in/readme.txt", "in.avro", "in-2/event_type=a/x.avro", "other/y.avro", "[odd]/z.avro",
        ]
    )  # fmt: skip
    use(made, monkeypatch)
    return made


def use(made: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        listing, "store_for", lambda path: made if path.startswith(made.root) else stores.store_for(path)
    )


def found(*inputs: str, **limits: int | None) -> list[str]:
    return [file.path.removeprefix("gs://b/") for file in discover(inputs, **limits)]  # type: ignore[arg-type]


def test_a_glob_lists_no_more_than_what_stands_before_it(bucket: Bucket) -> None:
    assert len(found("gs://b/in/event_type=a/date=2026-01-0*")) == 27
    assert bucket.asked == ["gs://b/in/event_type=a/date=2026-01-0"]
    assert bucket.given == 27
    assert found("gs://b/o*") == ["other/y.avro"]
    assert bucket.asked[1:] == ["gs://b/o"]
    assert found("gs://b/[odd]") == ["[odd]/z.avro"]  # what exists is no pattern


def test_a_whole_bucket_or_a_single_object_can_be_read(bucket: Bucket) -> None:
    assert len(found("gs://b")) == len(found("gs://b/")) == 184
    (file,) = discover(["gs://b/in/event_type=a/date=2026-01-01-00/0.avro"])
    assert (file.name, file.event_type) == ("0.avro", "a")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("gs://b/in/event_type=c", "gs://b/in/event_type=c: the nearest folder that exists is gs://b/in"),
        ("gs://b/in/x/y/z/*.avro", "gs://b/in/x/y/z/*.avro: the nearest folder that exists is gs://b/in"),
        ("gs://b/none", "gs://b/none: the nearest folder that exists is gs://b"),
        ("gs://b-*/in", "gs://b-*/in"),
        ("gs://b/readme", "gs://b/readme: the nearest folder that exists is gs://b"),
    ],
)
def test_an_input_without_files_names_the_nearest_folder(source: str, told: str, bucket: Bucket) -> None:
    with pytest.raises(NoFilesFound) as raised:
        found(source)
    assert str(raised.value) == f"no .avro file matches --input {told}"


def test_the_second_input_of_two_is_told_to_be_empty(bucket: Bucket) -> None:
    with pytest.raises(NoFilesFound, match=r"--input gs://b/none: "):
        found("gs://b/in", "gs://b/none")


def by_hand(names: Sequence[str], inputs: Sequence[str]) -> list[tuple[str, str]]:
    """(Path, name) as a set of all names would have it."""
    files: dict[str, str] = {}
    for source in inputs:
        for name in sorted(names):
            path = f"gs://b/{name}"
            if path.startswith(f"{source}/"):
                files.setdefault(path, path[len(source) + 1 :])
    return sorted(files.items(), key=lambda item: (item[1].encode(), item[0].encode()))


@pytest.mark.parametrize("seed", range(20))
def test_inputs_that_overlap_are_merged_as_a_set_of_all_names_would_be(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(seed)
    parts = ["a", "b", "a-b", "a.b", "a b", "ä", "event_type=a"]
    names = {"/".join(draw.choices(parts, k=draw.randint(1, 4))) + ".avro" for _ in range(60)}
    made = Bucket(sorted(names))
    use(made, monkeypatch)
    folders = sorted({name.rpartition("/")[0] for name in names if "/" in name})
    inputs = [f"gs://b/{folder}" for folder in draw.choices(folders, k=4)]
    assert [(file.path, file.name) for file in discover(inputs)] == by_hand(made.names, inputs)


def test_a_service_that_does_not_sort_is_sorted_here(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"in/event_type=a/{number}.avro" for number in range(200)] + ["in/event_type=a/1/x.avro"]
    use(Bucket(names), monkeypatch)
    expected = survey(["gs://b/in"], unit_files=7)
    use(Bucket(names, shuffled=True), monkeypatch)
    with pytest.raises(UnsortedListing):
        found("gs://b/in")
    assert found("gs://b/in", in_memory=True) == sorted(names, key=str.encode)
    export = survey(["gs://b/in"], unit_files=7)
    assert (export.digest, export.files, export.bytes) == (expected.digest, expected.files, expected.bytes)
    assert list(export.in_order()) == list(expected.in_order())


# What a survey counts


def test_a_survey_counts_what_a_list_of_the_files_would(bucket: Bucket) -> None:
    files = list(discover(["gs://b/in"]))
    export = survey(["gs://b/in"], unit_files=50)
    assert (export.files, export.bytes) == (180, sum(file.size for file in files))
    assert export.event_types == frozenset({"a", "a.b"})
    units = list(export.in_order())
    assert [file for unit in units for file in unit.files] == files
    assert [unit.number for unit in units] == list(range(export.units)) == [0, 1, 2, 3]
    assert survey(["gs://b"]).event_types is None  # a file whose path names none
    others = [survey(["gs://b/in"], until=1_768_000_000), survey(["gs://b/in"], skip=[files[7].path])]
    assert len({export.digest, *(other.digest for other in others)}) == 3
    assert survey(["gs://b/in"], unit_files=3).digest == export.digest


def test_units_are_joined_where_there_would_be_very_many(bucket: Bucket) -> None:
    files = list(discover(["gs://b/in"]))
    export = survey(["gs://b/in"], unit_files=2, most_units=12)
    assert export.units == 12
    units = list(export.in_order())
    assert [file for unit in units for file in unit.files] == files
    assert {len(unit.files) for unit in units} == {16, 4}
    sizes = [sum(file.size for file in paths.Unit.from_bytes(packed).files) for _, packed in export.largest_first()]
    assert sizes == sorted(sizes, reverse=True)


def test_joined_units_stay_within_an_element(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(9)
    long = [SourceFile(f"gs://b/{draw.getrandbits(3200):0800x}", f"{number}", 1, "v", None) for number in range(9_000)]
    monkeypatch.setattr(listing, "discover", lambda *_, **__: iter(long))
    export = survey(["gs://b"], unit_files=1_000, most_units=1)
    assert export.units > 1
    assert max(len(packed) for _, packed in export.largest_first()) < 3_000_000
    assert [file for unit in export.in_order() for file in unit.files] == long


def test_a_real_service_is_listed_as_a_disk_is(
    store_emulator: Emulator,
) -> None:
    url = store_emulator.url("exports")
    names = ["event_type=a/1.avro", "event_type=a-b/2.avro", "event_type=a.b/3.avro", "event_type=ä/4.avro", "x/y.txt"]
    with store_emulator.applied():
        store = stores.store_for(url)
        for name in names:
            store.put_if_absent(stores.join(url, name), name.encode())
        assert [file.name for file in discover([url])] == sorted(names[:4], key=str.encode)
        assert [file.name for file in discover([f"{url}/event_type=a*"])] == sorted(names[:3], key=str.encode)
        (file,) = discover([f"{url}/event_type=a/1.avro"])
        assert (file.name, file.size, file.event_type) == ("1.avro", 19, "a")
        with pytest.raises(NoFilesFound, match=f"the nearest folder that exists is {url}$"):
            list(discover([f"{url}/nothing/at/all"]))
        with pytest.raises(NoFilesFound, match="the folder is there, but holds no"):
            list(discover([f"{url}/x"]))
