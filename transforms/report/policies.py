"""The table of device policies in the report, and what of it somebody should look at."""

from __future__ import annotations

import math
from collections.abc import Iterator

from transforms.report.markup import share
from transforms.report.report_json import DevicePolicies, Identity, PolicyLine

_ORDER = ("none", "sole", "first", "next")
_FEWEST_JUDGED = 100
_MOST_CONTRADICTED = 0.01
_BUSY_SHARE = 0.2


def in_order(policies: DevicePolicies) -> DevicePolicies:
    """The figures with their table in the order of the page, whatever order it travelled in."""
    return {**policies, "table": sorted(policies["table"], key=_place)}


def policy_warnings(identity: Identity) -> Iterator[str]:
    """Sentences where the chosen policy joins what Braze does not, or devices pass from hand to hand."""
    found = identity["device_policies"]
    chosen = next((line for line in found["table"] if line["chosen"]), None)
    if chosen is None or chosen["device_links"] == "none":
        return
    policy = chosen["device_links"]
    wrong = chosen.get("contradicted", 0)  # without orphan rows nothing is judged
    judged = wrong + chosen.get("confirmed", 0)
    if policy in ("sole", "first") and judged >= _FEWEST_JUDGED and wrong > _MOST_CONTRADICTED * judged:
        yield (
            f"--device_links {policy} names a different known user than Braze's own merges for {wrong:,} of {judged:,} "
            f"Braze profiles ({share(wrong, judged)}): see «Which device policy?» in the report; --device_links next "
            "joins fewer of them"
        )
    busy = found["rows_on_busy_devices"]
    if busy >= _BUSY_SHARE:
        stricter = "a shorter --device_stay" if policy == "next" else "--device_links next"
        yield (
            f"devices with three or more Braze profiles carry {busy:.0%} of the rows of anonymous profiles, as tablets "
            f"of families and shops do: whose such a row is, is doubtful; {stricter} or --device_links none joins "
            "fewer of them"
        )


def _place(line: PolicyLine) -> tuple[int, float]:
    stay = line["device_stay"]
    return _ORDER.index(line["device_links"]), math.inf if stay == "any" else float(stay or 0)
