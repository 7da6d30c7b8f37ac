"""The rules of a circuit breaker, checked when it is made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

_DEFAULT_WINDOW_CALLS: Final = 100
_DEFAULT_MINIMUM_CALLS: Final = 10
_CAP_OF_OPEN_TIME: Final = 10
"""The open time grows to this many times ``timeout_seconds`` by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """What :class:`CircuitBreaker` documents as its arguments.

    Raises:
        ValueError: A setting is out of bounds, or two contradict each other.
    """

    name: str
    failure_threshold: int | None
    timeout_seconds: float
    timeout_multiplier: float
    max_timeout_seconds: float | None
    timeout_jitter: float
    failure_rate: float | None
    slow_call_seconds: float | None
    slow_call_rate: float
    window_calls: int | None
    window_seconds: float | None
    minimum_calls: int | None
    half_open_max_calls: int
    success_threshold: int
    probe_lease_seconds: float

    def __post_init__(self) -> None:
        """Check each setting, then what they mean together."""
        for name in ("failure_threshold", "window_calls", "minimum_calls"):
            self._check_count(name, optional=True)
        for name in ("half_open_max_calls", "success_threshold"):
            self._check_count(name)
        self._check_number("timeout_seconds", 0, math.inf, "finite seconds of 0 or more")
        self._check_number("timeout_multiplier", 1, math.inf, "finite numbers from 1")
        self._check_number("timeout_jitter", 0, 1, "numbers from 0 to 1")
        self._check_positive("probe_lease_seconds", math.inf, "finite seconds of more than 0")
        for name in ("slow_call_seconds", "window_seconds"):
            self._check_positive(name, math.inf, "finite seconds of more than 0", optional=True)
        self._check_positive("failure_rate", 1, "shares of more than 0, up to 1", optional=True)
        self._check_positive("slow_call_rate", 1, "shares of more than 0, up to 1")
        self._check_number(
            "max_timeout_seconds",
            self.timeout_seconds,
            math.inf,
            f"finite seconds from timeout_seconds, {self.timeout_seconds!r}",
            optional=True,
        )
        self._check_together()

    @property
    def longest_timeout(self) -> float:
        """Seconds to which the open time grows, before jitter."""
        if self.max_timeout_seconds is None:
            return self.timeout_seconds * _CAP_OF_OPEN_TIME
        return self.max_timeout_seconds

    @property
    def has_rates(self) -> bool:
        """Whether a rate over a window can open the breaker."""
        return self.failure_rate is not None or self.slow_call_seconds is not None

    @property
    def window_size(self) -> int:
        """Results in the window by count."""
        return _DEFAULT_WINDOW_CALLS if self.window_calls is None else self.window_calls

    @property
    def required_calls(self) -> int:
        """Results that the window must hold before its rates mean anything."""
        if self.minimum_calls is not None:
            return self.minimum_calls
        if self.window_seconds is not None:
            return _DEFAULT_MINIMUM_CALLS
        return min(_DEFAULT_MINIMUM_CALLS, self.window_size)

    def _check_together(self) -> None:
        if self.failure_threshold is None and not self.has_rates:
            raise ValueError(
                "failure_threshold is None; accepted with failure_rate or slow_call_seconds "
                "only, else nothing could open the breaker"
            )
        if self.window_calls is not None and self.window_seconds is not None:
            raise ValueError(
                f"window_calls is {self.window_calls!r} and window_seconds is "
                f"{self.window_seconds!r}; accepted is one of them"
            )
        if self.window_seconds is None and self.required_calls > self.window_size:
            raise ValueError(
                f"minimum_calls is {self.minimum_calls!r}; accepted are whole numbers up to "
                f"window_calls, {self.window_size}"
            )

    def _check_count(self, name: str, *, optional: bool = False) -> None:
        value = getattr(self, name)
        if optional and value is None:
            return
        if type(value) is not int or value < 1:
            raise ValueError(_complain(name, value, "whole numbers from 1", optional))

    def _check_positive(
        self, name: str, highest: float, accepted: str, *, optional: bool = False
    ) -> None:
        self._check_number(name, math.nextafter(0, 1), highest, accepted, optional=optional)

    def _check_number(
        self, name: str, lowest: float, highest: float, accepted: str, *, optional: bool = False
    ) -> None:
        value = getattr(self, name)
        if optional and value is None:
            return
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not lowest <= value <= highest or math.isinf(value):
            raise ValueError(_complain(name, value, accepted, optional))


def _complain(name: str, value: object, accepted: str, optional: bool) -> str:
    return f"{name} is {value!r}; accepted are {accepted}{', and None' if optional else ''}"
