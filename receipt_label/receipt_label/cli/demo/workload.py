"""The calls: real SDK clients, several threads, an even pace."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from receipt_label.cli.demo.verdict import MadeCall

if TYPE_CHECKING:
    from collections.abc import Callable

_TICK: Final = 0.05
"""Seconds between two looks at what is due."""

_OPENAI_MODELS: Final = ("gpt-4o-mini", "gpt-4.1")
_ANTHROPIC_MODELS: Final = ("claude-sonnet-4-6", "claude-haiku-4-5")
_MAX_TOKENS: Final = 200


def count_due(total: int, elapsed: float, seconds: float) -> int:
    """Return how many of ``total`` calls are due when they spread evenly over ``seconds``."""
    return total if elapsed >= seconds else int(total * elapsed / seconds)


class TransportTimer:
    """Measures for each thread how long its calls wait for the provider.

    What is left of a call's time is the SDK's and the tracker's own: an upper bound of
    what tracking adds to a call.

    Args:
        clock: Monotonic clock in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._waited = threading.local()

    def watch(self, http_client: Any) -> Any:
        """Return the SDK's HTTP client, whose ``send`` is measured from now on."""
        send = http_client.send

        def send_measured(*args: Any, **kwargs: Any) -> Any:
            start = self._clock()
            try:
                return send(*args, **kwargs)
            finally:
                self._waited.seconds = self._read() + self._clock() - start

        http_client.send = send_measured
        return http_client

    def take(self) -> float:
        """Return the seconds that this thread waited since it last asked."""
        seconds = self._read()
        self._waited.seconds = 0.0
        return seconds

    def _read(self) -> float:
        return float(getattr(self._waited, "seconds", 0.0))


@dataclass(frozen=True, slots=True)
class SdkClients:
    """The clients through which calls are made.

    Args:
        openai: An ``openai.OpenAI``.
        anthropic: An ``anthropic.Anthropic``.
    """

    openai: Any
    anthropic: Any


class Workload:
    """Makes calls from a number of threads, half to OpenAI and half to Anthropic.

    Args:
        clients: The SDK clients.
        threads: Number of calling threads.
        timer: Watches the HTTP clients of both.
        clock: Monotonic clock in seconds.
        sleep: Waits for a number of seconds.
    """

    def __init__(
        self,
        clients: SdkClients,
        threads: int,
        timer: TransportTimer,
        *,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clients = clients
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="caller")
        self._timer = timer
        self._clock = clock
        self._sleep = sleep
        self._begun = 0
        self._lock = threading.Lock()
        self._done: list[MadeCall] = []
        self._slowest = 0.0

    def run(self, count: int, seconds: float, tick: Callable[[], None]) -> None:
        """Make ``count`` calls spread over ``seconds``; return when time and calls are over.

        Args:
            count: Number of calls.
            seconds: Time to spread them over.
            tick: Called about twenty times a second, in the calling thread.
        """
        start, already = self._clock(), self._begun
        while True:
            elapsed = self._clock() - start
            due = already + count_due(count, elapsed, seconds)
            while self._begun < due:
                self._executor.submit(self._make_and_keep_call, self._begun)
                self._begun += 1
            is_over = elapsed >= seconds and self.count_done == self._begun
            tick()  # After the question, so that the last tick sees every call done.
            if is_over:
                return
            self._sleep(_TICK)

    @property
    def calls(self) -> list[MadeCall]:
        """The calls that are over, in the order in which they ended."""
        with self._lock:
            return list(self._done)

    @property
    def count_done(self) -> int:
        """Number of calls that are over."""
        with self._lock:
            return len(self._done)

    @property
    def slowest(self) -> float:
        """Longest call so far, in seconds; 0 before the first."""
        with self._lock:
            return self._slowest

    def close(self) -> None:
        """Let the calls under way end, and the threads with them."""
        self._executor.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _make_and_keep_call(self, number: int) -> None:
        call = self._make_call(number)
        with self._lock:
            self._done.append(call)
            self._slowest = max(self._slowest, call.seconds)

    def _make_call(self, number: int) -> MadeCall:
        """Make one call; what it raises is part of the demo's verdict, so nothing escapes."""
        service = ("openai", "anthropic")[number % 2]
        ask = self._ask_openai if service == "openai" else self._ask_anthropic
        models = _OPENAI_MODELS if service == "openai" else _ANTHROPIC_MODELS
        model = models[number // 2 % len(models)]
        self._timer.take()
        start = self._clock()
        try:
            response_id, input_tokens, output_tokens = ask(model, f"Please read receipt {number}.")
        except Exception as error:  # noqa: BLE001
            return MadeCall(service, model, None, error=f"{service} call {number}: {error!r}")
        seconds = self._clock() - start
        own_seconds = seconds - self._timer.take()
        return MadeCall(
            service, model, response_id, input_tokens, output_tokens, seconds, own_seconds
        )

    def _ask_openai(self, model: str, question: str) -> tuple[str, int, int]:
        reply = self._clients.openai.chat.completions.create(
            model=model, messages=[{"role": "user", "content": question}]
        )
        return reply.id, reply.usage.prompt_tokens, reply.usage.completion_tokens

    def _ask_anthropic(self, model: str, question: str) -> tuple[str, int, int]:
        reply = self._clients.anthropic.messages.create(
            model=model,
            max_tokens=_MAX_TOKENS,
            messages=[{"role": "user", "content": question}],
        )
        return reply.id, reply.usage.input_tokens, reply.usage.output_tokens
