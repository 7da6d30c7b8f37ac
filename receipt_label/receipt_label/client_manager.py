"""One object that holds the clients of a service: DynamoDB, the tracker, the AI providers."""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import receipt_dynamo
from receipt_dynamo.support import (
    DeliverySettings,
    call_beside_loop,
    find_endpoint,
    has_journals,
)
from receipt_label.client_config import ClientConfig
from receipt_label.environment import (
    Environment,
    ExplainedEnvironment,
    check_place,
    find_environment,
)
from receipt_label.errors import ConfigurationError, MissingPackageError
from receipt_label.injected_client import (
    MetricWriter,
    accept_client,
    accept_direct_client,
    flush_client,
)
from receipt_label.lazy_part import LazyPart
from receipt_label.pricing import PriceBook
from receipt_label.tracking import AIUsageTracker, ResilientAIUsageTracker
from receipt_label.tracking.usage_log import UsageLogFile

if TYPE_CHECKING:
    from anthropic import Anthropic, AsyncAnthropic
    from openai import AsyncOpenAI, OpenAI

_logger = logging.getLogger(__name__)

CLOSE_TIMEOUT: Final = 10.0
"""Seconds that ``close`` waits for what is pending."""


class ClientManager:
    """Makes a service's clients when they are first asked for, and closes them together.

    Where dead processes left journals, the DynamoDB client is made at once, to deliver them.

    Thread-safe. The constructor makes no network call, and neither does any property.

    Args:
        config: See :class:`ClientConfig`.
        dynamo_client: A client to use in place of making one, by the rules of
            ``docs/environments.md``: outside of tests it is a ``ResilientDynamoClient``,
            or is rebuilt into one. It stays open when the manager closes.

    Attributes:
        config: As given.
        environment: The configured one, or the detected one.

    Raises:
        ConfigurationError: The table is not one of this environment, and may hold production
            data; or a price file is malformed.
        ValueError: The region is nowhere to be found, outside of tests.
        TypeError: ``config`` is no ClientConfig, or ``dynamo_client`` would bypass the
            resilience.

    Warns:
        UserWarning: The table looks like one of another environment.
    """

    def __init__(self, config: ClientConfig, *, dynamo_client: object = None) -> None:
        if not isinstance(config, ClientConfig):
            raise TypeError(f"config is of type {type(config).__name__}; accepted is ClientConfig")
        self.config = config
        found = _find_environment(config)
        self.environment = found.environment
        self._guarded_as = found.guarded_as
        # What was checked is what is used, whatever becomes of the variables later.
        self._endpoint_url = config.endpoint_url or find_endpoint()
        check_place(
            config.dynamo_table,
            found,
            client_injected=dynamo_client is not None,
            endpoint_url=self._endpoint_url,
            check_table=config.check_table,
        )
        self._injected = dynamo_client
        # Now, not late: an unfit client is the mistake of who makes the manager.
        self._accepted = None if dynamo_client is None else self._accept(dynamo_client)
        # A mistake in the prices is as well.
        self._price_book = PriceBook.from_file(config.price_file) if config.price_file else None
        self._dynamo: LazyPart[MetricWriter] = LazyPart(self._make_dynamo)
        self._tracker: LazyPart[AIUsageTracker] = LazyPart(self._make_tracker)
        self._openai: LazyPart[OpenAI] = self._make_part("openai", "OpenAI", config.openai_api_key)
        self._async_openai: LazyPart[AsyncOpenAI] = self._make_part(
            "openai", "AsyncOpenAI", config.openai_api_key
        )
        self._anthropic: LazyPart[Anthropic] = self._make_part(
            "anthropic", "Anthropic", config.anthropic_api_key
        )
        self._async_anthropic: LazyPart[AsyncAnthropic] = self._make_part(
            "anthropic", "AsyncAnthropic", config.anthropic_api_key
        )

        self._adopt_at_once()

    def _adopt_at_once(self) -> None:
        """Deliver from now on, not from the first call on, what dead processes left."""
        if self._accepted is not None or not self.config.use_resilient_tracker:
            return
        # Whatever is wrong, the first use says it.
        with contextlib.suppress(Exception):
            settings = DeliverySettings(**self.config.delivery_settings(self._guarded_as))
            if settings.find_durability() != "memory" and has_journals(settings.journal_dir):
                self._dynamo.get()

    @classmethod
    def from_env(
        cls, variables: Mapping[str, str] | None = None, *, dynamo_client: object = None
    ) -> Self:
        """Make a manager from environment variables: see :meth:`ClientConfig.from_env`."""
        return cls(ClientConfig.from_env(variables), dynamo_client=dynamo_client)

    @property
    def dynamo(self) -> MetricWriter:
        """The client that writes records: a ``ResilientDynamoClient``, unless switched off.

        With ``use_resilient_tracker=False`` it is a ``DynamoClient``, and with an injected
        client what became of that.
        """
        return self._dynamo.get()

    @property
    def usage_tracker(self) -> AIUsageTracker:
        """The tracker of this manager's clients, resilient unless switched off.

        It is there with ``track_ai_usage=False`` too, for records that the caller makes.
        """
        return self._tracker.get()

    @property
    def openai(self) -> OpenAI:
        """An ``openai.OpenAI`` whose calls are recorded.

        Raises:
            ConfigurationError: There is no API key.
            MissingPackageError: ``openai`` is not installed.
        """
        return self._openai.get()

    @property
    def async_openai(self) -> AsyncOpenAI:
        """An ``openai.AsyncOpenAI`` whose calls are recorded; see :attr:`openai`."""
        return self._async_openai.get()

    @property
    def anthropic(self) -> Anthropic:
        """An ``anthropic.Anthropic`` whose calls are recorded.

        Raises:
            ConfigurationError: There is no API key.
            MissingPackageError: ``anthropic`` is not installed.
        """
        return self._anthropic.get()

    @property
    def async_anthropic(self) -> AsyncAnthropic:
        """An ``anthropic.AsyncAnthropic`` whose calls are recorded; see :attr:`anthropic`."""
        return self._async_anthropic.get()

    def set_tracking_context(
        self,
        *,
        job_id: str | None = None,
        batch_id: str | None = None,
        github_pr: int | None = None,
        user_id: str | None = None,
        environment: Environment | str | None = None,
    ) -> None:
        """Add to what this manager's records belong to where no ``ai_usage_context`` says it.

        The arguments and errors are those of :meth:`AIUsageTracker.set_tracking_context`.
        """
        self.usage_tracker.set_tracking_context(
            job_id=job_id,
            batch_id=batch_id,
            github_pr=github_pr,
            user_id=user_id,
            environment=environment,
        )

    def clear_tracking_context(self) -> None:
        """Clear what :meth:`set_tracking_context` set; the configured user stays."""
        self.usage_tracker.clear_tracking_context()

    def close(self, timeout: float | None = CLOSE_TIMEOUT) -> None:
        """Close the clients that this manager made, and deliver what is pending.

        An injected client is flushed and stays open. An asyncio client can only be closed
        by :meth:`aclose`. May be called again.

        Args:
            timeout: Seconds to wait for delivery, at most; None waits for as long as it
                takes.
        """
        for part in (self._tracker, self._async_openai, self._async_anthropic):
            part.close()  # The tracker keeps nothing back: its records are with its client.
        # Last in, first out, and each one even if another fails: the calls end first.
        with contextlib.ExitStack() as stack:
            stack.callback(self._close_dynamo, timeout)
            for client in (self._openai.close(), self._anthropic.close()):
                if client is not None:
                    stack.callback(client.close)

    async def aclose(self, timeout: float | None = CLOSE_TIMEOUT) -> None:  # noqa: ASYNC109
        """Close the clients as :meth:`close` does, and the asyncio clients, beside the event loop.

        Args:
            timeout: Seconds to wait for delivery, at most; None waits for as long as it
                takes.
        """
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(call_beside_loop, partial(self.close, timeout))
            for client in (self._async_openai.close(), self._async_anthropic.close()):
                if client is not None:
                    stack.push_async_callback(client.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _accept(self, client: object) -> MetricWriter:
        config = self.config
        if not config.use_resilient_tracker:
            return accept_direct_client(
                client,
                environment=self._guarded_as,
                table_name=config.dynamo_table,
                gsi_shards=config.gsi_shards,
                retention_days=config.retention_days,
            )
        return accept_client(
            client,
            environment=self._guarded_as,
            table_name=config.dynamo_table,
            **config.delivery_settings(self._guarded_as),
        )

    def _make_dynamo(self) -> MetricWriter:
        config = self.config
        if self._accepted is not None:
            return self._accepted
        if not config.use_resilient_tracker:
            return receipt_dynamo.DynamoClient(
                config.dynamo_table,
                endpoint_url=self._endpoint_url,
                gsi_shards=config.gsi_shards,
                retention_days=config.retention_days,
            )
        return receipt_dynamo.ResilientDynamoClient(
            config.dynamo_table,
            endpoint_url=self._endpoint_url,
            **config.delivery_settings(self._guarded_as),
        )

    def _make_tracker(self) -> AIUsageTracker:
        config = self.config
        tracker = ResilientAIUsageTracker if config.use_resilient_tracker else AIUsageTracker
        return tracker(
            self.dynamo,
            config.dynamo_table,
            config.user_id,
            environment=self.environment,
            usage_log=_open_usage_log(config) if config.track_to_file else None,
            price_book=self._price_book,
        )

    def _make_part(self, package: str, class_name: str, api_key: str | None) -> LazyPart[Any]:
        def make() -> Any:
            client = _make_sdk_client(package, class_name, api_key)
            return self.usage_tracker.wrap(client) if self.config.track_ai_usage else client

        return LazyPart(make, remake_in_child=True)

    def _close_dynamo(self, timeout: float | None) -> None:
        client = self._dynamo.close() or self._accepted
        if client is self._injected:
            flush_client(client, timeout)
        elif (close := getattr(client, "close", None)) is not None:
            close(timeout)


def _find_environment(config: ClientConfig) -> ExplainedEnvironment:
    if config.environment is None:
        return find_environment(config.dynamo_table)
    return ExplainedEnvironment(
        config.environment, "the configuration says so", is_guessed=config.environment_is_guessed
    )


def _open_usage_log(config: ClientConfig) -> UsageLogFile | None:
    """Return the copy of the records, in a folder that is made for it, private to the user."""
    path = config.find_log_file()
    # The copy is an extra: without it all goes on.
    if path is None:
        _logger.warning(
            "no copy of usage records: the path for it cannot be resolved, or this user has no "
            "home directory to write to; set AI_USAGE_LOG_FILE to a file that this user can write"
        )
        return None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        _logger.warning("no folder for the copy of usage records: %s", error)
    return UsageLogFile(path)


def _make_sdk_client(package: str, class_name: str, api_key: str | None) -> Any:
    """Make a provider's client, or say what is missing for it.

    Raises:
        ConfigurationError: There is no API key.
        MissingPackageError: The provider's package is not installed.
    """
    if not api_key:
        raise ConfigurationError(
            f"{package.upper()}_API_KEY is not set, and {class_name} needs it; a client that "
            f"signs in by other means can be given to usage_tracker.wrap_{package}"
        )
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise MissingPackageError(
            f"the package {package} is not installed: pip install 'receipt-label[{package}]'",
            name=package,
        ) from error
    return getattr(module, class_name)(api_key=api_key)
