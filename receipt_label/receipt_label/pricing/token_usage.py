"""The usage that a provider bills for one call, in one form for all providers."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """Counts of one call. The more special counts are parts of the general ones.

    Attributes:
        input_tokens: All tokens read, whatever their price: those from a cache and those
            written to one are included. None when the provider did not say.
        output_tokens: All tokens written, reasoning included; None if unknown.
        cache_read_tokens: Part of the input that came from the provider's cache.
        cache_write_tokens: Part of the input that was written to the cache.
        cache_write_1h_tokens: Part of ``cache_write_tokens`` that is kept for an hour.
        input_audio_tokens: Part of the input that is audio.
        output_audio_tokens: Part of the output that is audio.
        input_image_tokens: Part of the input that is images.
        output_image_tokens: Part of the output that is images.
        reasoning_tokens: Part of the output that is reasoning.
        web_searches: Searches that the provider made and bills apart.
        file_searches: Searches in stored files that it made and bills apart.
        code_executions: Containers for code that it started and bills apart.
        input_characters: Characters read, where those are billed (speech).
        audio_seconds: Seconds of audio, where those are billed (transcription).
        images: Images made, where those are billed, not their tokens.
        image_size: Their size in pixels, such as "1024x1024".
        image_quality: Their quality, as the provider names it.
        service_tier: The tier that served the call, as the provider names it.
        speed: The speed that served it (Anthropic), as the provider names it.
        inference_geo: Where it was served (Anthropic), as the provider names it.
        sku: What a call is billed as, where each call is (Google Places).
        is_interrupted: Whether the provider may have counted more: a stream ended early.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0
    input_image_tokens: int = 0
    output_image_tokens: int = 0
    reasoning_tokens: int = 0
    web_searches: int = 0
    file_searches: int = 0
    code_executions: int = 0
    input_characters: int = 0
    audio_seconds: Decimal = Decimal(0)
    images: int = 0
    image_size: str | None = None
    image_quality: str | None = None
    service_tier: str | None = None
    speed: str | None = None
    inference_geo: str | None = None
    sku: str | None = None
    is_interrupted: bool = False

    @property
    def is_unknown(self) -> bool:
        """Whether nothing is known that can be priced."""
        counts = self.input_characters or self.audio_seconds or self.images or self.sku
        return self.input_tokens is None and self.output_tokens is None and not counts

    @property
    def is_partial(self) -> bool:
        """Whether more may be billed than is known."""
        if self.is_interrupted:
            return True
        # What is billed by something else has no tokens at all.
        return (self.input_tokens is None) != (self.output_tokens is None)
