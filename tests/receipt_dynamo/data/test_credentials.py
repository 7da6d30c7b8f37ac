"""Where credentials come from, and whose they are: by variables and files, without a request."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.credentials import Credentials, RefreshableCredentials

from receipt_dynamo.data.credentials import (
    NOBODY,
    Principal,
    find_principal,
    read_account,
    read_principal,
)

ROLE = "arn:aws:iam::210987654321:role/writer"
KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
WEB = {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": "/token"}
NO_FILE = Path(os.devnull)


def make_key(account: int, prefix: str = "AKIA", *, is_new: bool = True) -> str:
    """Make an access key id of AWS's own form."""
    bits = (is_new << 79) | (account << 39) | 0x55AA55AA5
    return prefix + base64.b32encode(bits.to_bytes(10)).decode()


def find(tmp_path: Path, config: str = "", credentials: str = "", **variables: str) -> Principal:
    files = {"AWS_CONFIG_FILE": config, "AWS_SHARED_CREDENTIALS_FILE": credentials}
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    paths = {name: str(tmp_path / name) for name in files}
    return find_principal(variables=paths | variables, instance_file=NO_FILE)


@pytest.mark.parametrize(
    ("key", "account"),
    [
        ("ASIAY34FZKBOKMUTVV7A", "609629065308"),  # published with its account
        (make_key(42), "000000000042"),
        (make_key(999_999_999_999, "ASIA"), "999999999999"),
        (make_key(1_000_000_000_000), None),  # no account has as many digits
        (make_key(42, is_new=False), None),
        ("AKIAIOSFODNN7EXAMPLE", None),  # of the documentation, and of many tests
        (make_key(42, "AROA"), None),
        (make_key(42)[:-1], None),
        (make_key(42).lower(), None),
        ("FOOBARKEY", None),
        ("testing", None),
        ("", None),
    ],
)
def test_an_access_key_id_of_awss_own_form_holds_the_account(key: str, account: str | None) -> None:
    assert read_account(key) == account


@pytest.mark.parametrize(
    ("variables", "config", "credentials", "kind", "account"),
    [
        (KEYS, "", "", "key", None),
        ({"AWS_ACCESS_KEY_ID": make_key(7)}, "", "", "key", "000000000007"),
        (WEB, "", "", f"role {ROLE}", "210987654321"),
        ({"AWS_ROLE_ARN": ROLE}, "", "", None, None),
        ({}, "", "[default]\naws_access_key_id = a\naws_secret_access_key = b", "key", None),
        (
            {},
            f"[default]\nrole_arn = {ROLE}\nsource_profile = x",
            "",
            f"role {ROLE}",
            "210987654321",
        ),
        (
            {"AWS_PROFILE": "p"},
            "[profile p]\nsso_account_id = 333333333333\nsso_role_name = Admin",
            "",
            "sso 333333333333/Admin",
            "333333333333",
        ),
        (
            {"AWS_PROFILE": "p"},
            "[profile p]\ncredential_process = get --me",
            "",
            "process p ",
            None,
        ),
        (
            {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/1"},
            "",
            "",
            "container /v2/1",
            None,
        ),
        (
            {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials"},
            "",
            "",
            "container http://169.254.170.23/v1/credentials",
            None,
        ),
        ({"AWS_PROFILE": "no-such"}, "[profile p]\nrole_arn = x", "", None, None),
        ({}, "", "", None, None),
        (KEYS | WEB, f"[default]\nrole_arn = {ROLE}", "", "key", None),
    ],
)
def test_credentials_are_where_boto3_would_look_first(
    tmp_path: Path,
    variables: dict[str, str],
    config: str,
    credentials: str,
    kind: str | None,
    account: str | None,
) -> None:
    found = find(tmp_path, config, credentials, **variables)
    assert found.account == account
    assert (found.source or "").startswith(kind or "")
    assert (found.source is None) is (kind is None)


def test_two_keys_differ_and_neither_is_shown(tmp_path: Path) -> None:
    first, again, other = (
        find(tmp_path, AWS_ACCESS_KEY_ID=key).source for key in ("key-1", "key-1", "key-2")
    )
    assert first == again != other
    assert "key-1" not in str(first)
    secret = find(tmp_path, "[default]\ncredential_process = get --password canary")
    assert "canary" not in str(secret.source)


@pytest.mark.parametrize(
    ("text", "variables", "source"),
    [
        ("i-0abc1234def567890\n", {}, "instance i-0abc1234def567890"),
        ("Not Specified\n", {}, None),
        ("", {}, None),
        ("i-0abc1234def567890\n", {"AWS_EC2_METADATA_DISABLED": "true"}, None),
        (
            "i-0abc1234def567890\n",
            {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2"},
            "container /v2",
        ),
    ],
)
def test_an_instance_is_known_by_its_id(
    tmp_path: Path, text: str, variables: dict[str, str], source: str | None
) -> None:
    tag = tmp_path / "board_asset_tag"
    tag.write_text(text, encoding="utf-8")
    none = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    assert find_principal(variables=none | variables, instance_file=tag).source == source


def test_an_account_that_somebody_wrote_beside_invented_keys_is_not_believed(
    tmp_path: Path,
) -> None:
    """It stands in many shells, and a test's keys beside it."""
    assert (
        find(tmp_path, AWS_ACCESS_KEY_ID="testing", AWS_ACCOUNT_ID="210987654321").account is None
    )
    held = Credentials("testing", "testing")
    held.account_id = "210987654321"
    assert find_principal(held).account is None
    assert read_principal(held).account is None


def test_a_clients_own_keys_are_the_source(tmp_path: Path) -> None:
    by_variable = find(tmp_path, AWS_ACCESS_KEY_ID="mine")
    assert find_principal(Credentials("mine", "secret"), KEYS) == by_variable


def refuse() -> Any:
    raise AssertionError("asked for credentials")


def test_keys_that_are_fetched_anew_are_known_by_where_from_and_nobody_is_asked() -> None:
    none = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    expired = RefreshableCredentials.create_from_metadata(
        {
            "access_key": make_key(9, "ASIA"),
            "secret_key": "s",
            "token": "t",
            "expiry_time": "2020-01-01T00:00:00Z",
        },
        refresh_using=refuse,
        method="assume-role-with-web-identity",
    )
    assert find_principal(expired, none | WEB) == Principal(f"role {ROLE}", "210987654321")
    assert find_principal(expired, none).account == "000000000009"


def test_the_first_found_is_what_botocore_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are asked; the file of credentials comes before a process, both before a container."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:9/")
    path = tmp_path / "config"
    path.write_text(
        "[default]\naws_access_key_id = filed\naws_secret_access_key = s\n"
        "credential_process = false\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    theirs = botocore.session.Session().get_credentials()
    assert theirs is not None
    assert read_principal(theirs) == find_principal()


def test_without_credentials_nobody_is_known() -> None:
    assert read_principal(None) == NOBODY
