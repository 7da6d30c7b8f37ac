"""The kinds of usage that cost, each with its price in USD, or None without a price."""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRates:
    """Prices for a million tokens.

    The parts of a whole (cached input, images, reasoning) that have no separate price are
    charged as the whole. Audio and what is written to a cache for an hour have a price of their
    own everywhere: without it they have none.

    Attributes:
        input: Read.
        output: Written; None when the model writes none.
        cache_read: Read from a cache.
        cache_write: Written to a cache.
        cache_write_1h: Written to a cache for an hour.
        input_audio: Read, of audio.
        output_audio: Written, of audio.
        input_image: Read, of images.
        output_image: Written, of images.
        reasoning: Written, of reasoning.
    """

    input: Decimal | None = None
    output: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None
    input_audio: Decimal | None = None
    output_audio: Decimal | None = None
    input_image: Decimal | None = None
    output_image: Decimal | None = None
    reasoning: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRates(TokenRates):
    """Prices of all that is counted, but for images by the piece.

    Attributes:
        characters: For a million characters read.
        audio_hour: For an hour of audio.
        request: For a thousand calls.
        web_search: For a thousand searches in the web.
        file_search: For a thousand searches in files.
        code_execution: For a thousand containers for code.
    """

    characters: Decimal | None = None
    audio_hour: Decimal | None = None
    request: Decimal | None = None
    web_search: Decimal | None = None
    file_search: Decimal | None = None
    code_execution: Decimal | None = None


TOKEN_RATES: Final = tuple(rate.name for rate in fields(TokenRates))
RATES: Final = tuple(rate.name for rate in fields(UnitRates))
