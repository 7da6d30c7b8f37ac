"""Every row of ``golden_prices.md``, exact to the last digit."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from receipt_label.pricing import PriceBook, TokenUsage

BOOK = PriceBook()

NAMES = {
    "in": "input_tokens",
    "out": "output_tokens",
    "read": "cache_read_tokens",
    "write": "cache_write_tokens",
    "write1h": "cache_write_1h_tokens",
    "audio_in": "input_audio_tokens",
    "audio_out": "output_audio_tokens",
    "image_in": "input_image_tokens",
    "image_out": "output_image_tokens",
    "reasoning": "reasoning_tokens",
    "searches": "web_searches",
    "files": "file_searches",
    "containers": "code_executions",
    "chars": "input_characters",
    "seconds": "audio_seconds",
    "images": "images",
    "size": "image_size",
    "quality": "image_quality",
    "tier": "service_tier",
    "speed": "speed",
    "geo": "inference_geo",
    "sku": "sku",
}
TEXTS = {"size", "quality", "tier", "speed", "geo", "sku"}


class Row(NamedTuple):
    service: str
    model: str
    day: str
    usage: str
    working: str
    usd: str
    status: str
    source: str

    def __str__(self) -> str:
        return f"{self.model}, {self.day}, {self.usage}"


def read_rows() -> Iterator[Row]:
    source = ""
    page = Path(__file__).with_name("golden_prices.md")
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("Source: "):
            source = line.removeprefix("Source: ")
        if line.startswith("| ") and not line.startswith("| service "):
            cells = [cell.strip() for cell in line.removeprefix("|").split("|")]
            yield Row(*cells[:7], source)


ROWS = list(read_rows())


def read_usage(text: str) -> TokenUsage:
    fields: dict[str, Any] = {}
    for name, value in (part.split("=") for part in text.split()):
        if name in TEXTS:
            fields[NAMES[name]] = value
        else:
            fields[NAMES[name]] = Decimal(value) if name == "seconds" else int(value)
    return TokenUsage(**fields)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_call_costs_what_the_provider_published(row: Row) -> None:
    moment = datetime.fromisoformat(row.day).replace(hour=12, tzinfo=UTC)
    price = BOOK.price(row.service, row.model, read_usage(row.usage), moment)

    assert price.cost_usd == Decimal(row.usd), price.origin
    assert price.origin["status"] == (row.status or "priced"), price.origin


def test_the_rows_are_worked_out_right_and_say_from_where() -> None:
    for row in ROWS:
        products = (term.split(" x ") for term in row.working.split(" + "))
        total = sum(Fraction(count) * Fraction(price) for count, price in products)
        assert total / 1_000_000 == Fraction(row.usd), row
        assert row.source.startswith("https://"), row


def test_the_table_covers_what_it_has_to() -> None:
    assert len(ROWS) >= 60
    used = {part.split("=")[0] for row in ROWS for part in row.usage.split()}
    assert used == set(NAMES)
