"""Who is who, by hand: links from rows, Kruskal over them, and the device policies (a part of the oracle)."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

from transforms.currents import catalog

Node = tuple[str, str]  # (id type, id)
LinkKey = tuple[int, Node, Node]  # rank, smaller node, larger node (by their "type:id" bytes)
Evidence = tuple[int, bytes, bytes]  # time, event id, file

USER, EXTERNAL, DEVICE = "user_id", "external_user_id", "device_id"
DISALLOWED = frozenset(
    {
        "00000000-0000-0000-0000-000000000000",
        "anon",
        "anonymous",
        "nil",
        "none",
        "null",
        "n/a",
        "na",
        "undefined",
        "unknown",
        "<nil>",
        "0",
        "-1",
        "true",
        "false",
        "[]",
        "{}",
        "lmy47d",
    }
)
NOBODY = {
    "[object object]", "(null)", "<null>", "nan", "guest", "not_authenticated", "(not set)", "undefined undefined",
}  # fmt: skip
STOCK_DEVICES = {
    "9774d56d682e549c", "e21833235b6eef10", "012345678912345", "0123456789abcdef", "02:00:00:00:00:00",
    "00:00:00:00:00:00", "***************",
}  # fmt: skip
EARLIEST_TIME = 31_536_000  # 1971-01-01T00:00Z


class Row(NamedTuple):
    """One decodable row; ``record`` holds its columns with 32-bit floats already in shortest form.

    ``no_id``: words that are not ids in this run. ``crowd``: external ids that the run drops.
    ``broken`` are its columns that had a text that is not UTF-8.
    """

    file: str
    number: int
    event_type: str
    record: dict[str, Any]
    no_id: frozenset[str] = frozenset()
    crowd: frozenset[str] = frozenset()
    broken: frozenset[str] = frozenset()

    def usable(self, column: str) -> str | None:
        value: str | None = self.record.get(column)
        words = self.no_id | (STOCK_DEVICES if column == DEVICE else set())
        if not is_usable(value) or value is None or visible(value).casefold() in words:
            return None
        if column == EXTERNAL and (value in self.crowd or visible(value).startswith("$device:")):
            return None
        return value

    def sent_by_connector(self) -> bool:
        """With an external id as Braze sees it, unless Mixpanel would refuse it."""
        value = self.record.get(EXTERNAL)
        return value is not None and value != "" and value.strip().casefold() not in DISALLOWED

    def valid_time(self, now: int) -> bool:
        time = self.record.get("time")
        return time is not None and EARLIEST_TIME <= time <= now + 3600

    def is_evidence(self, now: int) -> bool:
        return self.valid_time(now) and not self.broken & {"id", USER, EXTERNAL, DEVICE, "orphaned_by_id"}


class Identities(NamedTuple):
    known: dict[Node, str | None]  # the known user of each node's cluster
    cluster: dict[Node, str]
    via: dict[Node, str]
    links: dict[LinkKey, tuple[int, str, str, str, str | None]]  # time, event id, file, status, device


def visible(value: str) -> str:
    """Without what is not seen at the ends."""
    unseen = {"\u200b", "\u2060", "\ufeff"}
    shown = [place for place, character in enumerate(value) if not character.isspace() and character not in unseen]
    return value[shown[0] : shown[-1] + 1] if shown else ""


def is_usable(value: str | None) -> bool:
    trimmed = visible(value or "").casefold()
    return trimmed not in DISALLOWED | NOBODY and trimmed.strip("0-") != ""


def find_crowd(rows: list[Row], now: int, limit: int) -> dict[str, int]:
    """The external ids that more than ``limit`` profiles carry, and how many do."""
    profiles: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        external, profile = row.usable(EXTERNAL), row.usable(USER)
        if external and profile and row.is_evidence(now) and row.event_type != catalog.USER_ORPHAN:
            profiles[external].add(profile)
    return {external: len(those) for external, those in profiles.items() if len(those) > limit}


def typed(node: Node) -> bytes:
    return f"{node[0]}:{node[1]}".encode()


def find_links(rows: list[Row], now: int) -> tuple[set[Node], dict[LinkKey, Evidence]]:
    """The nodes, and each link with its least evidence."""
    nodes: set[Node] = set()
    links: dict[LinkKey, Evidence] = {}
    for row in rows:
        if not row.is_evidence(now):
            continue
        found: list[tuple[int, str, Node]] = []  # rank, column of the other end, the other end
        if row.event_type == catalog.USER_ORPHAN:
            if survivor := row.usable("orphaned_by_id"):
                found.append((1, USER, (USER, survivor)))
        else:
            if external := row.usable(EXTERNAL):
                found.append((0, EXTERNAL, (EXTERNAL, external)))
            unread = "machine_open" in row.broken
            opened = unread or row.record.get("machine_open") == "true"
            machine_made = opened or row.event_type.startswith(catalog.WEBHOOKS)
            if (device := row.usable(DEVICE)) and not machine_made:
                found.append((2, DEVICE, (DEVICE, device)))
        nodes.update(other for _, _, other in found)
        if not (profile := row.usable(USER)):
            continue
        node = (USER, profile)
        nodes.add(node)
        evidence = (row.record["time"], (row.record.get("id") or "").encode(), row.file.encode())
        for rank, _, other in found:
            if other != node:
                small, large = sorted((node, other), key=typed)
                key = (rank, small, large)
                links[key] = min(links.get(key, evidence), evidence)
    return nodes, links


class Forest:
    """Sets of nodes with at most one known user each, and the links that made them."""

    def __init__(self, nodes: set[Node]) -> None:
        self.parent = {node: node for node in nodes}
        self.known = {node: node[1] if node[0] == EXTERNAL else None for node in nodes}
        self.accepted: set[LinkKey] = set()

    def root(self, node: Node) -> Node:
        while self.parent[node] != node:
            node = self.parent[node]
        return node

    def known_user(self, node: Node) -> str | None:
        return self.known[self.root(node)]

    def grow(self, links: dict[LinkKey, Evidence]) -> Forest:
        """Kruskal: strongest link first, unless it closes a cycle or joins two known users."""
        for key in sorted(links, key=lambda key: (key[0], *links[key][:2], typed(key[1]), typed(key[2]))):
            a, b = self.root(key[1]), self.root(key[2])
            if a == b or (self.known[a] is not None and self.known[b] is not None):
                continue
            self.accepted.add(key)
            self.parent[a] = b
            self.known[b] = self.known[b] if self.known[b] is not None else self.known[a]
        return self


DAY = 86_400


def inherited(rows: list[Row], now: int, strong: Forest, most: int, stay: float) -> dict[LinkKey, tuple[Evidence, str]]:
    """The links of the policy ``next``, from the rows themselves: (evidence, device)."""
    here: dict[str, list[tuple[Evidence, str, bool]]] = defaultdict(list)
    for row in rows:
        opened = "machine_open" in row.broken or row.record.get("machine_open") == "true"
        orphan_or_webhook = row.event_type == catalog.USER_ORPHAN or row.event_type.startswith(catalog.WEBHOOKS)
        profile, device = row.usable(USER), row.usable(DEVICE)
        if profile and device and row.is_evidence(now) and not opened and not orphan_or_webhook:
            known_type = catalog.event_types().get(row.event_type)
            evidence = (row.record["time"], (row.record.get("id") or "").encode(), row.file.encode())
            here[device].append((evidence, profile, known_type is not None and known_type.bound))
    heirs: dict[str, list[tuple[str, str, str, Evidence]]] = defaultdict(list)
    for device, those in here.items():
        user = {profile: strong.known_user((USER, profile)) for _, profile, _ in those}
        arrivals = [(evidence, profile) for evidence, profile, bound in those if bound and user[profile] is not None]
        strangers = {profile for _, profile, bound in those if bound and user[profile] is None}
        if len(user) > most or not arrivals or len(strangers) != 1:
            continue
        (stranger,) = strangers
        mine = [evidence[0] for evidence, profile, bound in those if bound and profile == stranger]
        arrival, heir = min(arrivals, key=lambda one: (one[0], one[1].encode()))
        users = set(user.values()) - {None}
        longest = min(stay, 1 / 24) if len(users) > 1 else stay
        first_known = min(evidence[0] for evidence, profile, _ in those if user[profile] is not None)
        begins_near = arrival[0] - min(mine) <= longest * DAY
        if max(mine) <= first_known + 60 and begins_near and arrival[0] - max(mine) <= 30 * DAY:
            heirs[stranger].append((str(user[heir]), heir, device, arrival))
    found: dict[LinkKey, tuple[Evidence, str]] = {}
    for stranger, offers in heirs.items():
        if len({user for user, *_ in offers}) > 1:
            continue
        for heir in {offer[1] for offer in offers}:
            same = [offer for offer in offers if offer[1] == heir]
            small, large = sorted(((USER, stranger), (USER, heir)), key=typed)
            least = min((offer[2] for offer in same), key=str.encode)
            found[2, small, large] = (min(offer[3] for offer in same), least)
    return found


def resolve(
    rows: list[Row], now: int, device_links: str, max_profiles_per_device: int, device_stay: float
) -> Identities:
    nodes, links = find_links(rows, now)
    profiles_of: dict[Node, set[Node]] = defaultdict(set)
    for rank, device, profile in links:  # "device_id:" sorts before "user_id:"
        if rank == 2:
            profiles_of[device].add(profile)
    strong = Forest(nodes).grow({key: evidence for key, evidence in links.items() if key[0] < 2})
    left_out: dict[Node, str] = {}
    for device, profiles in profiles_of.items():
        known_users = {strong.known_user(profile) for profile in profiles} - {None}
        if len(profiles) > max_profiles_per_device:
            left_out[device] = "quarantined"
        elif device_links in ("none", "next") or (device_links == "sole" and len(known_users) >= 2):
            left_out[device] = "contested"
    device_of: dict[LinkKey, str] = {}
    if device_links == "next":
        for key, (evidence, device_id) in inherited(rows, now, strong, max_profiles_per_device, device_stay).items():
            links[key], device_of[key] = evidence, device_id
    forest = Forest(nodes).grow({key: evidence for key, evidence in links.items() if key[1] not in left_out})

    members: dict[Node, list[Node]] = defaultdict(list)
    for node in nodes:
        members[forest.root(node)].append(node)
    cluster = {}
    for root, together in members.items():
        known = forest.known[root]
        label = known if known is not None else min(map(typed, together)).decode()
        cluster.update(dict.fromkeys(together, label))
    statuses = {}
    for key, (time, event_id, file) in links.items():
        same = forest.root(key[1]) == forest.root(key[2])
        status = "accepted" if key in forest.accepted else left_out.get(key[1]) or ("redundant" if same else "refused")
        statuses[key] = (time, event_id.decode(), file.decode(), status, device_of.get(key))
    return Identities(
        known={node: forest.known_user(node) for node in nodes},
        cluster=cluster,
        via=_via(nodes, forest),
        links=statuses,
    )


def _via(nodes: set[Node], forest: Forest) -> dict[Node, str]:
    """How each profile came to its known user: walk each tree outwards from its known user."""
    neighbours: dict[Node, list[tuple[int, Node]]] = defaultdict(list)
    for rank, small, large in forest.accepted:
        neighbours[small].append((rank, large))
        neighbours[large].append((rank, small))
    via = dict.fromkeys(nodes, "none")
    for start in (node for node in nodes if node[0] == EXTERNAL):
        todo: list[tuple[Node, tuple[int, ...]]] = [(start, ())]
        while todo:
            node, ranks = todo.pop()
            via[node] = "own" if ranks == (0,) else "device" if 2 in ranks else "profile"
            todo += [(n, (*ranks, rank)) for rank, n in neighbours[node] if via[n] == "none" and n[0] != EXTERNAL]
    return via
