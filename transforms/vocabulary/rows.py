"""What becomes of a row, and why it is rejected or withheld."""

from __future__ import annotations

from transforms.vocabulary.terms import Labelled, Reject, Term, Terms

OUTCOMES = Terms(
    "an outcome",
    __name__,
    Labelled("read", "every row that could be decoded, once", "Rows read"),
    Labelled("events", "lines in `events/`, ready for Mixpanel", "Events"),
    Labelled("repeats", "an earlier row had the same event type and id", "Repeats"),
    Labelled("rejects", "cannot be sent; lines in `rejects/` with the reason", "Rejects"),
    Labelled("identity_only", "`users.UserOrphan`: says who is who, is not an event", "Identity only"),
    Labelled("not_exported", "types without a Mixpanel event that `--event_types` does not name", "Not exported"),
    Labelled(
        "profile_updates",
        "`users.profile.Update`, gathered in `profiles/`, at most two lines a person",
        "Profile updates",
    ),
    Labelled("deletions", "`users.UserDeleteRequest`, lines in `deletions/`", "Deletions"),
    Labelled("withheld", "left out by a flag, given or by default", "Withheld"),
)
"""The columns of the accounting: each row has exactly one, and ``read``, the first, is the sum of the rest."""

WITHHELD = Terms(
    "a reason to withhold a row",
    __name__,
    Term("suppressed", "of persons whom `--suppress` names"),
    Term("event_type", "of a type that `--event_types` does not name"),
    Term("unknown_type", "of a type that the catalogue lacks, with `--unknown_fields withhold`"),
    Term("outside_window", "events outside `--events_since` and `--events_until`"),
    Term("excluded", "events whose Mixpanel name `--exclude_events` matches"),
    Term("native_drops", "without a usable `external_user_id`, with `--id_merge native`"),
    Term("left_to_native", "sent by Braze's own connector since `--native_since`"),
    Term("anonymous", "without a known user, by `--anonymous`"),
    Term("anonymous_profile", "profile updates without a known user, which Mixpanel would not carry over"),
    Term("deleted_user", "of a Braze profile that was deleted on request, with `--deleted_users drop`"),
    Term("profile_updates_off", "profile updates, with `--profile_updates off`"),
    Term("sampled_out", "of persons outside `--users_share`"),
)
"""In the order in which they are looked at: the first that applies is counted."""

REJECTS = Terms(
    "a reason to reject a row",
    __name__,
    Reject(
        "missing_id",
        "the row has no `id`, so that Mixpanel could not tell a repeat",
        "id is [{id}]: without one Mixpanel cannot tell a repeat; give the row an id",
    ),
    Reject(
        "invalid_utf8",
        "an id, or a custom event's `name`, is not UTF-8",
        "not UTF-8: {unread}; with another id or name the row would be another's: export the file again",
    ),
    Reject(
        "time_invalid",
        "no time, before 1971, more than an hour after the run's clock, or not in seconds",
        {
            "missing": "time is null: Mixpanel needs UNIX seconds",
            "finer_unit": "time [{time}] is in {unit} by its magnitude, and Mixpanel needs UNIX seconds: "
            "divide by {in_a_second:,} in the export, or declare the column's logicalType",
            "early": "time [{time}] is before 1971, which Mixpanel refuses: it must be UNIX seconds",
            "late": "time [{time}] is more than an hour after now [{now}], which Mixpanel refuses: see --now",
        },
    ),
    Reject(
        "missing_user_id",
        "a deletion request without a usable `user_id`",
        "user_id [{user_id}] names no profile: there is nothing to delete",
    ),
    Reject(
        "event_too_large",
        "the event has 1 MB or more as JSON, which Mixpanel refuses",
        "the event is 1 MB or more as JSON, which Mixpanel refuses: shorten its properties",
    ),
)
