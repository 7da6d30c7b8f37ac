"""Accept a DynamoDB client of the user, rebuild it, or refuse it.

In a test any object that takes records will do. Elsewhere an object that merely looks
right would bypass the resilience that the rest of the program counts on.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Protocol

import receipt_dynamo
from receipt_label.environment import Environment

_logger = logging.getLogger(__name__)


class MetricWriter(Protocol):
    """Takes usage records: the one thing that a tracker needs of a client."""

    def put_ai_usage_metric(self, metric: receipt_dynamo.AIUsageMetric) -> object:
        """Write the record, or accept it for delivery."""


class _Kind(Enum):
    RESILIENT = auto()
    PLAIN = auto()
    BOTO3 = auto()
    OF_A_TEST = auto()


def accept_client(
    client: Any,
    *,
    environment: Environment,
    table_name: str | None,
    **settings: Any,
) -> MetricWriter:
    """Return the client through which an injected one delivers resiliently.

    A :class:`~receipt_dynamo.DynamoClient` keeps the table that it was made for.

    Args:
        client: What the user brought.
        environment: In the test environment, whatever has a method ``put_ai_usage_metric``
            is used as it is.
        table_name: The table for a boto3 client, which has none itself.
        **settings: Of a :class:`~receipt_dynamo.ResilientDynamoClient` that has to be made.

    Returns:
        ``client`` itself, or a new ``ResilientDynamoClient`` with the endpoint, region and
        credentials of ``client``. Who called closes the new one.

    Raises:
        TypeError: ``client`` is something else.
        ValueError: A boto3 client without ``table_name``, or a bad setting.
    """
    kind = _judge(client, environment)
    _log_another_table(client, kind, table_name)
    if kind in (_Kind.RESILIENT, _Kind.OF_A_TEST):
        writer: MetricWriter = client
        return writer
    if kind is _Kind.BOTO3:
        return receipt_dynamo.ResilientDynamoClient.from_client(client, table_name, **settings)
    _log_lost_methods(client)
    return receipt_dynamo.ResilientDynamoClient.from_client(client, **settings)


def accept_direct_client(
    client: Any, *, environment: Environment, table_name: str | None, **form: Any
) -> MetricWriter:
    """Return the client through which an injected one writes straight through.

    The same clients are accepted as by :func:`accept_client`; none is made resilient.

    Args:
        client: What the user brought.
        environment: As for :func:`accept_client`.
        table_name: The table for a boto3 client, which has none itself.
        **form: How items are written, of a :class:`~receipt_dynamo.DynamoClient` that has to
            be made.

    Returns:
        ``client`` itself, or a ``DynamoClient`` that uses the boto3 client.

    Raises:
        TypeError: ``client`` is something else.
        ValueError: A boto3 client without ``table_name``, or a bad form.
    """
    kind = _judge(client, environment)
    _log_another_table(client, kind, table_name)
    if kind is not _Kind.BOTO3:
        writer: MetricWriter = client
        return writer
    if table_name is None:
        raise ValueError("table_name is None; with a boto3 client it is needed")
    return receipt_dynamo.DynamoClient(table_name, client=client, **form)


def flush_client(client: object, timeout: float | None) -> bool:
    """Have an accepted client deliver what it holds.

    Args:
        client: One of a test may have no ``flush``, or one without an argument.
        timeout: Seconds to wait, at most; None waits for as long as it takes.

    Returns:
        False when the client says that something is left.
    """
    flush = getattr(client, "flush", None)
    if not callable(flush):
        return True
    # A client of the user's own may flush without saying anything.
    return (flush(timeout) if _takes_an_argument(flush) else flush()) is not False


def _takes_an_argument(function: Callable[..., object]) -> bool:
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    except ValueError:  # It has no signature.
        return True
    return True


def _judge(client: object, environment: Environment) -> _Kind:
    """Return what kind of client this is.

    Raises:
        TypeError: It is none that is accepted here.
    """
    kind = _find_kind(client, environment)
    if kind is None:
        raise TypeError(
            f"dynamo_client is of type {type(client).__name__}; accepted are "
            "ResilientDynamoClient, DynamoClient and a boto3 DynamoDB client, and in the test "
            "environment any object with a method put_ai_usage_metric"
        )
    if _is_async(getattr(client, "put_ai_usage_metric", None)):
        raise TypeError(
            f"dynamo_client is of type {type(client).__name__}, whose put_ai_usage_metric is "
            "async, so that it would not be awaited; accepted is a plain method"
        )
    return kind


def _is_async(method: object) -> bool:
    """Whether calls return coroutines; a double that answers to every name says of it nothing."""
    flags = getattr(getattr(method, "__code__", None), "co_flags", 0)
    return type(flags) is int and inspect.iscoroutinefunction(method)


def _find_kind(client: Any, environment: Environment) -> _Kind | None:
    """Return the kind by the client's class: a mock with a spec lies to isinstance."""
    if receipt_dynamo.is_boto3_client(client):
        return _Kind.BOTO3
    if issubclass(type(client), receipt_dynamo.ResilientDynamoClient) and _has_breaker(client):
        return _Kind.RESILIENT
    if environment is Environment.TEST and _takes_metrics(client):
        return _Kind.OF_A_TEST
    if issubclass(type(client), receipt_dynamo.DynamoClient) and _has_target(client):
        return _Kind.PLAIN
    return None


def _has_breaker(client: object) -> bool:
    """Whether the client can deliver: one whose class skipped the constructor cannot."""
    return isinstance(getattr(client, "circuit_breaker", None), receipt_dynamo.CircuitBreaker)


def _has_target(client: receipt_dynamo.DynamoClient) -> bool:
    """Whether a plain client knows where to go, and was not made around an invented client."""
    try:
        return bool(client.target)
    except AttributeError:  # A class of the user's own that skipped the constructor.
        return False
    except TypeError as error:
        raise TypeError(f"dynamo_client was made around another one: its {error}") from None


def _takes_metrics(client: object) -> bool:
    """Whether records can be put; a class that was not called yet is no client."""
    return callable(getattr(client, "put_ai_usage_metric", None)) and not isinstance(client, type)


def _log_another_table(client: Any, kind: _Kind, table_name: str | None) -> None:
    """Warn that a client's own table is the one that is written to."""
    if kind not in (_Kind.RESILIENT, _Kind.PLAIN) or table_name is None:
        return
    if _read_name(client.table_name) != _read_name(table_name):
        _logger.warning(
            "dynamo_client is for the table %s, where records go; the table %s is not used",
            client.table_name,
            table_name,
        )


def _read_name(table: str) -> str:
    return table.rpartition("/")[2]


def _log_lost_methods(client: object) -> None:
    kind = type(client)
    if kind is not receipt_dynamo.DynamoClient:
        _logger.warning(
            "dynamo_client is of type %s, and a ResilientDynamoClient takes its place: what the "
            "class changes of DynamoClient is not done",
            kind.__name__,
        )
