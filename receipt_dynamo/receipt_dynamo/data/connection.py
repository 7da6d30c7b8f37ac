"""A boto3 DynamoDB client: made on first use, one for each process, from a private session."""

from __future__ import annotations

import importlib
import inspect
import ssl
import sys
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeGuard
from urllib.parse import urlsplit

from receipt_dynamo.data.deadline import bound_requests
from receipt_dynamo.data.endpoints import find_endpoint, find_region, is_region, suggest_region
from receipt_dynamo.errors import ReceiptDynamoError
from receipt_dynamo.utils.fork_safety import notice_fork, reset_in_child

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sts import STSClient

_UNREACHABLE: Final = ("EndpointConnectionError", "ProxyConnectionError")
"""botocore's errors when a host is not found; with a proxy, the proxy reports that."""


_MOST_ROLES: Final = 10
"""Roles that are assumed one from the other, at most."""


@dataclass(frozen=True, slots=True)
class SdkSettings:
    """How boto3 itself behaves. Explicit, because botocore's defaults change.

    Args:
        total_max_attempts: Wire attempts that botocore makes for one call.
        connect_timeout: Seconds for the TCP and TLS handshake.
        read_timeout: Seconds between two bytes of the reply.
        max_pool_connections: Sockets kept open.
        parameter_validation: Whether botocore checks each parameter, which is half
            of the cost of a batch whose items are valid by construction.
    """

    total_max_attempts: int = 4
    connect_timeout: float = 5.0
    read_timeout: float = 10.0
    max_pool_connections: int = 10
    parameter_validation: bool = True


@dataclass(frozen=True, slots=True)
class Target:
    """The table, its place and the credentials.

    Args:
        table_name: Name or ARN of the table.
        region: AWS region; None takes what :func:`~.endpoints.find_region` finds.
        endpoint_url: Of another DynamoDB; None takes what boto3 finds, see
            :func:`~.endpoints.find_endpoint`.
        credentials: A botocore credentials object; None lets boto3 find some.
    """

    table_name: str
    region: str | None = None
    endpoint_url: str | None = None
    credentials: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        name: object = self.table_name
        if not isinstance(name, str) or not name:
            raise ValueError(
                f"table_name is {self.table_name!r}; accepted is a table's name or ARN"
            )


class UnreadableReplyError(ReceiptDynamoError):
    """DynamoDB's reply does not prove what became of the items.

    They may be written or not; writing them again is safe, because the same key
    overwrites itself.
    """


class UnusableConfigurationError(ReceiptDynamoError):
    """The endpoint, region or proxy that boto3 was given can never work."""


class Connection:
    """The table's name and the boto3 client to reach it.

    Nothing touches the network before :meth:`client` is used: a service starts when
    DynamoDB is down.

    Args:
        target: Which table, where, and as whom.
        settings: How boto3 behaves.
        client: A boto3 client to use as it is, instead of making one.
        prepare: Done to each client that is made.
    """

    def __init__(
        self,
        target: Target,
        settings: SdkSettings,
        client: DynamoDBClient | None = None,
        *,
        prepare: Callable[[DynamoDBClient], object] | None = None,
    ) -> None:
        self.target = target
        self._settings = settings
        self._prepare = prepare
        self._injected = client
        # Re-entrant: a finalizer may use it in the thread that makes the client.
        self._lock = threading.RLock()
        self._made: DynamoDBClient | None = None
        reset_in_child(self)

    @property
    def table_name(self) -> str:
        """Name or ARN of the table."""
        return self.target.table_name

    @property
    def read_timeout(self) -> float:
        """Seconds that DynamoDB has for a reply."""
        return self._settings.read_timeout

    def client(self) -> DynamoDBClient:
        """Return this process's client.

        Raises:
            botocore.exceptions.BotoCoreError: No region or no such profile, for example.
            UnusableConfigurationError: The endpoint is no URL, for example.
        """
        notice_fork()
        if self._injected is not None:
            return self._injected
        made = self._made
        return made if made is not None else self._make()

    def explain(self, error: Exception) -> Exception:
        """Return what a failed request is due to: the region, if that is none, else ``error``.

        Where a misspelt region's host is not found, botocore sees no more than a host that it
        cannot reach.
        """
        if type(error).__name__ not in _UNREACHABLE:
            return error
        region, endpoint = self.target.region, self.target.endpoint_url or find_endpoint()
        region = find_region(self.table_name, region)
        if self._injected is not None or endpoint or region is None or is_region(region):
            return error
        return UnusableConfigurationError(
            f"{error} - the region is {region!r}, which botocore does not know"
            f"{suggest_region(region)}; it comes from the argument region, AWS_REGION, "
            "AWS_DEFAULT_REGION, the AWS profile or the table's ARN"
        )

    def renew(self) -> None:
        """Have the next use make a new client: one keeps the credentials that it began with."""
        notice_fork()
        with self._lock:
            self._made = None

    def read_target(self) -> Target:
        """Return which table this is, where and as whom, for making another connection."""
        if self._injected is None:
            return self.target
        return read_target(self._injected, self.table_name)

    def reset_after_fork(self) -> None:
        """Drop in a forked child what belongs to the parent: its lock and its sockets."""
        self._lock = threading.RLock()
        self._made = None
        _free_refresh_locks(self.target.credentials)

    def make_token_client(self) -> STSClient:
        """Make a client of the security token service, with the same credentials."""
        sts: STSClient = _make_session(self.target).client(
            "sts",
            region_name=find_region(self.table_name, self.target.region),
            config=_make_config(self._settings),
        )
        return sts

    def _make(self) -> DynamoDBClient:
        with self._lock:
            made = self._made
            if made is None:
                try:
                    made = make_client(self.target, self._settings)
                    _ = urlsplit(made.meta.endpoint_url).port  # botocore looks at it later.
                except ValueError as error:  # What is no URL.
                    raise UnusableConfigurationError(str(error)) from error
                if self._prepare is not None:
                    self._prepare(made)
                self._made = made
            return made


def prepare_process() -> None:
    """Load boto3 and OpenSSL now, in the calling thread.

    boto3 cannot be imported any more once the interpreter ends. And a child that is forked
    while another thread imports, or while it initializes OpenSSL, waits for that thread,
    which it does not have, for ever.
    """
    for module in ("boto3", "encodings.idna"):
        importlib.import_module(module)
    ssl.create_default_context()


def make_client(target: Target, settings: SdkSettings) -> DynamoDBClient:
    """Make a boto3 DynamoDB client from its own session.

    boto3's default session is shared and not safe to use from several threads at once.
    """
    client: DynamoDBClient = _make_session(target).client(
        "dynamodb",
        region_name=find_region(target.table_name, target.region),
        endpoint_url=target.endpoint_url or None,
        config=_make_config(settings),
    )
    bound_requests(client)
    client.meta.events.register("response-received.dynamodb.*", _check_checksum)
    client.meta.events.register("before-parse.dynamodb.Query", _parse_page)
    return client


def _make_session(target: Target) -> Any:
    # Imported late: the resilience patterns are useful without the time boto3 takes.
    import boto3

    session = boto3.session.Session()
    if target.credentials is not None:
        # The only way to hand over credentials that refresh themselves.
        botocore_session: Any = session._session  # noqa: SLF001
        botocore_session._credentials = target.credentials  # noqa: SLF001
    return session


def _make_config(settings: SdkSettings) -> Any:
    from botocore.config import Config

    return Config(
        retries={"mode": "standard", "total_max_attempts": settings.total_max_attempts},
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        max_pool_connections=settings.max_pool_connections,
        parameter_validation=settings.parameter_validation,
        tcp_keepalive=True,
    )


def _check_checksum(response_dict: dict[str, Any] | None, **_: object) -> None:
    """Compare a reply to its checksum, in an event that every botocore from our lowest has.

    botocore's standard retry mode returns a damaged body as an empty reply.
    """
    if response_dict is None:  # There was no reply.
        return
    expected = response_dict["headers"].get("x-amz-crc32")
    if expected is not None and str(zlib.crc32(response_dict["body"])) != expected:
        raise UnreadableReplyError("the reply does not match its checksum")


def _parse_page(
    response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object
) -> None:
    """Read a page of items in botocore's place, in the event that it has for that.

    botocore looks at each attribute of each item by the service's description, which takes
    more than all the rest of a query. The reply has the same form without it; only binary
    attributes stay as they are in JSON, and a record has none. An old botocore without the
    event reads the page itself.
    """
    # Imported late, as boto3: a process that only writes may do without.
    from pydantic_core import from_json

    if response_dict["status_code"] != HTTPStatus.OK:
        return
    try:
        page = from_json(response_dict["body"])
    except ValueError as error:
        raise UnreadableReplyError("the reply to a query is no JSON") from error
    if isinstance(page, dict):
        customized_response_dict.update(page)
        response_dict["body"] = b"{}"


def _free_refresh_locks(credentials: Any) -> None:
    """Give credentials that a thread of the parent was renewing a lock that nobody holds.

    They are the user's own object, and stay it: else each would be renewed for itself. What
    they are renewed with may have such credentials too, where a role is assumed from a role.
    """
    for _ in range(_MOST_ROLES):
        lock = getattr(credentials, "_refresh_lock", None)
        if lock is None:
            return
        if lock.locked():
            credentials._refresh_lock = threading.Lock()  # noqa: SLF001 - botocore has no way
        fetcher = getattr(getattr(credentials, "_refresh_using", None), "__self__", None)
        credentials = getattr(fetcher, "_source_credentials", None)


def make_credentials(
    access_key_id: str | None, secret_access_key: str | None, session_token: str | None
) -> Any:
    """Return a botocore credentials object, or None to let boto3 find credentials.

    Raises:
        ValueError: Only one of the two keys is given.
    """
    if (access_key_id is None) != (secret_access_key is None):
        raise ValueError(
            "one of aws_access_key_id and aws_secret_access_key is missing; "
            "accepted are both or none"
        )
    if access_key_id is None or secret_access_key is None:
        return None
    from botocore.credentials import Credentials

    return Credentials(access_key_id, secret_access_key, session_token)


def is_boto3_client(client: object) -> TypeGuard[DynamoDBClient]:
    """Return whether this is a boto3 client for DynamoDB, a real one whose calls return replies.

    Its class is asked, not its attributes: an invented object may have each of those, and a
    mock with a ``spec`` answers ``isinstance`` as if it were one. An asyncio client, as
    aiobotocore makes, is none: its calls return coroutines.

    Args:
        client: Any object. Neither boto3 nor botocore is imported for the answer: where
            they are not, there is no client of theirs.
    """
    base = getattr(sys.modules.get("botocore.client"), "BaseClient", None)
    if base is None or not issubclass(type(client), base):
        return False
    real: Any = client
    is_async = inspect.iscoroutinefunction(real._make_api_call)  # noqa: SLF001
    return not is_async and real.meta.service_model.service_name == "dynamodb"


def read_target(client: DynamoDBClient, table_name: str) -> Target:
    """Return where a boto3 client points and as whom, for making another client of it.

    Raises:
        TypeError: ``client`` is something else.
    """
    if not is_boto3_client(client):
        raise TypeError(
            f"client is of type {type(client).__name__}; accepted is a boto3 DynamoDB client"
        )
    signer: Any = client._request_signer  # type: ignore[attr-defined]  # noqa: SLF001
    return Target(
        table_name,
        region=client.meta.region_name,
        endpoint_url=client.meta.endpoint_url,
        credentials=signer._credentials,  # noqa: SLF001
    )
