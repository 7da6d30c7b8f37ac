"""Price cards are kept, and never longer than they hold."""

from __future__ import annotations

import decimal
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import genai_prices
import pytest
from genai_prices.data_snapshot import DataSnapshot, get_snapshot, set_custom_snapshot
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    Provider,
    StartDateConstraint,
    TimeOfDateConstraint,
)

from receipt_label.pricing import PriceBook, TokenPrice, TokenUsage, price_lists

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
THOUSAND = TokenUsage(input_tokens=1_000, output_tokens=0)


@pytest.fixture
def restored_snapshot() -> Iterator[None]:
    yield
    set_custom_snapshot(None)


def make_snapshot(prices: ModelPrice | list[ConditionalPrice]) -> DataSnapshot:
    model = ModelInfo(id="m", match=ClauseEquals("m"), prices=prices)
    provider = Provider(id="local", name="Local", api_pattern="local", models=[model])
    return DataSnapshot([provider], from_auto_update=True)


@pytest.mark.usefixtures("restored_snapshot")
def test_prices_that_were_updated_while_the_program_runs_hold_at_once() -> None:
    book = PriceBook()
    costs = []
    for price in ("1", "2"):
        set_custom_snapshot(make_snapshot(ModelPrice(input_mtok=Decimal(price))))
        costs.append(book.price("local", "m", THOUSAND, NOON).cost_usd)
    updated = book.price("local", "m", THOUSAND, NOON).origin["updated"]

    assert costs == [Decimal("0.001"), Decimal("0.002")]
    assert updated == get_snapshot().timestamp.isoformat()


@pytest.mark.usefixtures("restored_snapshot")
def test_a_price_of_the_hour_is_not_that_of_the_day() -> None:
    night = TimeOfDateConstraint(time(0, tzinfo=UTC), time(6, tzinfo=UTC))
    prices = [
        ConditionalPrice(prices=ModelPrice(input_mtok=Decimal(4))),
        ConditionalPrice(night, prices=ModelPrice(input_mtok=Decimal(1))),
    ]
    set_custom_snapshot(make_snapshot(prices))
    book = PriceBook()
    costs = [
        book.price("local", "m", THOUSAND, NOON.replace(hour=hour)).cost_usd
        for hour in (12, 5, 6, 0)
    ]
    assert costs == [Decimal(text) for text in ("0.004", "0.001", "0.004", "0.001")]


@pytest.mark.usefixtures("restored_snapshot")
def test_a_day_on_which_another_term_was_verified_says_nothing_of_the_tier() -> None:
    model = ModelInfo(
        id="m",
        match=ClauseEquals("m"),
        prices=ModelPrice(input_mtok=Decimal(4)),
        price_variants=[
            PriceVariant(
                {"processing": "batch"},
                ModelPrice(input_mtok=Decimal(1)),
                StartDateConstraint(date(2026, 6, 1)),
            ),
            PriceVariant(
                {"speed": "fast"},
                ModelPrice(input_mtok=Decimal(8)),
                StartDateConstraint(date(2026, 1, 1)),
            ),
        ],
    )
    provider = Provider(id="openai", name="OpenAI", api_pattern="openai", models=[model])
    set_custom_snapshot(DataSnapshot([provider], from_auto_update=False))
    usage = TokenUsage(input_tokens=1_000, output_tokens=0, service_tier="batch", speed="fast")
    found = PriceBook().price("openai", "m", usage, datetime(2025, 12, 1, tzinfo=UTC))

    # The Batch API's general discount, not the standard price as that of the tier.
    assert found.cost_usd == Decimal("0.002")
    assert found.origin["assumed"] == "standard price; none is known for speed fast"


@pytest.mark.usefixtures("restored_snapshot")
def test_a_tool_with_a_price_of_the_package_is_not_one_of_the_overlay() -> None:
    prices = ModelPrice(input_mtok=Decimal(1), web_searches_kcount=Decimal(25))
    model = ModelInfo(id="gpt-4o", match=ClauseEquals("gpt-4o"), prices=prices)
    provider = Provider(id="openai", name="OpenAI", api_pattern="openai", models=[model])
    set_custom_snapshot(DataSnapshot([provider], from_auto_update=False))
    usage = TokenUsage(input_tokens=1_000, output_tokens=0, web_searches=1)
    found = PriceBook().price("openai", "gpt-4o", usage, NOON)
    assert (found.cost_usd, found.origin["status"]) == (Decimal("0.026"), "priced")


def test_a_card_is_made_once_for_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    calc_price = genai_prices.calc_price

    def count(*args: object, **kwargs: object) -> object:
        calls.append(args)
        return calc_price(*args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(genai_prices, "calc_price", count)
    book = PriceBook()
    for minutes in range(3):
        book.price("openai", "gpt-4o", THOUSAND, NOON + timedelta(minutes=minutes))
        book.price("openai", "unheard-of", THOUSAND, NOON)
    assert len(calls) == 2


def test_the_number_of_cards_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(price_lists, "MOST_CARDS", 3)
    book = PriceBook()
    for number in range(9):
        book.price("openai", f"unheard-of-{number}", THOUSAND, NOON)
    assert book._lists is not None
    assert book._lists._cards.find.cache_info().currsize == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("moment", "cost"),
    [
        # o3 was cut from 10 USD to 2 USD a million on 2025-06-10, as UTC has it.
        (datetime(2025, 6, 9, 23, 59), "0.01"),
        (datetime(2025, 6, 10, 0, 0), "0.002"),
        (datetime(2025, 6, 9, 23, tzinfo=timezone(timedelta(hours=-3))), "0.002"),
        (datetime(2025, 6, 10, 1, tzinfo=timezone(timedelta(hours=2))), "0.01"),
    ],
)
def test_the_day_of_a_call_is_that_of_utc(moment: datetime, cost: str) -> None:
    assert PriceBook().price("openai", "o3", THOUSAND, moment).cost_usd == Decimal(cost)


def test_an_origin_that_the_caller_changes_is_its_own() -> None:
    book = PriceBook({("x", "y"): TokenPrice(input=Decimal(1))})
    origin = book.price("x", "y", THOUSAND, NOON).origin
    origin["source"] = "changed"  # type: ignore[index]
    assert book.price("x", "y", THOUSAND, NOON).origin["source"] == "override"


@pytest.mark.parametrize(
    ("model", "moment", "terms", "cost"),
    [
        # Written to a cache, 3.75 USD a million, at 1.1 of it; half of the tier's rate in 2025.
        ("claude-sonnet-4-6", NOON, {"inference_geo": "us"}, "0.004125"),
        ("claude-3-5-sonnet", datetime(2025, 1, 1), {"service_tier": "batch"}, "0.001875"),
    ],
)
def test_the_decimal_context_of_who_asks_first_does_not_round_a_card(
    model: str, moment: datetime, terms: dict[str, str], cost: str
) -> None:
    usage = TokenUsage(
        input_tokens=1_000,
        cache_write_tokens=1_000,
        output_tokens=0,
        **terms,  # type: ignore[arg-type]
    )
    with decimal.localcontext(decimal.Context(prec=2)):
        found = PriceBook().price("anthropic", model, usage, moment)
    assert found.cost_usd == Decimal(cost)


def test_threads_get_the_same_prices() -> None:
    book = PriceBook()
    models = ["gpt-4o", "gpt-5", "gpt-6-sol", "o3", "gpt-4.1"] * 40

    def price(model: str) -> Decimal | None:
        return book.price("openai", model, THOUSAND, NOON).cost_usd

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(price, models))
    assert found == [price(model) for model in models]


# Newer Pythons warn of any fork beside threads; that it works is what is shown.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_prices_with_the_cards_of_its_parent() -> None:
    book = PriceBook()
    here = book.price("openai", "gpt-4o", THOUSAND, NOON).cost_usd
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(
        target=lambda: answers.put(
            [book.price("openai", name, THOUSAND, NOON).cost_usd for name in ("gpt-4o", "o3")]
        )
    )
    child.start()
    try:
        assert answers.get() == [here, Decimal("0.002")]
    finally:
        child.join(20)


def test_no_price_list_is_read_before_a_call_is_priced() -> None:
    code = """
import sys
import receipt_label
from receipt_label.pricing import PriceBook
PriceBook()
print([name for name in sys.modules if name.startswith("genai_prices") or "overlay" in name])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
