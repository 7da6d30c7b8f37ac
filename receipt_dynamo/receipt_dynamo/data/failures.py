"""The kinds of a failed write: one table from error codes to kinds.

The kinds steer different controls, so they are not booleans: *throttled* slows the
writer, an *outage* feeds the circuit breaker, *rejected* isolates the record, *refused* may be
about one record or about all, and *misconfigured* is logged once while the records wait.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from enum import Enum
from http import HTTPStatus
from typing import Any, Final

from receipt_dynamo.utils.secrets import hide_passwords


class FailureKind(Enum):
    """The kind of a failed write, which decides about its records."""

    THROTTLED = "throttled"
    OUTAGE = "outage"
    REJECTED = "rejected"
    REFUSED = "refused"
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
    FailureKind.REFUSED: (
        # A policy may be about the keys of a record (dynamodb:LeadingKeys), and a proxy on the
        # way about a text in it; or they are about whoever writes.
        "AccessDeniedException",
        "HTTP 4xx",
    ),
    FailureKind.MISCONFIGURED: (
        # DynamoDB's answers.
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
        # Ours: what is wrong is no record's fault.
        "ShardAnnouncementError",
        "UnusableConfigurationError",
        # botocore's own, before any request leaves.
        "ConfigNotFound",
        "ConfigParseError",
        "CredentialRetrievalError",
        "EndpointVariantError",
        "InvalidConfigError",
        "InvalidDefaultsMode",
        "InvalidEndpointConfigurationError",
        "InvalidEndpointDiscoveryConfigurationError",
        "InvalidIMDSEndpointError",
        "InvalidIMDSEndpointModeError",
        "InvalidProxiesConfigError",
        "InvalidRegionError",
        "InvalidRetryConfigurationError",
        "InvalidSTSRegionalEndpointsConfigError",
        "LoginError",
        "MetadataRetrievalError",
        "MissingDependencyException",
        "NoAuthTokenError",
        "NoCredentialsError",
        "NoRegionError",
        "PartialCredentialsError",
        "ProfileNotFound",
        "RefreshWithMFAUnsupportedError",
        "SSOError",
        "TokenRetrievalError",
        "UnknownCredentialError",
        "UnknownEndpointError",
        "UnknownFIPSEndpointError",
        "UnknownRegionError",
        "UnknownTokenProviderError",
        "EndpointProviderError",
        # A file that the configuration names, of a token for example.
        "FileNotFoundError",
        "IsADirectoryError",
        "NotADirectoryError",
        "PermissionError",
        # What botocore's errors of the network are about, see _name_causes: an address that is
        # none, a wrong scheme, a certificate that is not trusted here, a proxy that wants a
        # password. A network that comes back mends none of them.
        "HTTPClientError: OverflowError",
        "HTTPClientError: ValueError",
        "ProxyConnectionError: HTTP 4xx",
        "SSLError: CERTIFICATE_VERIFY_FAILED",
        "SSLError: FileNotFoundError",
        "SSLError: HTTPS_PROXY_REQUEST",
        "SSLError: HTTP_REQUEST",
        "SSLError: PermissionError",
        "SSLError: WRONG_VERSION_NUMBER",
        "ProxyConnectionError: CERTIFICATE_VERIFY_FAILED",
        "ProxyConnectionError: WRONG_VERSION_NUMBER",
    ),
}

_KIND_BY_NAME: Final = {name: kind for kind, names in _NAMES_BY_KIND.items() for name in names}


_LONGEST_SUMMARY: Final = 500

_BEFORE_SENDING: Final = (
    *("ConnectTimeoutError", "EndpointConnectionError", "ProxyConnectionError", "SSLError"),
    *("CircuitBreakerOpenError", "SendingInterruptedError"),
)

_DEEPEST_CAUSE: Final = 4
_TUNNEL_REFUSAL: Final = re.compile(r"Tunnel connection failed: (\d)\d\d")


def classify_failure(error: BaseException) -> FailureKind:
    """Return the kind of a failed write.

    What is not in the table is an outage: the request may have been applied or not, and
    sending it again is safe. An unknown refusal (HTTP 4xx) is never a reason to give a record
    up.
    """
    for name in name_failure(error):
        if name in _KIND_BY_NAME:
            return _KIND_BY_NAME[name]
    return FailureKind.OUTAGE


def may_be_applied(error: BaseException) -> bool:
    """Whether the request may have reached DynamoDB: then a record in it may be the reason."""
    return not any(ancestor.__name__ in _BEFORE_SENDING for ancestor in type(error).__mro__)


def is_timeout(error: BaseException) -> bool:
    """Whether the request left, and no whole reply came in time."""
    return type(error).__name__ == "ReadTimeoutError"


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
    names = [ancestor.__name__ for ancestor in type(error).__mro__]
    for cause in _name_causes(error):
        yield f"{names[0]}: {cause}"
    yield from names


def _name_causes(error: BaseException) -> Iterator[str]:
    """Yield what an error of botocore's HTTP session is about: it holds the error of urllib3."""
    cause: object = (getattr(error, "kwargs", None) or {}).get("error")
    # urllib3's error may hold the one of ssl, and that of a proxy both.
    for _ in range(_DEEPEST_CAUSE):
        if not isinstance(cause, BaseException):
            return
        if isinstance(cause, ssl.SSLError) and cause.reason:
            yield cause.reason
        if refusal := _TUNNEL_REFUSAL.search(str(cause)):
            yield f"HTTP {refusal[1]}xx"
        yield from (ancestor.__name__ for ancestor in type(cause).__mro__)
        held = (getattr(cause, "original_error", None), cause.__cause__, *cause.args)
        cause = next((each for each in held if isinstance(each, BaseException)), None)


def summarize_failure(error: BaseException) -> str:
    """Return the failure in a line for logs and statistics: its code or type, and DynamoDB's words.

    DynamoDB's messages name attributes and limits; they do not repeat an item's values.
    The reasons that it gives for throttling are added.
    """
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        # Of a long text only what may be shown is read; a password may reach beyond its end.
        text = f"{type(error).__name__}: {error}"[: 2 * _LONGEST_SUMMARY]
        return hide_passwords(text)[:_LONGEST_SUMMARY]
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
