"""Credentials come from the environment or a file that it names, and are shown by nothing."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from transforms.delivery.credentials import Secret, from_environment, is_sealed, seal
from transforms.errors import CredentialsError

ACCOUNT, TOKEN = "MIXPANEL_SERVICE_ACCOUNT", "MIXPANEL_TOKEN"


def test_the_service_account_goes_before_the_token() -> None:
    found = from_environment({ACCOUNT: "user.1:s3cret", TOKEN: "t0ken"}, token_only=False, profiles=True)
    assert found.basic() == "Basic dXNlci4xOnMzY3JldA=="
    alone = from_environment({TOKEN: "t0ken"}, token_only=True, profiles=True)
    assert alone.basic() == "Basic dDBrZW46"


def test_with_token_only_the_service_account_is_left_alone() -> None:
    both = from_environment({ACCOUNT: "user.1:s3cret", TOKEN: "t0ken"}, token_only=True, profiles=False)
    assert both.basic() == "Basic dDBrZW46"


def test_a_file_is_read_and_may_end_with_a_newline(tmp_path: Path) -> None:
    (tmp_path / "account").write_text("user.1:s3cret\n")
    found = from_environment({f"{ACCOUNT}_FILE": str(tmp_path / "account")}, token_only=False, profiles=False)
    assert found.basic() == "Basic dXNlci4xOnMzY3JldA=="


@pytest.mark.parametrize(
    ("environment", "profiles", "words"),
    [
        ({}, False, "no credentials: set MIXPANEL_SERVICE_ACCOUNT"),
        ({TOKEN: "canary"}, False, "pass --token_only"),
        ({ACCOUNT: "user:canary"}, True, "set MIXPANEL_TOKEN"),
        ({ACCOUNT: "canary"}, False, "does not have the form USER:SECRET"),
        ({ACCOUNT: "u:s", TOKEN: 'ca"nary'}, False, "does not have the form of a project token"),
        ({ACCOUNT: "u:s", f"{ACCOUNT}_FILE": "nowhere"}, False, "are both set"),
        ({f"{ACCOUNT}_FILE": "nowhere"}, False, "cannot read nowhere"),
    ],
)
def test_what_is_missing_or_wrong_is_said_without_the_value(
    environment: dict[str, str], profiles: bool, words: str
) -> None:
    with pytest.raises(CredentialsError, match=words) as raised:
        from_environment(environment, token_only=False, profiles=profiles)
    assert "canary" not in str(raised.value)
    assert "nary" not in str(raised.value)


def test_nothing_shows_a_secret() -> None:
    found = from_environment({ACCOUNT: "user:canary", TOKEN: "canary2"}, token_only=False, profiles=True)
    for text in (repr(found), str(found), f"{found.token}", repr(vars(found))):
        assert "canary" not in text
    with pytest.raises(TypeError):
        pickle.dumps(found)
    assert "canary" not in found.veil(f"user:canary canary2 canary {found.basic()}")


def test_a_seal_knows_its_token_again_and_is_another_each_time() -> None:
    first, second = seal(Secret("abc")), seal(Secret("abc"))
    assert first != second
    assert is_sealed(Secret("abc"), first)
    assert not is_sealed(Secret("abd"), first)
    assert b"abc" not in first
