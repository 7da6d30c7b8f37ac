"""The replies by which DynamoDB refuses: their codes, spellings and reasons, as data.

Shapes and members are those of the service model that botocore ships
(``botocore/data/dynamodb/2012-08-10/service-2.json``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from receipt_dynamo.testing.exchange import Reply, make_json_reply


@dataclass(frozen=True)
class ThrottleShape:
    """How one throttling error is written.

    Attributes:
        reasons_member: The member that holds the reasons.
        default_reason: What DynamoDB gives for a table's write.
    """

    reasons_member: str
    default_reason: str


THROTTLE_SHAPES: Final = {
    "ProvisionedThroughputExceededException": ThrottleShape(
        "ThrottlingReasons", "TableWriteProvisionedThroughputExceeded"
    ),
    "RequestLimitExceeded": ThrottleShape("ThrottlingReasons", "TableWriteAccountLimitExceeded"),
    # The only one of the three with a lower-case first letter.
    "ThrottlingException": ThrottleShape(
        "throttlingReasons", "TableWriteKeyRangeThroughputExceeded"
    ),
}
"""The three errors of a write that carry reasons, by code."""

_NAMESPACE: Final = "com.amazonaws.dynamodb.v20120810"
_OTHER_NAMESPACES: Final = {
    "ThrottlingException": "com.amazon.coral.availability",
    "ValidationException": "com.amazon.coral.validate",
    "AccessDeniedException": "com.amazon.coral.service",
    "UnrecognizedClientException": "com.amazon.coral.service",
}


def make_error_reply(status: int, code: str, message: str, **members: Any) -> Reply:
    """Make an error reply in DynamoDB's form.

    Args:
        status: The HTTP status.
        code: The error code, such as ``"InternalServerError"``.
        message: The text for people.
        **members: Further members of the error.
    """
    kind = f"{_OTHER_NAMESPACES.get(code, _NAMESPACE)}#{code}"
    return make_json_reply(status, {"__type": kind, "message": message, **members})


def make_throttle_reply(code: str, reasons: Sequence[str], table_name: str) -> Reply:
    """Make one of the three throttling replies, with its reasons spelt as DynamoDB does.

    Args:
        code: One of ``THROTTLE_SHAPES``.
        reasons: The reasons' names; none leaves the member out, as before August 2025.
        table_name: The table that is throttled, for the reasons' resource.
    """
    resource = f"arn:aws:dynamodb:us-east-1:123456789012:table/{table_name}"
    details = [{"reason": reason, "resource": resource} for reason in reasons]
    members = {THROTTLE_SHAPES[code].reasons_member: details} if details else {}
    return make_error_reply(400, code, "The request rate is too high for this table.", **members)
