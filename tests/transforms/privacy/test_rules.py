"""What a rule names, and which rules are refused."""

from __future__ import annotations

import pytest

from tests.commands.whole_run import ROOT
from transforms.currents import catalog
from transforms.errors import UsageError
from transforms.privacy.marks import UNMARKED, is_marked
from transforms.privacy.rules import checked, lines_of, rule

OPEN, UPDATE = "users.messages.email.Open", catalog.PROFILE_UPDATE


@pytest.mark.parametrize(
    ("text", "event_type", "column", "sent", "named"),
    [
        ("email_address", OPEN, "email_address", "email_address", True),
        ("email_address", UPDATE, "email_address", "$email", True),
        ("email_*", OPEN, "email_address", "email_address", True),
        ("email", OPEN, "email_address", "email_address", False),
        ("users.messages.*:device_*", OPEN, "device_model", "$device", True),
        ("users.behaviors.*:device_*", OPEN, "device_model", "$device", False),
        ("$device", OPEN, "device_model", "$device", True),
        ("$email", UPDATE, "email_address", "$email", False),
        ("profile:$email", UPDATE, "email_address", "$email", True),
        ("profile:email_address", UPDATE, "email_address", "$email", True),
        ("profile:email_address", OPEN, "email_address", "email_address", False),
        ("pii", OPEN, "email_address", "email_address", True),
        ("pii", OPEN, "user_agent", "user_agent", False),
        ("pii+", OPEN, "user_agent", "user_agent", True),
        ("pii", "users.behaviors.app.FirstSession", "gender", None, False),
        ("pii+", "users.behaviors.app.FirstSession", "gender", None, True),
        ("pii", "users.of.a.new.Type", "to_phone_number", "to_phone_number", True),
    ],
)
def test_a_rule_names_a_field_by_itself_its_type_or_the_property_it_is_sent_as(
    text: str, event_type: str, column: str, sent: str | None, named: bool
) -> None:
    assert rule(text).of_column(event_type, column, sent) is named


def test_custom_properties_are_named_as_sent_and_custom_attributes_behind_profile() -> None:
    assert rule("[Custom event property] e*").of_property("[Custom event property] email")
    assert rule("*email*").of_property("[Custom event property] email")
    assert not rule("email").of_property("[Custom event property] email")
    assert not rule("profile:email").of_property("email")
    assert rule("profile:e*").of_attribute("email")
    assert not rule("email").of_attribute("email")


def test_a_rule_file_has_a_rule_a_line_and_comments() -> None:
    assert lines_of("# who\npii # all\n\n [Purchase property] a,b#c\n") == ["pii", "[Purchase property] a,b#c"]


@pytest.mark.parametrize(
    ("flag", "text", "told"),
    [
        ("drop", "email_adress", r"did you mean email_address\?"),
        ("hash", "users.messages.sms.Send:to_phone_numbre", r"did you mean users.messages.sms.Send:to_phone_number\?"),
        ("drop", "external_user_id", "write --hash external_user_id"),
        ("drop", "users.*:user_id", "write --hash user_id"),
        ("hash", "distinct_id", "write --hash external_user_id"),
        ("hash", "time", "leave this rule out"),
        ("drop", "profile:", "profile:phone_number"),
    ],
)
def test_a_rule_that_can_match_nothing_or_must_not_is_refused_with_what_to_write(
    flag: str, text: str, told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        checked(flag, [text])


def test_the_rule_file_of_the_documentation_is_taken() -> None:
    rules = lines_of((ROOT / "docs" / "privacy.rules").read_text("utf-8"))
    assert "pii+" in checked("drop", rules)
    assert rule("[*] *email*").of_property("[Purchase property] billing_email")


def test_rules_are_taken_once_in_one_order_and_may_name_what_no_catalogue_knows() -> None:
    rules = ["pii", "[Custom event property] x", "profile:x", "external_user_id", "pii"]
    assert checked("hash", rules) == tuple(sorted(set(rules)))


def test_the_ids_are_in_no_group_and_in_no_glob() -> None:
    assert is_marked(OPEN, "user_id")
    with pytest.raises(UsageError):
        checked("hash", ["*ser_id"])


def test_what_is_personal_without_a_mark_stands_in_the_catalogue() -> None:
    known = {field.name for kind in catalog.event_types().values() for field in kind.fields}
    assert known >= UNMARKED
