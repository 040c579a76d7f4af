"""When things happen: the rows of an export as NumPy columns, from which files are cut and filled.

A row is who (presence), what (template) and when (``time``, and ``arrival``, the moment at which Braze queued it, which
decides its file). Everything irregular is made here: late rows, rows written twice, rows that no job can send.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from pipelines.sample_export import people
from pipelines.sample_export.funnels import APP, CONTACT, PUSH, Library
from transforms.currents import catalog

HOUR, DAY = 3600, 86400
ROWS_PER_PERSON_AND_DAY = 100
LATE_SHARE, REPEATED_SHARE, REJECTED_SHARE = 0.008, 0.005, 0.0003
LONGEST_DELAY_OF_LATE_ROWS = 20 * DAY
FEWEST_ROWS_A_STORY = 2  # on average, whatever the mix
SHARE_OF_ROWS_KEPT = 0.97  # the others would come after the export's or the profile's end
FAR_FUTURE = 2**31 - 1
NULLABLE_ID_TYPE = "users.behaviors.Location"

# Cumulative chance of each kind of script (app, push, contact) by kind of presence.
MIX = {people.ANONYMOUS: (0.85, 1.0, 1.0), people.KNOWN: (0.28, 0.45, 1.0), people.WITHOUT_DEVICE: (0.0, 0.0, 1.0)}
# Relative activity by hour, UTC.
HOURLY = np.array([3, 2, 2, 2, 3, 5, 8, 11, 13, 14, 14, 15, 16, 15, 14, 14, 15, 17, 19, 20, 18, 14, 9, 5]) / 20


@dataclasses.dataclass
class Rows:
    """Columns of equal length; ``story`` tells which rows belong to one session or message."""

    event_type: np.ndarray
    time: np.ndarray
    arrival: np.ndarray
    presence: np.ndarray
    template: np.ndarray
    story: np.ndarray
    number: np.ndarray  # stands for the event id: a row written twice has one number
    null_id: np.ndarray

    def __len__(self) -> int:
        return len(self.time)

    def take(self, chosen: np.ndarray) -> Rows:
        return Rows(*(getattr(self, field.name)[chosen] for field in dataclasses.fields(self)))


def _certain_stories(
    population: people.Population, library: Library, start: int, end: int, old_until: int, rng: np.random.Generator
) -> np.ndarray:
    """(presence, script, time) of what must happen: an opening for each presence, each type, each oddity."""
    stories: list[tuple[int, int, int]] = []
    for number, p in enumerate(population.presences):
        span = p.end - p.start
        offset = rng.random() * (span if p.start == start else min(600, span))
        stories.append((number, library.of[p.opening], p.start + int(offset * 0.9)))
    for presence, event_type, time in population.certain:
        stories.append((presence, library.of["type:" + event_type], time))
    hosts = [
        n
        for n, p in enumerate(population.presences)
        if p.kind == people.KNOWN and (p.start, p.end) == (start, end) and p.user_id not in people.JUNK_USER_IDS
    ]
    for purpose, script in library.of.items():
        event_type = purpose.removeprefix("type:")
        if event_type in (catalog.USER_ORPHAN, catalog.USER_DELETE_REQUEST) or ":" not in purpose:
            continue
        known = catalog.event_types().get(event_type)
        low, high = (start, old_until) if known and known.removed else (start, end)
        if event_type == NULLABLE_ID_TYPE:
            low, high = old_until, old_until + HOUR
        stories.append((int(rng.choice(hosts)), script, int(low + (high - low) * rng.uniform(0.02, 0.9))))
    return np.array(stories, dtype=np.int64)


def _drawn_stories(
    population: people.Population, library: Library, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Presence, script and time of ``count`` stories: skewed over people, by day and night, some in blasts."""
    starts = np.array([p.start for p in population.presences], dtype=np.int64)
    spans = np.array([p.end - p.start for p in population.presences], dtype=np.int64)
    activity = np.cumsum(spans * np.array([p.weight for p in population.presences]))
    presence = np.searchsorted(activity, rng.random(count) * activity[-1], side="right").clip(max=len(starts) - 1)
    mix = np.array([MIX[p.kind] for p in population.presences])[presence]
    kind = (rng.random(count)[:, None] >= mix).sum(axis=1)
    script = np.zeros(count, dtype=np.int64)
    for each in (APP, PUSH, CONTACT):
        low, high = library.pool[each]
        mine = kind == each
        # Squared: some campaigns go to many people, most to few.
        script[mine] = low + (rng.random(int(mine.sum())) ** 2 * (high - low)).astype(np.int64)
    time = starts[presence] + (rng.random(count) * spans[presence]).astype(np.int64)
    for _ in range(4):
        again = np.flatnonzero(rng.random(count) > HOURLY[time % DAY // HOUR])
        time[again] = starts[presence[again]] + (rng.random(len(again)) * spans[presence[again]]).astype(np.int64)
    window = int(starts.min()), int((starts + spans).max())
    moments = rng.integers(*window, len(library.length))
    blast = moments[script] + rng.integers(0, 240, count)
    inside = (kind != APP) & (blast >= starts[presence]) & (blast < (starts + spans)[presence])
    use = inside & (rng.random(count) < 0.5)
    time[use] = blast[use]
    return presence, script, time


def plan(
    population: people.Population,
    library: Library,
    *,
    total: int,
    start: int,
    end: int,
    eras: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[Rows, dict[str, int]]:
    """About ``total`` rows, and how many of them are late, repeated and unusable.

    ``eras`` are the moments at which the second and third schema version begin.
    """
    certain = _certain_stories(population, library, start, end, eras[0], rng)
    least = int(library.length[certain[:, 1]].sum())
    # Draw more stories than needed, keep as many as give the rows still wanted.
    drawn = _drawn_stories(population, library, max(0, total - least) // FEWEST_ROWS_A_STORY, rng)
    enough = int(np.searchsorted(np.cumsum(library.length[drawn[1]]), (total - least) / SHARE_OF_ROWS_KEPT))
    presence, script, time = (np.concatenate((certain[:, n], drawn[n][:enough])) for n in range(3))

    length = library.length[script]
    story = np.repeat(np.arange(len(script)), length)
    step = np.arange(len(story)) - np.repeat(np.cumsum(length) - length, length) + library.first[script][story]
    delay = library.step_delay[step]
    when = time[story] + delay
    ends = np.array([p.end for p in population.presences], dtype=np.int64)[presence[story]]
    # After a merge or a deletion nothing comes under the old profile; what has begun has its first row at least.
    alive = (when < end) & ((when < ends) | (delay == 0) | (story < len(certain)))
    count = int(alive.sum())
    arrival = np.minimum(when[alive] + rng.exponential(20, count).astype(np.int64), end - 1)
    rows = Rows(
        library.step_type[step[alive]],
        when[alive],
        arrival,
        presence[story[alive]].astype(np.int32),
        step[alive].astype(np.int32),
        story[alive].astype(np.int32),
        np.arange(count),
        np.zeros(count, dtype=bool),
    )
    # Those who were there when the export begins may have rows of before it.
    starts = np.array([p.start * (p.start > start or p.opening == people.FIRST_SESSION) for p in population.presences])
    return _disturb(rows, library, int((rows.story < len(certain)).sum()), starts, end, eras, rng)


def _disturb(
    rows: Rows,
    library: Library,
    certain: int,
    starts: np.ndarray,
    end: int,
    eras: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[Rows, dict[str, int]]:
    """Make some rows late, unusable or twice; the certain rows, which come first, stay usable."""
    count = len(rows)
    begin = certain if count - certain >= 50 else 0
    late = np.sort(rng.choice(np.arange(begin, count), max(3, int(count * LATE_SHARE)), replace=False))
    rows.time[late] -= (HOUR * rng.lognormal(1.5, 1.5, len(late))).clip(HOUR, LONGEST_DELAY_OF_LATE_ROWS).astype(int)
    rows.time[late] = np.maximum(rows.time[late], starts[rows.presence[late]])  # nothing is of before its presence

    bad = rng.choice(np.arange(begin, count), max(4, int(count * REJECTED_SHARE)), replace=False)
    rows.time[bad[::2]], rows.time[bad[1::2]] = 0, FAR_FUTURE
    nullable = np.flatnonzero(
        (rows.event_type == library.types.index(NULLABLE_ID_TYPE))
        & (rows.arrival >= eras[0])
        & (rows.arrival < eras[1])
    )
    rows.null_id[nullable[: 1 + len(nullable) // 200]] = True

    twice = np.sort(rng.choice(count, max(1, int(count * REPEATED_SHARE)), replace=False))
    again = rows.take(twice)
    again.arrival += rng.integers(600, 7200, len(twice))
    again = again.take((again.arrival < end) & ~again.null_id)
    names = [field.name for field in dataclasses.fields(Rows)]
    merged = Rows(*(np.concatenate((getattr(rows, name), getattr(again, name))) for name in names))

    def usable(some: Rows) -> np.ndarray:
        return (some.time > 0) & (some.time < FAR_FUTURE) & ~some.null_id

    special = {
        "late": int(usable(rows.take(late)).sum()),
        "rejects": int((~usable(merged)).sum()),
        "repeats": int(usable(again).sum()),
    }
    return merged, special
