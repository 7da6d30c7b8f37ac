"""The prices of one model, tier and day, and what a call costs by them."""

from __future__ import annotations

import decimal
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from receipt_label.pricing.price import UnpricedError
from receipt_label.pricing.rates import UnitRates
from receipt_label.pricing.token_usage import TokenUsage

MOST_COUNTED: Final = 10**12
"""More than that, of anything, no call has used: it is a mistake of who counted."""

ANY_IMAGE: Final = "any"
"""Stands for every size and quality of an image."""

CONTRADICTION: Final = "counts contradict each other"
NO_USAGE: Final = "no usage"

WORKING_DIGITS: Final = decimal.Context(prec=76)
"""For everything that is computed: the caller's own context may round to a few digits."""

# What DynamoDB can hold.
_STORED_DIGITS: Final = decimal.Context(prec=38)

_TO_MILLIONTHS: Final = Decimal("0.000001")
_TO_THOUSANDTHS: Final = Decimal("0.001")
_SECONDS_IN_HOUR: Final = 3_600
_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates(UnitRates):
    """Prices of all that is counted.

    Attributes:
        images: For one image, by its size and quality with a blank between them, by the
            one of them that is known, or by "default"; under "any" for all of them.
    """

    images: Mapping[str, Decimal] = field(default_factory=dict)

    def cost(self, usage: TokenUsage) -> Decimal:
        """Return the cost of ``usage``, whose counts have been checked.

        Raises:
            UnpricedError: A kind of usage has no price here, or the counts contradict
                each other.
        """
        total = (self._cost_of_input(usage) + self._cost_of_output(usage)) * _TO_MILLIONTHS
        if _has_more_than_tokens(usage):
            total += self._cost_of_others(usage)
        if self.request is not None:
            total += self.request * _TO_THOUSANDTHS
        return total

    def _cost_of_input(self, usage: TokenUsage) -> Decimal:
        left = usage.input_tokens or 0
        total = _ZERO
        audio, images = usage.input_audio_tokens, usage.input_image_tokens
        if usage.cache_read_tokens or usage.cache_write_tokens:
            cached, cost = self._cost_of_cached(usage)
            if cached and (audio or (images and self.input_image is not None)):
                raise UnpricedError("no price for cached audio or images apart")
            left -= cached
            total += cost
        if audio:
            left -= audio
            total += _need(self.input_audio, "audio input") * audio
        if images and self.input_image is not None:
            left -= images
            total += self.input_image * images
        if left < 0:
            raise UnpricedError(CONTRADICTION)
        return total + _need(self.input, "input") * left if left else total

    def _cost_of_cached(self, usage: TokenUsage) -> tuple[int, Decimal]:
        """Return how many tokens have a price of a cache's, and what they cost."""
        read, written, hourly = (
            usage.cache_read_tokens,
            usage.cache_write_tokens,
            usage.cache_write_1h_tokens,
        )
        cached, total = 0, _ZERO
        if read and self.cache_read is not None:
            cached += read
            total += self.cache_read * read
        if written and self.cache_write is not None:
            cached += written
            total += self.cache_write * (written - hourly)
            if hourly:
                # At the price for five minutes they would be too cheap.
                total += _need(self.cache_write_1h, "cache writes for an hour") * hourly
        return cached, total

    def _cost_of_output(self, usage: TokenUsage) -> Decimal:
        left = usage.output_tokens or 0
        total = _ZERO
        if audio := usage.output_audio_tokens:
            left -= audio
            total += _need(self.output_audio, "audio output") * audio
        if (images := usage.output_image_tokens) and self.output_image is not None:
            left -= images
            total += self.output_image * images
        if (reasoning := usage.reasoning_tokens) and self.reasoning is not None:
            left -= reasoning
            total += self.reasoning * reasoning
        if left < 0:
            raise UnpricedError(CONTRADICTION)
        return total + _need(self.output, "output") * left if left else total

    def _cost_of_others(self, usage: TokenUsage) -> Decimal:
        tools = _ZERO
        if usage.web_searches:
            tools += _need(self.web_search, "web searches") * usage.web_searches
        if usage.file_searches:
            tools += _need(self.file_search, "file searches") * usage.file_searches
        if usage.code_executions:
            tools += _need(self.code_execution, "code executions") * usage.code_executions
        total = tools * _TO_THOUSANDTHS
        if characters := usage.input_characters:
            total += _need(self.characters, "characters") * characters * _TO_MILLIONTHS
        if seconds := usage.audio_seconds:
            total += _need(self.audio_hour, "audio by its length") * seconds / _SECONDS_IN_HOUR
        if usage.images:
            kind = " ".join(filter(None, (usage.image_size, usage.image_quality))) or "default"
            price = self.images.get(kind, self.images.get(ANY_IMAGE))
            total += _need(price, f"images ({kind[:40]})") * usage.images
        return total


@dataclass(frozen=True, slots=True)
class RateCard:
    """The prices of one model, tier and day.

    Attributes:
        rates: The prices.
        steps: Prices for calls with more input tokens than a number, those from a cache
            included; ascending. They hold for the whole call.
        origin: Where the prices come from, for the record's metadata.
        varies_within_day: Whether another hour of the same day may have other prices.
        added: More for the origin of a call that used a tool, by the name of its count.
    """

    rates: Rates
    steps: tuple[tuple[int, Rates], ...] = ()
    origin: Mapping[str, Any] = field(default_factory=dict)
    varies_within_day: bool = False
    added: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def find_rates(self, input_tokens: int) -> Rates:
        """Return the prices for a call with this number of input tokens."""
        rates = self.rates
        for above, dearer in self.steps:
            if input_tokens > above:
                rates = dearer
        return rates

    def cost(self, usage: TokenUsage) -> Decimal:
        """Return the cost in USD of ``usage``, exact to 38 digits.

        Raises:
            UnpricedError: See :meth:`Rates.cost`; or there is nothing to count.
        """
        rates = self.find_rates(usage.input_tokens or 0) if self.steps else self.rates
        if rates.request is None and not _counts_something(usage):
            raise UnpricedError(NO_USAGE)
        with decimal.localcontext(WORKING_DIGITS):
            cost = rates.cost(usage)
        return _STORED_DIGITS.plus(cost)


def check_counts(usage: TokenUsage) -> None:
    """Refuse counts that cannot be, before anything is computed from them.

    Raises:
        UnpricedError: A count is negative, absurd or no number, or a part is larger than
            its whole.
    """
    read, written = usage.input_tokens or 0, usage.output_tokens or 0
    for count in (
        read,
        written,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.cache_write_1h_tokens,
        usage.input_audio_tokens,
        usage.output_audio_tokens,
        usage.input_image_tokens,
        usage.output_image_tokens,
        usage.reasoning_tokens,
        usage.web_searches,
        usage.file_searches,
        usage.code_executions,
        usage.input_characters,
        usage.images,
    ):
        if type(count) is not int or not 0 <= count <= MOST_COUNTED:
            raise UnpricedError("a count is absurd")
    if usage.audio_seconds:
        _check_seconds(usage.audio_seconds)
    if (
        usage.cache_read_tokens + usage.cache_write_tokens > read
        or usage.cache_write_1h_tokens > usage.cache_write_tokens
        or usage.input_audio_tokens + usage.input_image_tokens > read
        or usage.output_audio_tokens + usage.output_image_tokens > written
        or usage.reasoning_tokens > written
    ):
        raise UnpricedError(CONTRADICTION)


def _check_seconds(seconds: object) -> None:
    is_known = isinstance(seconds, Decimal) and seconds.is_finite()
    if not is_known or not 0 <= seconds <= MOST_COUNTED:  # type: ignore[operator]
        raise UnpricedError("a count is absurd")


def _counts_something(usage: TokenUsage) -> bool:
    return bool(usage.input_tokens or usage.output_tokens) or _has_more_than_tokens(usage)


def _has_more_than_tokens(usage: TokenUsage) -> bool:
    return bool(
        usage.web_searches
        or usage.file_searches
        or usage.code_executions
        or usage.input_characters
        or usage.audio_seconds
        or usage.images
    )


def _need(price: Decimal | None, kind: str) -> Decimal:
    if price is None:
        raise UnpricedError(f"no price for {kind}")
    return price
