"""The resolver's rules with a plain union-find: the oracle of its tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

B_TYPE = {0: "external_user_id", 1: "user_id", 2: "device_id"}


class Link(NamedTuple):
    """One row of the link table."""

    rank: int
    a: str
    b: str
    time: int = 0
    event_id: str = ""
    file: str = "f.avro"

    @property
    def ends(self) -> tuple[str, str]:
        return "user_id:" + self.a, f"{B_TYPE[self.rank]}:{self.b}"

    def strength(self) -> tuple[object, ...]:
        pair = sorted(end.encode() for end in self.ends)
        return self.rank, self.time, self.event_id.encode(), pair, self.a.encode()


class Clusters:
    """Clusters of typed ids with at most one known user each."""

    def __init__(self) -> None:
        self.parent: dict[str, str] = {}

    def find(self, node: str) -> str:
        while self.parent.setdefault(node, node) != node:
            node = self.parent[node]
        return node

    def members(self, node: str) -> set[str]:
        return {other for other in list(self.parent) if self.find(other) == self.find(node)}

    def known(self, node: str) -> str | None:
        users = [other for other in self.members(node) if other.startswith("external_user_id:")]
        assert len(users) < 2
        return users[0].removeprefix("external_user_id:") if users else None

    def walk(self, links: Iterable[Link]) -> set[Link]:
        """Accept what may be, strongest first."""
        accepted = set()
        for link in sorted(links, key=Link.strength):
            a, b = link.ends
            if self.find(a) != self.find(b) and (self.known(a) is None or self.known(b) is None):
                self.parent[self.find(a)] = self.find(b)
                accepted.add(link)
        return accepted


def resolve_by_hand(
    links: list[Link], nodes: Iterable[str], policy: str, limit: int
) -> tuple[dict[Link, str], list[dict[str, str | None]], dict[str, tuple[str | None, str]]]:
    """(status of each link, rows of the ids table, known user and ``via`` of each profile)."""
    strong = Clusters()
    strong.walk(link for link in links if link.rank < 2)
    left_out: dict[str, str] = {}
    for device in {link.b for link in links if link.rank == 2}:
        profiles = {link.a for link in links if link.rank == 2 and link.b == device}
        users = {strong.known("user_id:" + profile) for profile in profiles} - {None}
        if len(profiles) > limit:
            left_out[device] = "quarantined"
        elif policy == "none" or (policy == "sole" and len(users) > 1):
            left_out[device] = "contested"
    final = Clusters()
    accepted = final.walk(link for link in links if link.rank < 2 or link.b not in left_out)
    for node in [*nodes, *(end for link in links for end in link.ends)]:
        final.find(node)

    status = {}
    for link in links:
        if link.rank == 2 and link.b in left_out:
            status[link] = left_out[link.b]
        elif link in accepted:
            status[link] = "accepted"
        else:
            status[link] = "redundant" if final.find(link.ends[0]) == final.find(link.ends[1]) else "refused"
    ids: list[dict[str, str | None]] = []
    by_profile: dict[str, tuple[str | None, str]] = {}
    for node in sorted(final.parent, key=str.encode):
        kind, name = node.split(":", 1)
        known = final.known(node)
        cluster = known if known is not None else min(final.members(node), key=str.encode)
        distinct = "$device:" + name if kind == "user_id" and known is None else known
        ids.append({"id_type": kind, "id": name, "distinct_id": distinct, "cluster": cluster})
        if kind == "user_id":
            by_profile[name] = (known, _via(node, known, accepted))
    return status, ids, by_profile


def _via(node: str, known: str | None, accepted: set[Link]) -> str:
    """Reach the known user with ever weaker links."""
    for rank, via in enumerate(("own", "profile", "device")):
        reached = {node}
        for _ in accepted:
            for link in accepted:
                if link.rank <= rank and reached & set(link.ends):
                    reached |= set(link.ends)
        if known is not None and f"external_user_id:{known}" in reached:
            return via
    return "none"
