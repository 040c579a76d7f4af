"""The people of a sample export: their devices, Braze profiles and logins, and the truth about who is who.

Everything that identity resolution has to cope with is a *presence*: one Braze profile, seen under one external id (or
none) on one device (or none) for a while. They follow the rules of Braze's SDK: an install begins anonymous, with a
device id and a profile of its own. The first login makes that profile the known one, or, where the known user has a
profile already, orphans it into that one (a presence that ends in a ``users.UserOrphan`` row). From then on the install
goes from known user to known user, until its data is wiped, by a reinstall or by the app at logout: what comes then is
an install of its own, and has the old device id only where the system keeps one (as the IDFV of iOS).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from pipelines.sample_export.facts import PersonFacts

ZERO_DEVICE = "00000000-0000-0000-0000-000000000000"
JUNK_EXTERNAL_IDS = ("null", "anonymous", "0", "N/A", "undefined", "None", " ")
JUNK_USER_IDS = frozenset({ZERO_DEVICE})
KIOSK_PROFILES = 26

# Share of people by the course that their identity takes. The first people of an export take one course each in this
# order, so that the smallest export has them all.
COURSES = {
    "known": 0.40,
    "signs_up": 0.17,
    "never_known": 0.13,
    "second_install": 0.12,
    "starts_anew": 0.03,
    "second_device_anonymous": 0.03,
    "family_tablet": 0.03,
    "without_device": 0.05,
    "zero_device": 0.01,
    "deleted": 0.01,
    "renamed": 0.004,
    "two_accounts": 0.004,
    "junk_external": 0.012,
}
FEWEST_PEOPLE = len(COURSES) + len(JUNK_EXTERNAL_IDS)  # a family takes two, the junk ids one each

ANONYMOUS, KNOWN, WITHOUT_DEVICE = range(3)
FIRST_SESSION, SESSION, EMAIL = "first session", "session", "email"


@dataclasses.dataclass
class Presence:
    """One profile under one external id on one device, from ``start`` to ``end`` (UNIX seconds).

    ``opening`` is the kind of activity that is certain to happen; ``weight`` is rows per second relative to others.
    """

    person: int
    user_id: str
    external_user_id: str | None
    device: int | None
    start: int
    end: int
    weight: float
    opening: str
    orphaned_by_id: str | None = None

    @property
    def kind(self) -> int:
        if self.device is None:
            return WITHOUT_DEVICE
        return KNOWN if self.external_user_id not in (None, *JUNK_EXTERNAL_IDS) else ANONYMOUS


class Population:
    """All presences of an export, with the rows that must stand in it (merges, deletions) and the truth."""

    def __init__(self, *, users: int, start: int, end: int, rng: np.random.Generator, orphan_rows: float = 1.0) -> None:
        self.presences: list[Presence] = []
        self.certain: list[tuple[int, str, int]] = []  # (presence, event type, UNIX seconds)
        self._rng, self._start, self._end = rng, start, end
        self._facts = PersonFacts(rng)
        self._people: list[dict[str, Any]] = []
        self._devices: list[dict[str, Any]] = []
        self._cache: dict[int, dict[str, Any]] = {}
        self._braze: dict[str, str | None] = {}
        # Exports from before Braze had these rows have none, so they begin at a moment.
        self._first_orphan_row = end - int((end - start) * orphan_rows)
        self._settle(users)

    @property
    def persons(self) -> int:
        return len(self._people)

    @property
    def devices(self) -> int:
        return len(self._devices)

    def truth(self) -> dict[str, dict[str, str | None]]:
        """``persons``: profile id to the name of the person whose it is; ``braze``: to the external id that Braze has
        for it in the end, its own or that of the profile it was merged into. Junk profile ids are nobody's.
        """
        of = {p.user_id: p.person for p in self.presences if p.user_id not in JUNK_USER_IDS}
        return {
            "persons": {user_id: self._people[person]["name"] for user_id, person in of.items()},
            "braze": {user_id: self._braze[user_id] for user_id in of},
        }

    def columns(self, presence: int) -> dict[str, Any]:
        """The columns that a row takes from who and where it is, whatever its type."""
        columns = self._cache.get(presence)
        if columns is None:
            p = self.presences[presence]
            columns = {"user_id": p.user_id, "external_user_id": p.external_user_id, "orphaned_by_id": p.orphaned_by_id}
            columns |= self._people[p.person]["anonymous" if p.kind == ANONYMOUS else "known"]
            if p.device is not None:
                columns |= self._devices[p.device]
            self._cache[presence] = columns
        return columns

    def _settle(self, users: int) -> None:
        names = list(COURSES)
        shares = np.array(list(COURSES.values()))
        courses = self._rng.choice(len(names), size=users, p=shares / shares.sum())
        courses[: len(names)] = np.arange(len(names))
        activity = self._rng.lognormal(0.0, 1.2, users)
        activity[: len(names)] = 1.0
        for course, weight in zip(courses, activity, strict=True):
            if len(self._people) < users:  # a family takes two
                getattr(self, "_" + names[course])(self._person(), float(weight))
        for _ in range(1 + users // 5000):
            self._kiosk()

    # --- small pieces -------------------------------------------------------------------------------------------

    def _person(self) -> int:
        self._people.append(self._facts.person(len(self._people)))
        return len(self._people) - 1

    def _is_first(self, person: int) -> bool:
        """Whether this is one of the first people, who show every variant of their course."""
        return person < FEWEST_PEOPLE

    def _device(self, device_id: str | None = None) -> int:
        self._devices.append(self._facts.device(device_id))
        return len(self._devices) - 1

    def _profile(self) -> str:
        return self._rng.bytes(12).hex()

    def _moment(self, low: float = 0.1, high: float = 0.9) -> int:
        """A moment between two shares of the window."""
        return int(self._start + (self._end - self._start) * self._rng.uniform(low, high))

    def _external(self, person: int) -> str:
        return self._people[person]["external_user_id"]

    def _add(
        self,
        person: int,
        user_id: str,
        external: str | None,
        device: int | None,
        weight: float,
        start: int | None = None,
        end: int | None = None,
        *,
        new: bool = False,
    ) -> int:
        opening = EMAIL if device is None else FIRST_SESSION if new else SESSION
        since, until = self._start if start is None else start, self._end if end is None else end
        self.presences.append(Presence(person, user_id, external, device, since, until, weight, opening))
        named = external is not None and external not in JUNK_EXTERNAL_IDS
        self._braze[user_id] = external if named else self._braze.get(user_id)
        return len(self.presences) - 1

    def _login_after(self, begins: int) -> int:
        """When somebody signs in after an install: half of them within a day, one in eight after more than a week."""
        stay = int(self._rng.lognormal(np.log(18 * 3600), 2.0))
        return min(begins + max(30, stay), int(begins + (self._end - begins) * 0.95))

    def _install(
        self, user: int, owner: int, profile: str, weight: float, begins: int, login: int, device: int
    ) -> None:
        """Anonymous in the hands of ``user`` until ``owner``, who has a profile, signs in: Braze merges the two."""
        anonymous = self._add(user, self._profile(), None, device, weight, begins, login, new=True)
        orphan = self.presences[anonymous]
        self._braze[orphan.user_id] = self._external(owner)
        if login >= self._first_orphan_row:
            orphan.orphaned_by_id = profile
            self.certain.append((anonymous, "users.UserOrphan", login))
        self._add(owner, profile, self._external(owner), device, weight, start=login)

    # --- courses ------------------------------------------------------------------------------------------------

    def _known(self, person: int, weight: float) -> str:
        """Known all along; a third have a second device on which they have long been logged in."""
        profile = self._profile()
        self._add(person, profile, self._external(person), self._device(), weight)
        if self._rng.random() < 0.33:
            self._add(person, profile, self._external(person), self._device(), weight * 0.4)
        return profile

    def _signs_up(self, person: int, weight: float) -> None:
        profile, device, begins = self._profile(), self._device(), self._moment(0.0, 0.7)
        login = self._login_after(begins)
        self._add(person, profile, None, device, weight, begins, login, new=True)
        self._add(person, profile, self._external(person), device, weight, start=login)

    def _never_known(self, person: int, weight: float) -> None:
        self._add(person, self._profile(), None, self._device(), weight * 0.6, new=True)
        if self._rng.random() < 0.2:
            self._add(person, self._profile(), None, self._device(), weight * 0.2, start=self._moment(), new=True)

    def _second_install(self, person: int, weight: float) -> None:
        """A second device begins anonymous, and its owner has a profile."""
        profile, begins = self._known(person, weight), self._moment(0.05, 0.7)
        login = self._moment(0.9, 0.95) if self._is_first(person) else self._login_after(begins)
        self._install(person, person, profile, weight, begins, login, self._device())

    def _starts_anew(self, person: int, weight: float) -> None:
        """Logs out of an app that then wipes its data, or installs it again, and signs in once more.

        In half of the cases the device keeps its id; a third never sign in again.
        """
        profile, first, again = self._profile(), self._device(), self._moment(0.2, 0.7)
        self._add(person, profile, self._external(person), first, weight, end=again)
        device = first if self._rng.random() < 0.5 else self._device()
        if not self._is_first(person) and self._rng.random() < 0.33:
            self._add(person, self._profile(), None, device, weight * 0.5, start=again, new=True)
        else:
            self._install(person, person, profile, weight, again, self._login_after(again), device)

    def _second_device_anonymous(self, person: int, weight: float) -> None:
        self._known(person, weight)
        self._add(person, self._profile(), None, self._device(), weight * 0.5, start=self._moment(), new=True)

    def _family_tablet(self, person: int, weight: float) -> None:
        """Two people with a phone each and one tablet, which begins anonymous, in the hands of either.

        Then they take turns. In a quarter of families the partner never signs in anywhere: the one shared device that
        no policy can tell from a person's own, except by how long it was anonymous.
        """
        partner, tablet = self._person(), self._device()
        owner_profile = self._known(person, weight)
        if not self._is_first(person) and self._rng.random() < 0.25:
            begins = self._moment(0.0, 0.6)
            # No login of the partner's own ends it, so it takes as long as it happens to.
            login = int(begins + (self._end - begins) * self._rng.uniform(0.02, 0.95))
            self._install(partner, person, owner_profile, weight * 0.5, begins, login, tablet)
            return
        profiles = [owner_profile, self._known(partner, weight)]
        logins = [self._moment(0.1 + 0.2 * turn, 0.25 + 0.2 * turn) for turn in range(4)]
        first = (person, partner)[int(self._rng.integers(2))]
        self._install(first, person, owner_profile, weight * 0.5, self._start, logins[0], tablet)
        self.presences[-1].end = logins[1]
        for turn, login in enumerate(logins[1:], start=1):
            who = (person, partner)[turn % 2]
            until = logins[turn + 1] if turn + 1 < len(logins) else None
            self._add(who, profiles[turn % 2], self._external(who), tablet, weight * 0.5, login, until)

    def _without_device(self, person: int, weight: float) -> None:
        self._add(person, self._profile(), self._external(person), None, weight * 0.5)

    def _junk_external(self, person: int, weight: float) -> None:
        """Apps that log out by logging in as 'null' and the like; of the first people, one for each such id."""
        junk = [str(self._rng.choice(JUNK_EXTERNAL_IDS))]
        if self._is_first(person):
            junk = list(JUNK_EXTERNAL_IDS)
        for number, external in enumerate(junk):
            owner = self._person() if number else person
            self._add(owner, self._profile(), external, self._device(), weight * 0.3)

    def _zero_device(self, person: int, weight: float) -> None:
        """Devices that refuse to tell their id, and once a profile id that is not an id."""
        zeros = self._device(ZERO_DEVICE)
        self._add(person, self._profile(), self._external(person), zeros, weight)
        if self._is_first(person):
            self._add(person, ZERO_DEVICE, self._external(person), zeros, weight * 0.05)

    def _deleted(self, person: int, weight: float) -> None:
        """Deletion at the customer's request; half of these people have a second profile that stays."""
        gone = self._moment(0.3, 0.9)
        last = self._add(person, self._profile(), self._external(person), self._device(), weight, end=gone)
        self.certain.append((last, "users.UserDeleteRequest", gone))
        if self._is_first(person) or self._rng.random() < 0.5:
            self._add(person, self._profile(), self._external(person), self._device(), weight)

    def _renamed(self, person: int, weight: float) -> None:
        """One profile whose external id is changed: two known users to Mixpanel, one person in truth."""
        profile, device, login = self._profile(), self._device(), self._moment()
        self._add(person, profile, self._external(person), device, weight, end=login)
        self._add(person, profile, self._external(person) + "-new", device, weight, start=login)

    def _two_accounts(self, person: int, weight: float) -> None:
        device, login = self._device(), self._moment()
        self._add(person, self._profile(), self._external(person), device, weight, end=login)
        self._add(person, self._profile(), self._external(person) + "-b", device, weight, start=login)

    def _kiosk(self) -> None:
        """A device in a shop: a new anonymous profile every few minutes, and now and then a login."""
        device, opens = self._device(), self._moment(0.1, 0.3)
        step = max(120, int((self._end - opens) * 0.8) // KIOSK_PROFILES)
        known = [i for i, p in enumerate(self.presences[:500]) if p.kind == KNOWN and p.start == self._start]
        for visit in range(KIOSK_PROFILES):
            person = int(self._rng.integers(len(self._people)))
            since = opens + visit * step
            if visit % 5 == 4:
                guest = self.presences[known[int(self._rng.integers(len(known)))]]
                self._add(guest.person, guest.user_id, guest.external_user_id, device, 0.5, since, since + step // 2)
            else:
                self._add(person, self._profile(), None, device, 0.5, since, since + step // 2, new=True)
