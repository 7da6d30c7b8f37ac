"""The decorators that both trackers have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar, overload

from receipt_label.arguments import check_bool, check_text
from receipt_label.providers.google_places import SERVICE as PLACES
from receipt_label.providers.google_places import find_operation_of_function
from receipt_label.providers.provider import Operation
from receipt_label.providers.registry import find_provider, need_provider
from receipt_label.tracking.recorder import CallRecorder
from receipt_label.watching.function_calls import FunctionObserver
from receipt_label.watching.functions import track
from receipt_label.watching.reported_usage import Cost, CostReader, ReportedUsage, UsageReader

P = ParamSpec("P")
R = TypeVar("R")


class CallDecorators:
    """Decorates functions so that their calls are recorded.

    A decorated function stays of its kind: sync or async, a generator or not; its
    arguments, results and errors pass unchanged. One that uses a wrapped client, or returns a
    response that is recorded already, gives no second record.
    """

    _recorder: CallRecorder

    @overload
    def track_openai_completion(self, function: Callable[P, R]) -> Callable[P, R]: ...

    @overload
    def track_openai_completion(
        self, *, batch: bool
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...

    def track_openai_completion(
        self, function: Callable[P, R] | None = None, *, batch: bool = False
    ) -> Callable[P, R] | Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorate a function that returns a chat completion, or a generator of its chunks.

        Args:
            function: The function; left out, this returns a decorator.
            batch: Whether OpenAI's Batch API served what the function returns, at its price.

        Raises:
            TypeError: ``function`` is not callable, or ``batch`` no bool.
        """
        return self._decorate("openai", "completion", function, batch=batch)

    @overload
    def track_openai_embedding(self, function: Callable[P, R]) -> Callable[P, R]: ...

    @overload
    def track_openai_embedding(
        self, *, batch: bool
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...

    def track_openai_embedding(
        self, function: Callable[P, R] | None = None, *, batch: bool = False
    ) -> Callable[P, R] | Callable[[Callable[P, R]], Callable[P, R]]:
        """Like :meth:`track_openai_completion`, of a function that returns embeddings.

        Raises:
            TypeError: ``function`` is not callable, or ``batch`` no bool.
        """
        return self._decorate("openai", "embedding", function, batch=batch)

    @overload
    def track_anthropic_completion(self, function: Callable[P, R]) -> Callable[P, R]: ...

    @overload
    def track_anthropic_completion(
        self, *, batch: bool
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...

    def track_anthropic_completion(
        self, function: Callable[P, R] | None = None, *, batch: bool = False
    ) -> Callable[P, R] | Callable[[Callable[P, R]], Callable[P, R]]:
        """Like :meth:`track_openai_completion`, of Anthropic's messages and their events.

        Raises:
            TypeError: ``function`` is not callable, or ``batch`` no bool.
        """
        return self._decorate("anthropic", "completion", function, batch=batch)

    def track_google_places(
        self,
        operation: str,
        *,
        field_mask: str | Iterable[str] | None = None,
        legacy: bool = False,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Return a decorator for a function that asks Google Places once.

        Args:
            operation: What it asks for: "text_search", "nearby_search", "place_details",
                "find_place", "autocomplete", "query_autocomplete", "photo" or "geocoding"; or
                an earlier name of one: "place_search", "place_autocomplete", "place_photo".
                Another one is recorded too, without a cost.
            field_mask: The fields that it asks for, by which Google prices the call: as in
                ``X-Goog-FieldMask``, or the legacy API's ``fields``. Without it the new API's
                searches have no cost, and details are taken for the legacy API's, with all of
                their data: the new API refuses to answer without a mask.
            legacy: Whether it asks the legacy API (``maps/api/place``).

        Raises:
            ValueError: ``operation`` is empty.
            TypeError: ``operation`` is no str.
        """
        check_text("operation", operation)
        asked = find_operation_of_function(operation, field_mask, legacy=legacy)
        return self._make_decorator(PLACES, asked)

    def tracked(
        self,
        service: str,
        operation: str,
        *,
        model: str | None = None,
        usage: UsageReader | None = None,
        cost_usd: Cost | CostReader | None = None,
        batch: bool = False,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Return a decorator for a function that calls any other service, once for each call.

        Of a generator, ``usage`` and ``cost_usd`` are asked about each item and what it
        returns; the last answer that is not None counts. What they raise is counted in
        ``get_stats().failed``, and the call is recorded without it.

        Args:
            service: Its name in the records, such as "bedrock". For "openai" and "anthropic"
                and others that the price book knows, the usage is priced.
            operation: Kind of call, such as "completion".
            model: The model; by default what the result has as ``model``, else the function's
                argument of that name.
            usage: Returns what a call used by its result: a ``TokenUsage``, a mapping of its
                fields (``{"input_tokens": 12, "output_tokens": 5}``), or None.
            cost_usd: What each call costs in USD, or a function that returns it by the result,
                for services that report it. The price book is not used then.
            batch: Whether the provider's Batch API serves the calls, at its price.

        Raises:
            TypeError: An argument is of a wrong type.
            ValueError: A name is empty, or the cost negative or not finite.
        """
        check_text("service", service)
        check_text("operation", operation)
        if model is not None:
            check_text("model", model)
        reported = ReportedUsage(usage, cost_usd)
        asked = Operation(name=operation, read=reported.read, model=model, known=reported.known)
        return self._make_decorator(service, asked, batch=check_bool("batch", batch))

    def _decorate(
        self, service: str, operation: str, function: Callable[P, R] | None, *, batch: bool
    ) -> Callable[P, R] | Callable[[Callable[P, R]], Callable[P, R]]:
        asked = need_provider(service).find_operation(operation)
        decorate: Callable[[Callable[P, R]], Callable[P, R]] = self._make_decorator(
            service, asked, batch=check_bool("batch", batch)
        )
        return decorate if function is None else decorate(function)

    def _make_decorator(
        self, service: str, operation: Operation, *, batch: bool = False
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        self._load_prices(service)
        observer = FunctionObserver(service, operation, self._recorder, batch)

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            return track(observer, function)

        return decorate

    def _load_prices(self, service: str | None = None) -> None:
        """Load them while things are set up, so that the first call does not wait for it."""
        try:
            self._recorder.price_book.load()
            if service is not None:
                find_provider(service)  # Another package may bring it.
        except Exception as error:  # noqa: BLE001
            self._recorder.count_failure(error)
