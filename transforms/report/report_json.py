"""``report.json``, typed: each key that a run writes, with its type. What the keys mean is in ``docs/report.md``."""

# Annotations are not strings here, so that ``ReportJson.__required_keys__`` is right: tests hold real reports to it.
from typing import Any, Literal, NotRequired, TypedDict

from transforms.currents.coverage import HoursCovered
from transforms.currents.left_out import Listing

Counts = dict[str, int]


class RejectExample(TypedDict):
    """A rejected row."""

    reason: str
    detail: str
    file: str
    row: int
    event_type: str
    id: str | None


class DamageExample(TypedDict):
    """A piece of a file that could not be read; ``block`` is None where it is all of the file."""

    file: str
    block: int | None
    reason: str
    detail: str
    rows_lost: int | None


class Damaged(TypedDict):
    """Files that are not whole."""

    files: int
    blocks: int
    whole_files: int
    rows_lost: int
    examples: list[DamageExample]


class FilesRead(TypedDict):
    """The files that were read."""

    read: int
    bytes: int


class TypeConflict(TypedDict):
    """A file whose path and schema name different event types."""

    file: str
    path_type: str
    schema_type: str
    taken_as: str


class TypeConflicts(TypedDict):
    """How many such files, and some."""

    files: int
    examples: list[TypeConflict]


class UnknownType(TypedDict):
    """An event type that the catalogue lacks."""

    sent_as: str
    rows: int


class ContestedDevice(TypedDict):
    """A device of several known users."""

    device_id: str
    known_users: list[str]


class QuarantinedDevice(TypedDict):
    """A device of too many profiles."""

    device_id: str
    profiles: int


class RefusedLink(TypedDict):
    """A link that would have joined two known users."""

    a_type: str
    a: str
    b_type: str
    b: str
    known_users: list[str]
    time: int
    event_id: str | None
    file: str


class RenamedProfile(TypedDict):
    """A Braze profile with several external ids, in the order of time."""

    user_id: str
    external_user_ids: list[str]


class CrowdId(TypedDict):
    """An external id of too many profiles."""

    external_user_id: str
    profiles: int


class PolicyLine(TypedDict):
    """What a device policy would do. Verdicts are there where orphan rows are, the last three with ``--truth``."""

    device_links: str
    device_stay: float | Literal["any"] | None
    chosen: bool
    profiles: int
    rows: int
    devices_left_out: int
    largest_cluster: int
    confirmed: NotRequired[int]
    contradicted: NotRequired[int]
    missed: NotRequired[int]
    unconfirmed: NotRequired[int]
    precision: NotRequired[float]
    recall: NotRequired[float]
    wrongly_joined_per_million: NotRequired[float]


class DevicePolicies(TypedDict):
    """Each device policy on this data, and since when Braze's merges judge it."""

    orphans_since: int | None
    judged_profiles: int
    rows_on_busy_devices: float
    table: list[PolicyLine]


class Identity(TypedDict):
    """Who is who."""

    profiles: int
    known_users: int
    devices: int
    clusters: int
    clusters_by_size: Counts
    links: Counts
    profiles_known_through: Counts
    anonymous_profiles: int
    contested_devices: int
    contested_examples: list[ContestedDevice]
    quarantined_devices: int
    quarantined_examples: list[QuarantinedDevice]
    refused_examples: list[RefusedLink]
    renamed_profiles: int
    renamed_examples: list[RenamedProfile]
    crowd_external_ids: int
    crowd_examples: list[CrowdId]
    crowd_ids: str
    external_ids_left_out: dict[str, Counts]
    device_links: str
    device_stay: float | Literal["any"] | None
    device_policies: DevicePolicies
    id_merge: str
    score: NotRequired[dict[str, float]]


class PersonCounts(TypedDict):
    """Distinct persons, and their events."""

    known: int
    anonymous: int
    events_known: int
    events_anonymous: int


class Persons(TypedDict):
    """Distinct persons with events."""

    by_month: dict[str, PersonCounts]
    by_type: dict[str, PersonCounts]


class Gain(TypedDict):
    """What the native connector would not have sent."""

    native_rows: int
    anonymous_rows: int
    rows_joined_to_known: int
    known_rows_of_other_types: int
    persons_with_earlier_history: int
    persons_native_never_sends: int
    median_days_earlier: float
    profiles_made_known: int


class Timing(TypedDict):
    """Seconds and bytes."""

    seconds: dict[str, float]
    wall_seconds: float
    rows_per_second: int
    peak_memory_bytes: int
    largest_shuffle_element_bytes: int
    shuffled: dict[str, Counts]


class Output(TypedDict):
    """A file that was written."""

    path: str
    rows: int | None
    bytes: int


class LeavingLine(TypedDict):
    """A property of events, or an attribute of profiles, as it leaves."""

    name: str
    field: str
    event_types: int
    values: int
    rows: int
    share: float | None
    mark: str | None
    rules: str


class WhatLeaves(TypedDict):
    """What leaves, and what rules did to it."""

    properties: list[LeavingLine]
    attributes: list[LeavingLine]
    rules: Counts
    rules_without_values: list[str]
    looks_personal: dict[str, Counts]


class MonthlyCost(TypedDict):
    """A month's events by name, and its figures as it is and under other flags."""

    events_by_name: Counts
    as_it_is: Counts
    anonymous_none: Counts
    device_links_none: Counts
    without_largest_types: Counts


class Cost(TypedDict):
    """What the run's events cost at Mixpanel."""

    largest_types: list[str]
    by_month: dict[str, MonthlyCost]


class ReportJson(TypedDict):
    """The whole of ``report.json``."""

    status: str
    title: str
    command: str
    versions: dict[str, str]
    flags: dict[str, Any]
    now: int
    rows: Counts
    rows_by_type: dict[str, Counts]
    withheld: Counts
    withheld_by_type: dict[str, Counts]
    rejects: Counts
    reject_examples: list[RejectExample]
    damaged: Damaged
    files: FilesRead
    listing: Listing
    coverage: HoursCovered
    cost: Cost
    what_leaves: WhatLeaves
    deletions_known_since: str | None
    units: int
    type_conflicts: TypeConflicts
    unknown_types: dict[str, UnknownType]
    unknown_columns: dict[str, Counts]
    limits: dict[str, dict[str, Counts]]
    identity: Identity
    persons: Persons
    events_by_day: dict[str, Counts]
    gain: Gain
    timing: Timing
    outputs: list[Output]
    warnings: list[str]
