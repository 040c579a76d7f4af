"""The settings that shape a run's output, as every step gets them: frozen, plain values, no secret among them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

EARLIEST_TIME = 31_536_000  # 1971-01-01T00:00:00Z: Mixpanel refuses what is older
CLOCK_SKEW = 3_600  # seconds after now that Mixpanel still takes
READ_CONCURRENCY = 32

KEEP, DROP = "keep", "drop"
SEND, WITHHOLD = "send", "withhold"
NEXT, SOLE, FIRST, NONE = "next", "sole", "first", "none"


def _one_of(*choices: str) -> Any:
    """A setting that is one of these words; the first one is the default."""
    return dataclasses.field(default=choices[0], metadata={"choices": choices})


@dataclasses.dataclass(frozen=True)
class Settings:
    """Flags of the same names; times are UNIX seconds. Workers and runner do not shape the output and are not here.

    What is said here is the default and the choices of the flag too, in its help and in the documentation.
    """

    now: int
    event_types: tuple[str, ...] | None = None
    exclude_events: tuple[str, ...] = ()
    anonymous: str = _one_of("all", "behaviors", "none")
    native_since: int | None = None
    events_since: int | None = None  # inclusive, by the time of the event
    events_until: int | None = None  # exclusive
    users_share: float = 1.0
    deleted_users: str = _one_of("drop", "send")
    properties: str = _one_of("native", "all")
    profile_updates: str = _one_of("set", "set_once", "off")
    tag: str | None = None
    id_merge: str = _one_of("simplified", "original", "none", "native")
    device_links: str = _one_of(NEXT, SOLE, FIRST, NONE)
    device_stay: float | None = 1.0  # days; None: any
    max_profiles_per_device: int = 20
    max_profiles_per_known_user: int = 1_000
    crowd_ids: str = _one_of(KEEP, DROP)
    no_id: tuple[str, ...] = ()  # folded (``identity.ids.folded``) and sorted
    max_reject_share: float = 0.01
    mixed_workspaces: bool = False
    max_block_mb: int = 256
    # What may leave (docs/privacy.md).
    drop: tuple[str, ...] = ()
    hash: tuple[str, ...] = ()
    hash_key_file: str | None = None  # where the key is, never the key; None: in the environment
    hash_key_seal: str | None = None  # not a flag: a digest of the key's digest, where there is anything to hash
    unknown_fields: str = _one_of(SEND, WITHHOLD)
    raw_rejects: bool = False
    suppress: str | None = None  # a file of ids
    suppress_digest: str | None = None  # not a flag: of the ids in it
    # Not a flag: set for a second attempt, in which pass 1 reads all columns, as pass 2 does.
    read_whole_rows: bool = False

    # Not a flag: without --until, the last full hour before now, up to which files are read by their date=.
    read_until: int | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for a word that a setting cannot be; a command line is refused before."""
        for name in self.__dataclass_fields__:
            choices = self.choices(name)
            if choices and getattr(self, name) not in choices:
                raise ValueError(f"{name} is [{getattr(self, name)}]; use one of {', '.join(choices)}")

    @classmethod
    def choices(cls, name: str) -> tuple[str, ...]:
        """The words that a setting can be; none where it is not one of a few."""
        found: tuple[str, ...] = cls.__dataclass_fields__[name].metadata.get("choices", ())
        return found

    @property
    def asks_externals(self) -> bool:
        """Whether units must be told about external ids of rows, beside what they are told about Braze profiles."""
        return self.crowd_ids == DROP or self.suppress is not None

    def valid_times(self, times: np.ndarray) -> np.ndarray:
        """Which times (UNIX seconds, 0 for none) Mixpanel takes; the rows of others are rejects, and no evidence."""
        return (times >= EARLIEST_TIME) & (times <= self.now + CLOCK_SKEW)


@dataclasses.dataclass(frozen=True)
class Plan:
    """How the work is cut: the number of units, and of shards that ids, event-id keys and persons are gathered in.

    It follows from the sizes of the input files alone, so that the output's shards do not depend on the runner.
    """

    units: int
    files: int
    input_bytes: int
    id_shards: int
    key_shards: int
    person_shards: int
    read_concurrency: int = READ_CONCURRENCY  # files that one process has asked a store for at once; shapes nothing

    @classmethod
    def for_input(cls, units: int, files: int, input_bytes: int, read_concurrency: int = READ_CONCURRENCY) -> Plan:
        shards = min(_MOST_SHARDS, 1 + input_bytes // _BYTES_A_SHARD)
        id_shards = min(_MOST_SHARDS, 1 + input_bytes // _BYTES_AN_ID_SHARD)
        return cls(units, files, input_bytes, id_shards, shards, shards, read_concurrency)


_BYTES_A_SHARD = 512 << 20
# Every unit sends every shard something: with more of them the elements get too small, with fewer the groups too large
# (``benchmarks/shuffle_forecast.py`` works both out for ten billion rows).
_MOST_SHARDS = 1024
# Links are a tenth of the rows and all meet in one place anyway: gathering them in two steps pays late (at 3 million
# rows of 300,000 people one step takes 28.7 CPU seconds, two take 31.1).
_BYTES_AN_ID_SHARD = 3_400 << 20
