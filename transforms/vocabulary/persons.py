"""How ids are linked to persons, and which ids name nobody."""

from __future__ import annotations

from transforms.vocabulary.terms import Labelled, Term, Terms

ANONYMOUS_PREFIX = "$device:"
"""How Mixpanel's own anonymous ids begin. ``evidence.anonymous_ids`` puts it before the ids of profiles."""

LINK_STATUSES = Terms(
    "a link status",
    __name__,
    Term("accepted", "joins two ids"),
    Term("redundant", "its ends were one already"),
    Term("refused", "would have joined two known users"),
    Term("contested", "its device is left out by `--device_links`"),
    Term("quarantined", "its device has too many profiles"),
)

VIA = Terms(
    "a way to a known user",
    __name__,
    Labelled("none", "it has no known user", "Still anonymous"),
    Labelled("own", "its rows have an external user id of their own", "Own external user id"),
    Labelled("profile", "through a Braze profile that was merged with it", "Linked profile"),
    Labelled("device", "through a device that it shares with a known user", "Linked device"),
)
"""How a Braze profile came to its known user, by the weakest link on the way. Steps tell each other the position in
this list.
"""

EXTERNAL_IDS_LEFT_OUT = Terms(
    "a reason why an external id is not a known user",
    __name__,
    Term("nobody", "a word that stands for nobody, or zeros"),
    Term("anonymous_prefix", f"begins with `{ANONYMOUS_PREFIX}`, as Mixpanel's own anonymous ids do"),
    Term("crowd", "carried by too many profiles, with `--crowd_ids drop`"),
)
