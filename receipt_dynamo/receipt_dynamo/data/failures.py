"""What a failed write means: one table from error codes to kinds.

The kinds steer different controls, so they are not booleans: *throttled* slows the
writer, an *outage* feeds the circuit breaker, *rejected* isolates the record, and
*misconfigured* is said once while the records wait.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from http import HTTPStatus
from typing import Any, Final


class FailureKind(Enum):
    """What a failed write means for the records in it."""

    THROTTLED = "throttled"
    OUTAGE = "outage"
    REJECTED = "rejected"
    MISCONFIGURED = "misconfigured"


_NAMES_BY_KIND: Final[Mapping[FailureKind, tuple[str, ...]]] = {
    FailureKind.THROTTLED: (
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "ReplicatedWriteConflictException",
        "RequestLimitExceeded",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "HTTP 429",
    ),
    FailureKind.REJECTED: (
        "ItemCollectionSizeLimitExceededException",
        "SerializationException",
        "ValidationException",
        "HTTP 413",
        "ParamValidationError",
    ),
    FailureKind.MISCONFIGURED: (
        # DynamoDB's answers; every unknown 4xx is taken for one of these.
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
        "ResourceInUseException",
        "ResourceNotFoundException",
        "UnrecognizedClientException",
        "HTTP 4xx",
        # Ours: what is wrong is no record's fault.
        "ShardAnnouncementError",
        # botocore's own, before any request leaves.
        "ConfigNotFound",
        "ConfigParseError",
        "CredentialRetrievalError",
        "InvalidConfigError",
        "InvalidRegionError",
        "LoginError",
        "MetadataRetrievalError",
        "NoCredentialsError",
        "NoRegionError",
        "PartialCredentialsError",
        "ProfileNotFound",
        "SSOError",
        "TokenRetrievalError",
        "UnknownCredentialError",
        "UnknownEndpointError",
        "EndpointProviderError",
    ),
}

_KIND_BY_NAME: Final = {name: kind for kind, names in _NAMES_BY_KIND.items() for name in names}


_LONGEST_SUMMARY: Final = 500


def classify_failure(error: BaseException) -> FailureKind:
    """Return the kind of a failed write.

    What is not in the table is an outage: the request may have been applied or not, and
    sending it again is safe. An unknown refusal (HTTP 4xx) is a misconfiguration, never a
    reason to give a record up.
    """
    for name in name_failure(error):
        if name in _KIND_BY_NAME:
            return _KIND_BY_NAME[name]
    return FailureKind.OUTAGE


def name_failure(error: BaseException) -> Iterator[str]:
    """Yield what the error may stand under in a table of failures, most telling first."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        yield str(response.get("Error", {}).get("Code", ""))
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        yield f"HTTP {status}"
        if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
            yield "HTTP 4xx"
    # By name, so that botocore is not imported before the first write.
    yield from (ancestor.__name__ for ancestor in type(error).__mro__)


def summarize_failure(error: BaseException) -> str:
    """Return the failure in a line for logs and statistics: its code or type, and DynamoDB's words.

    DynamoDB's messages name attributes and limits; they do not repeat an item's values.
    The reasons that it gives for throttling are added.
    """
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return f"{type(error).__name__}: {error}"[:_LONGEST_SUMMARY]
    details = response.get("Error", {})
    summary = f"{details.get('Code', 'Unknown')}: {details.get('Message', '')}"
    reasons = list_throttling_reasons(error)
    if reasons:
        summary += f" ({', '.join(reasons)})"
    return summary[:_LONGEST_SUMMARY]


def list_throttling_reasons(error: BaseException) -> list[str]:
    """Return DynamoDB's reasons for throttling; it may give none."""
    response: Mapping[str, Any] = getattr(error, "response", None) or {}
    # ThrottlingException spells it with a small letter; the two others do not.
    found = response.get("ThrottlingReasons") or response.get("throttlingReasons") or ()
    return [str(entry.get("reason")) for entry in found if isinstance(entry, Mapping)]
