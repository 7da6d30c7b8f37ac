"""Failures are kinds: each name of the table is real, and each kind has its examples."""

from __future__ import annotations

import json
import socket
from typing import Any

import botocore.exceptions
import pytest
from botocore.exceptions import ClientError
from botocore.loaders import Loader

from receipt_dynamo import UnreadableReplyError
from receipt_dynamo.data.connection import UnusableConfigurationError
from receipt_dynamo.data.failures import (
    _NAMES_BY_KIND,
    FailureKind,
    classify_failure,
    summarize_failure,
)
from receipt_dynamo.data.table.shards import ShardAnnouncementError


def refuse(code: str, status: int = 400, **more: Any) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": "no"},
        "ResponseMetadata": {"HTTPStatusCode": status},
        **more,
    }
    return ClientError(response, "BatchWriteItem")


# Codes that the service sends without a shape in its model (Common Errors, DynamoDB API
# Reference, and the AWS front end).
COMMON_CODES = {
    "AccessDeniedException",
    "ExpiredTokenException",
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "KMSAccessDeniedException",
    "KMSDisabledException",
    "KMSInvalidStateException",
    "KMSNotFoundException",
    "MissingAuthenticationTokenException",
    "OptInRequired",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "SerializationException",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "UnrecognizedClientException",
    "ValidationException",
}


# What the oldest supported botocore does not have yet, as errors or in its model.
NEW_NAMES = {"LoginError", "ReplicatedWriteConflictException", "UnknownTokenProviderError"}

OTHER_NAMES = {
    error.__name__
    for error in (
        *(ShardAnnouncementError, UnusableConfigurationError),
        *(FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError),
    )
}


@pytest.mark.parametrize("name", [name for names in _NAMES_BY_KIND.values() for name in names])
def test_each_name_of_the_table_is_real(name: str) -> None:
    """A misspelt code would make a throttle an outage."""
    shapes = Loader().load_service_model("dynamodb", "service-2")["shapes"]
    assert (
        name.startswith("HTTP ")
        or name in COMMON_CODES
        or hasattr(botocore.exceptions, name)
        or shapes.get(name, {}).get("exception")
        or name in NEW_NAMES
        or name in OTHER_NAMES
        or (": " in name and hasattr(botocore.exceptions, name.partition(": ")[0]))
    )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ShardAnnouncementError(), FailureKind.MISCONFIGURED),
        (refuse("ProvisionedThroughputExceededException"), FailureKind.THROTTLED),
        (refuse("ThrottlingException"), FailureKind.THROTTLED),
        (refuse("RequestLimitExceeded"), FailureKind.THROTTLED),
        (refuse("Surprise", status=429), FailureKind.THROTTLED),
        (refuse("ValidationException"), FailureKind.REJECTED),
        (refuse("413", status=413), FailureKind.REJECTED),
        (refuse("ResourceNotFoundException"), FailureKind.MISCONFIGURED),
        (refuse("SomethingNewException"), FailureKind.REFUSED),
        (refuse("AccessDeniedException"), FailureKind.REFUSED),
        (refuse("403", status=403), FailureKind.REFUSED),
        (botocore.exceptions.NoCredentialsError(), FailureKind.MISCONFIGURED),
        (botocore.exceptions.NoRegionError(), FailureKind.MISCONFIGURED),
        (botocore.exceptions.ProfileNotFound(profile="x"), FailureKind.MISCONFIGURED),
        (refuse("InternalServerError", status=500), FailureKind.OUTAGE),
        (refuse("503", status=503), FailureKind.OUTAGE),
        (botocore.exceptions.EndpointConnectionError(endpoint_url="x"), FailureKind.OUTAGE),
        (botocore.exceptions.ReadTimeoutError(endpoint_url="x"), FailureKind.OUTAGE),
        (UnreadableReplyError("x"), FailureKind.OUTAGE),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), FailureKind.OUTAGE),
        (json.JSONDecodeError("bad", "", 0), FailureKind.OUTAGE),
        (socket.gaierror(), FailureKind.OUTAGE),
        (RuntimeError("a surprise"), FailureKind.OUTAGE),
    ],
    ids=lambda value: value.name if isinstance(value, FailureKind) else repr(value)[:60],
)
def test_each_failure_has_its_kind(error: Exception, kind: FailureKind) -> None:
    assert classify_failure(error) is kind


@pytest.mark.parametrize("spelling", ["ThrottlingReasons", "throttlingReasons"])
def test_throttling_reasons_are_kept_however_they_are_spelt(spelling: str) -> None:
    reasons = [{"reason": "TableWriteProvisionedThroughputExceeded", "resource": "arn:x"}]
    error = refuse("ThrottlingException", **{spelling: reasons})
    assert "TableWriteProvisionedThroughputExceeded" in summarize_failure(error)


def test_a_summary_shows_no_password() -> None:
    assert summarize_failure(ValueError("no: http://me:secret@host:1")) == (
        "ValueError: no: http://***@host:1"
    )


def test_a_summary_is_one_short_line() -> None:
    assert summarize_failure(refuse("ValidationException")) == "ValidationException: no"
    assert len(summarize_failure(ValueError("x" * 10_000))) == 500
