"""One call to a provider, as seen from outside, and who records it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from receipt_label.calls.reply import ProviderReply
from receipt_label.usage_context import UsageContext


@dataclass(frozen=True, slots=True)
class Start:
    """When a call began.

    Attributes:
        timestamp: UTC time, for the record.
        reading: Of the monotonic clock in seconds, for the duration.
        context: What it belongs to. A stream may end in another thread, task or block.
    """

    timestamp: datetime
    reading: float
    context: UsageContext


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedCall:
    """A call that is over, with everything known about it.

    Attributes:
        service: Provider, such as "openai".
        operation: Kind of call, such as "completion".
        start: When it began.
        reply: What the provider's reply says.
        requested_model: The model asked for, where the reply does not name one.
        first_token: Reading of the monotonic clock when the first token of a stream came.
        error: How it failed, in a few words and without payload; None when it did not.
        metadata: More for the record.
    """

    service: str
    operation: str
    start: Start
    reply: ProviderReply = field(default_factory=ProviderReply)
    requested_model: str | None = None
    first_token: float | None = None
    error: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class CallSink(Protocol):
    """Records calls. No method raises, whatever happens inside."""

    def start(self) -> Start:
        """Return the beginning of a call that is about to be made."""

    def read_clock(self) -> float:
        """Return the reading of the monotonic clock that ``start`` uses, in seconds."""

    def take(self, call: ObservedCall) -> None:
        """Record a call that is over."""

    async def atake(self, call: ObservedCall) -> None:
        """Like ``take``, without blocking the event loop."""

    def take_abandoned(self, call: ObservedCall) -> None:
        """Like ``take``, from inside of a finalizer, and so of whatever lock its thread holds."""

    def count_untracked(self) -> None:
        """Count a call that passed through unrecorded."""

    def count_failure(self, error: Exception) -> None:
        """Count and log a failure of tracking itself."""
