"""Explain a refusal of boto3 or DynamoDB in one line, with advice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from receipt_dynamo.data.connection import UnusableConfigurationError
from receipt_dynamo.data.failures import name_failure, summarize_failure
from receipt_dynamo.utils.secrets import hide_passwords

_CREDENTIALS: Final = (
    "boto3 finds no usable credentials ({said}); set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, or log in"
)
_REFUSED_CREDENTIALS: Final = (
    "the credentials are not accepted ({said}); are they expired, or of another account or place?"
)
_CLOCK: Final = (
    "the request's signature is out of time ({said}); set this machine's clock: AWS refuses "
    "what differs by more than 5 minutes"
)
_UNREACHABLE: Final = (
    "DynamoDB cannot be reached ({said}); check --region, --endpoint-url and the network"
)
_UNREADABLE: Final = (
    "DynamoDB's reply cannot be read ({said}); is it DynamoDB that answers at --endpoint-url?"
)
_THROTTLED: Final = "requests for table {table} are throttled ({said}); try again later"

# By the names that failures have in data/failures.py, most telling first.
_SENTENCES: Final[Mapping[str, str]] = {
    "AccessDeniedException": (
        "access denied: these credentials may not do {action} on {resource}; "
        "docs/permissions.md has the policies"
    ),
    "ResourceNotFoundException": (
        "there is no table {table} in this account, region and endpoint; check --table, --region "
        "and --endpoint-url, or make it with 'table create'"
    ),
    "RequestExpired": _CLOCK,
    "RequestTimeTooSkewed": _CLOCK,
    **dict.fromkeys(
        (
            "ExpiredTokenException",
            "IncompleteSignatureException",
            "InvalidSignatureException",
            "MissingAuthenticationTokenException",
            "UnrecognizedClientException",
        ),
        _REFUSED_CREDENTIALS,
    ),
    **dict.fromkeys(
        (
            "ProvisionedThroughputExceededException",
            "RequestLimitExceeded",
            "ThrottlingException",
        ),
        _THROTTLED,
    ),
    "NoRegionError": "no region is named; give --region or set AWS_REGION",
    "InvalidRegionError": "the region is malformed ({said}); accepted are such as us-east-1",
    **dict.fromkeys(
        (
            "CredentialRetrievalError",
            "LoginError",
            "MetadataRetrievalError",
            "NoCredentialsError",
            "PartialCredentialsError",
            "ProfileNotFound",
            "SSOError",
            "TokenRetrievalError",
        ),
        _CREDENTIALS,
    ),
    "ConnectionError": _UNREACHABLE,
    "HTTPClientError": _UNREACHABLE,
    **dict.fromkeys(("ResponseParserError", "UnicodeDecodeError"), _UNREADABLE),
    "ValueError": "boto3 cannot make a client ({said}); check --endpoint-url and --region",
}
_OTHER: Final = "table {table}: {said}"

# DynamoDB's words when a signature's time is too far from its own. Source: "Troubleshooting
# signed requests for AWS APIs" in the IAM User Guide.
_OUT_OF_TIME: Final = re.compile(r"Signature (expired|not yet current)")
_FORBIDDEN: Final = re.compile(r"to perform: (?P<action>\S+) on resource: (?P<resource>\S+)")


def is_from_boto3(error: BaseException) -> bool:
    """Return whether DynamoDB, the network or its configuration failed, and not this program."""
    # boto3 lets the second one through as it is, when a reply's body is damaged.
    if isinstance(error, UnusableConfigurationError | UnicodeDecodeError):
        return True
    return type(error).__module__.partition(".")[0] in {"botocore", "boto3"}


def explain_failure(error: BaseException, table: str | None) -> str:
    """Return in one line what failed and what to do about it.

    Args:
        error: What boto3 raised.
        table: The table that was to be reached, when it is known.
    """
    error = _find_cause(error)
    said = hide_passwords(summarize_failure(error))
    operation = getattr(error, "operation_name", "") or "this"
    found: Mapping[str, Any] = {"action": f"dynamodb:{operation}", "resource": f"table {table}"}
    if (forbidden := _FORBIDDEN.search(said)) is not None:
        found = forbidden.groupdict()
    return _choose_sentence(error, said).format(table=table, said=said, **found)


def _find_cause(error: BaseException) -> BaseException:
    """Return what boto3 raised where a connection says that its configuration cannot work."""
    if isinstance(error, UnusableConfigurationError) and error.__cause__ is not None:
        return error.__cause__
    return error


def _choose_sentence(error: BaseException, said: str) -> str:
    if _OUT_OF_TIME.search(said):
        return _CLOCK
    names = (name for name in name_failure(error) if name in _SENTENCES)
    return _SENTENCES.get(next(names, ""), _OTHER)
