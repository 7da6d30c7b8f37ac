"""Whose a journal is: what it notes against what a living process knows. Pure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from receipt_dynamo.data.endpoints import AWS
from receipt_dynamo.data.journal.directory import JournalTarget
from receipt_dynamo.data.table.evidence import Evidence, Standing, find_obstacle

ACCOUNT = "210987654321"
ARN = f"arn:aws:dynamodb:eu-west-1:{ACCOUNT}:table/usage"
OTHERS = ARN.replace(ACCOUNT, "999999999999")
OWN = Evidence("usage", "eu-west-1", AWS, "key own", ACCOUNT, ARN)
LEFT = Evidence("usage", "eu-west-1", AWS)
LOCAL = "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    "left",
    [
        replace(LEFT, arn=ARN),
        replace(LEFT, arn=ARN, place=LOCAL, credentials="key x", account="999999999999"),
        replace(LEFT, account=ACCOUNT),
        replace(LEFT, account=ACCOUNT, credentials="key of another day"),
        replace(LEFT, account=ACCOUNT, table_name=ARN),
        replace(LEFT, credentials="key own"),
        replace(LEFT, credentials="key own", table_name=ARN),
    ],
)
def test_evidence_for_the_same_table_is_enough(left: Evidence) -> None:
    assert find_obstacle(left, OWN) is None


@pytest.mark.parametrize(
    "left",
    [
        replace(LEFT, arn=OTHERS, credentials="key own", account=ACCOUNT),
        replace(LEFT, account="999999999999"),
        replace(LEFT, account="999999999999", credentials="key own"),
        replace(LEFT, credentials="key of a test"),
        replace(LEFT, credentials="key own", region="us-east-1"),
        replace(LEFT, credentials="key own", table_name="other"),
        replace(LEFT, credentials="key own", account=ACCOUNT, table_name=OTHERS),
        # An engine of a test's that was given real keys.
        replace(LEFT, credentials="key own", account=ACCOUNT, place=LOCAL),
        LEFT,
        replace(LEFT, table_name=ARN),  # a fake AWS takes any ARN
    ],
)
def test_what_is_not_proven_for_the_same_table_is_left_alone(left: Evidence) -> None:
    assert find_obstacle(left, OWN) is not None


def test_beside_aws_only_credentials_count() -> None:
    own = replace(OWN, place=LOCAL, arn="arn:aws:dynamodb:ddblocal:000000000000:table/usage")
    left = replace(LEFT, place=LOCAL, account=ACCOUNT)
    assert left.standing is Standing.UNPROVEN
    assert find_obstacle(left, own) is not None
    assert find_obstacle(replace(left, credentials="key own"), own) is None


def test_another_accounts_table_named_by_its_arn_is_known_by_who_signs() -> None:
    own = replace(OWN, table_name=OTHERS, arn=OTHERS)
    left = replace(LEFT, table_name=OTHERS, credentials="key of another day", account=ACCOUNT)
    assert find_obstacle(left, own) is None
    # By its bare name it would be a table of the one who signs.
    assert find_obstacle(replace(left, table_name="usage"), own) is not None
    assert find_obstacle(replace(LEFT, credentials="key own"), own) is not None


@pytest.mark.parametrize(
    ("left", "is_taken"),
    [
        (LEFT, True),
        (replace(LEFT, region=""), True),
        (replace(LEFT, table_name="other"), False),
        (replace(LEFT, region="us-east-1"), False),
        (replace(LEFT, place=LOCAL), False),
        (replace(LEFT, arn=OTHERS), False),
        (replace(LEFT, account="999999999999"), False),
        (replace(LEFT, credentials="key of a test"), False),  # a killed test run's
    ],
)
def test_the_operators_word_in_advance_is_for_what_has_no_evidence(
    left: Evidence, is_taken: bool
) -> None:
    assert (find_obstacle(left, OWN, trusts_unproven=True) is None) is is_taken


def test_an_unproven_journal_is_named_with_the_command_that_delivers_it() -> None:
    said = find_obstacle(LEFT, OWN) or ""
    assert "unproven" in said
    assert said.endswith("python -m receipt_dynamo journal drain --adopt-unproven")


@pytest.mark.parametrize(
    ("place", "notes"),
    [
        ("", {"credentials", "account"}),
        ("https://dynamodb.eu-west-1.amazonaws.com", {"credentials", "account"}),
        (LOCAL, {"credentials"}),
    ],
)
def test_a_journal_notes_the_account_only_where_aws_itself_checks_it(
    place: str, notes: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAY34FZKBOKMUTVV7A")
    noted = JournalTarget("usage", "eu-west-1", place).describe()
    assert {"credentials", "account"} & set(noted) == notes
    assert noted.get("account") in {None, "609629065308"}
    assert "AKIA" not in str(noted)


def test_a_journal_of_an_earlier_release_is_read_as_well() -> None:
    noted = {"table_name": "usage", "region": "eu-west-1", "endpoint_url": "", "table_arn": ARN}
    left = Evidence.read(noted)
    assert (left.place, left.standing) == (AWS, Standing.PROVEN)
    assert find_obstacle(left, OWN) is None
    del noted["table_arn"]
    assert Evidence.read(noted).standing is Standing.UNPROVEN
