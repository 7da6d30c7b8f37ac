"""The rules of a circuit breaker, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass

from receipt_dynamo.utils.arguments import check_positive, check_share, check_whole, given
from receipt_dynamo.utils.breaker.window import CountWindow, TimeWindow, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """The rules, documented as the arguments of :class:`CircuitBreaker`.

    Raises:
        ValueError: A rule is out of bounds, or nothing could open the breaker.
    """

    name: str
    failure_threshold: int | None
    timeout_seconds: float
    failure_rate: float | None
    slow_call_seconds: float | None
    slow_call_rate: float
    window_calls: int
    window_seconds: float | None
    minimum_calls: int
    half_open_max_calls: int
    success_threshold: int
    probe_lease_seconds: float
    open_multiplier: float
    max_open_seconds: float
    jitter: float

    def __post_init__(self) -> None:
        """Check each rule, then what they mean together."""
        check_whole(
            **given(failure_threshold=self.failure_threshold),
            window_calls=self.window_calls,
            minimum_calls=self.minimum_calls,
            half_open_max_calls=self.half_open_max_calls,
            success_threshold=self.success_threshold,
        )
        check_positive(
            **given(
                failure_rate=self.failure_rate,
                slow_call_seconds=self.slow_call_seconds,
                window_seconds=self.window_seconds,
            ),
            timeout_seconds=self.timeout_seconds,
            slow_call_rate=self.slow_call_rate,
            probe_lease_seconds=self.probe_lease_seconds,
            open_multiplier=self.open_multiplier,
            max_open_seconds=self.max_open_seconds,
        )
        check_share(
            **given(failure_rate=self.failure_rate),
            slow_call_rate=self.slow_call_rate,
            jitter=self.jitter,
        )
        if self.open_multiplier < 1:
            raise ValueError(
                f"open_multiplier is {self.open_multiplier!r}; accepted are finite numbers from 1"
            )
        if self.failure_threshold is None and not self.has_rates:
            raise ValueError(
                "failure_threshold is None; accepted is that with failure_rate or "
                "slow_call_seconds only, else nothing could open the breaker"
            )

    @property
    def has_rates(self) -> bool:
        """Whether a rate over a window can open the breaker."""
        return self.failure_rate is not None or self.slow_call_seconds is not None

    def make_window(self) -> Window | None:
        """Return an empty window, or None when no rule needs one."""
        if not self.has_rates:
            return None
        if self.window_seconds is not None:
            return TimeWindow(self.window_seconds)
        return CountWindow(self.window_calls)
