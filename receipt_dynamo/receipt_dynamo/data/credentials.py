"""Find the source of credentials and their AWS account, without a request.

The credentials themselves are not fetched: a container's and an instance's come over the network.
The order is that of botocore's ``create_credential_resolver``.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from receipt_dynamo.data.endpoints import Profile, read_profile

# The account's number in arn:aws:iam::123456789012:role/name.
_ACCOUNT_IN_ARN: Final = re.compile(r"arn:[^:]+:[^:]+:[^:]*:(?P<account>\d{12}):")
_ACCOUNT: Final = re.compile(r"\d{12}")

# Sources: "IAM identifiers" in the IAM User Guide for the prefixes, "A bitwise analysis of AWS
# access key identifiers" (WithSecure Labs) for the bits: of the 80 after the prefix, the first is
# set in keys that hold the account's number, and the next 40 are that number.
_KEY_OF_AWS: Final = re.compile(r"(?:AKIA|ASIA)(?P<bits>[A-Z2-7]{16})")
_ACCOUNT_BITS: Final = 40
_BITS_AFTER_ACCOUNT: Final = 39
_LARGEST_ACCOUNT: Final = 999_999_999_999

_INSTANCE_FILE: Final = Path("/sys/devices/virtual/dmi/id/board_asset_tag")
_INSTANCE: Final = re.compile(r"i-[0-9a-f]{8,32}")
_DIGITS: Final = 16

# How botocore names, in ``Credentials.method``, what fetches credentials anew, by our words.
_METHODS: Final[Mapping[str, str]] = {
    "assume-role": "role",
    "assume-role-with-web-identity": "role",
    "sso": "sso",
    "login": "login",
    "custom-process": "process",
    "container-role": "container",
    "iam-role": "instance",
}


@dataclass(frozen=True, slots=True)
class Principal:
    """On whose behalf requests are signed, as far as it is known.

    Attributes:
        source: Where the credentials come from, in one line without a secret: two processes
            with the same line have credentials of the same account. None if unknown.
        account: The AWS account's number, or None.
        has_key_of_aws: Whether the access key id has the form of those that AWS makes: only
            then is it worth asking AWS for the account.
    """

    source: str | None = None
    account: str | None = None
    has_key_of_aws: bool = field(default=False, compare=False)


NOBODY: Final = Principal()


def find_principal(
    credentials: Any = None,
    variables: Mapping[str, str] | None = None,
    *,
    instance_file: Path = _INSTANCE_FILE,
) -> Principal:
    """Return where boto3 takes credentials from, without a request.

    Args:
        credentials: A botocore credentials object to use in place of what boto3 finds; None
            lets boto3 find some.
        variables: Environment variables; by default those of the process. They name the
            profile and AWS's files.
        instance_file: Where a Linux kernel shows the id of an EC2 instance.
    """
    given = os.environ if variables is None else variables
    found = _list_principals(given, read_profile(given), instance_file)
    if credentials is None:
        return next(found, NOBODY)
    # Not by their public names, which would fetch new ones.
    names = vars(credentials)
    key = names.get("access_key") or names.get("_access_key")
    held = _judge_keys(credentials, key, names.get("_account_id"))
    # Keys that are fetched anew change; where they are fetched from does not.
    kind = _find_kind(credentials)
    from_there = next((each for each in found if kind and _kind(each) == kind), held)
    return Principal(from_there.source, from_there.account or held.account)


def read_principal(credentials: Any) -> Principal:
    """Return the source and account of boto3's credentials, fetched anew if need be.

    Args:
        credentials: A botocore credentials object, or None.
    """
    if credentials is None:
        return NOBODY
    keys = credentials.get_frozen_credentials()
    return _judge_keys(credentials, keys.access_key, getattr(keys, "account_id", None))


def read_account(access_key_id: str) -> str | None:
    """Return the account that an access key id of AWS's own form holds; None of another one.

    Keys from before 2019 hold none.
    """
    found = _KEY_OF_AWS.fullmatch(access_key_id)
    if found is None:
        return None
    bits = int.from_bytes(base64.b32decode(found["bits"]))
    generation, account = divmod(bits >> _BITS_AFTER_ACCOUNT, 1 << _ACCOUNT_BITS)
    return f"{account:012d}" if generation and account <= _LARGEST_ACCOUNT else None


def _kind(principal: Principal) -> str:
    return (principal.source or "").partition(" ")[0]


def _find_kind(credentials: Any) -> str | None:
    return _METHODS.get(getattr(credentials, "method", None) or "")


def _judge_keys(credentials: Any, access_key_id: str | None, account: str | None) -> Principal:
    found = _of_key(access_key_id or "")
    # Of keys that stand in a variable or a file, the account beside them is anybody's word:
    # it may be there in a test with invented keys, too.
    if found.account is None and account and _find_kind(credentials):
        return replace(found, account=account)
    return found


def _of_key(access_key_id: str) -> Principal:
    if not access_key_id:
        return NOBODY
    return Principal(
        f"key {_digest(access_key_id)}",
        read_account(access_key_id),
        has_key_of_aws=_KEY_OF_AWS.fullmatch(access_key_id) is not None,
    )


def _list_principals(
    given: Mapping[str, str], profile: Profile, instance_file: Path
) -> Iterator[Principal]:
    """List what boto3 would try, in its order."""
    if key := given.get("AWS_ACCESS_KEY_ID"):
        yield _of_key(key)
    web_role = given.get("AWS_ROLE_ARN") if given.get("AWS_WEB_IDENTITY_TOKEN_FILE") else None
    for role in filter(None, (profile.get("role_arn"), web_role)):
        yield Principal(f"role {role}", _read_account_of_arn(role))
    yield from _list_of_profile(profile)
    for variable in (
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ):
        if address := given.get(variable):
            yield Principal(f"container {address}")
            return
    if given.get("AWS_EC2_METADATA_DISABLED", "false").lower() != "true":
        instance = _read_instance(instance_file)
        if instance is not None:
            yield Principal(f"instance {instance}")


def _list_of_profile(profile: Profile) -> Iterator[Principal]:
    account = profile.get("sso_account_id")
    if account and (role := profile.get("sso_role_name")):
        yield Principal(f"sso {account}/{role}", account if _ACCOUNT.fullmatch(account) else None)
    if key := profile.get("aws_access_key_id"):
        yield _of_key(key)
    if session := profile.get("login_session"):
        yield Principal(f"login {session}", _read_account_of_arn(session))
    if command := profile.get("credential_process"):
        # A command may hold a secret.
        yield Principal(f"process {profile.name} {_digest(command)}")


def _read_account_of_arn(arn: str) -> str | None:
    found = _ACCOUNT_IN_ARN.match(arn)
    return None if found is None else found["account"]


def _read_instance(path: Path) -> str | None:
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None
    return text if _INSTANCE.fullmatch(text) else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
