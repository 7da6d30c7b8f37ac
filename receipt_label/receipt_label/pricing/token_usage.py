"""What a provider bills for one call, in one form for all providers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """Counts of one call. The more special counts are parts of the general ones.

    Attributes:
        input_tokens: All tokens read, whatever their price: those from a cache and those
            written to one are included. None when the provider did not say.
        output_tokens: All tokens written, reasoning included. None as above.
        cache_read_tokens: Part of the input that came from the provider's cache.
        cache_write_tokens: Part of the input that was written to the cache.
        cache_write_1h_tokens: Part of ``cache_write_tokens`` that is kept for an hour.
        input_audio_tokens: Part of the input that is audio.
        output_audio_tokens: Part of the output that is audio.
        web_searches: Searches that the provider made and bills apart.
        service_tier: The tier that served the call, as the provider names it.
        speed: The speed that served it (Anthropic), as the provider names it.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0
    web_searches: int = 0
    service_tier: str | None = None
    speed: str | None = None

    @property
    def is_unknown(self) -> bool:
        """Whether neither input nor output is known, so that nothing can be priced."""
        return self.input_tokens is None and self.output_tokens is None

    @property
    def is_partial(self) -> bool:
        """Whether one of input and output is not known."""
        return self.input_tokens is None or self.output_tokens is None
