"""Price lists in TOML: what they can say, and what is said of a mistake in one."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from receipt_label.errors import ConfigurationError
from receipt_label.pricing import Price, PriceBook, TokenUsage

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)

FULL = """
[[price]]
service = "OpenAI"
models = ["Our-Model", "our-model-2"]
valid_from = 2026-01-01
valid_until = 2026-12-31
source = "https://prices.example.org"
verified = 2026-02-03
input = 2
output = 8.5
cache_read = 0.2
cache_write = 2.5
cache_write_1h = 4
input_audio = 20
output_audio = 40
input_image = 3
output_image = 30
reasoning = 9
request = 1
web_search = 10
file_search = 2.5
code_execution = 30
characters = 15
audio_hour = 0.36
image = { "1024x1024 hd" = 0.08, default = 0.04 }
long_context = { above = 1000, input = 4, output = 12 }
batch = { input = 1, output = 4.25 }

[price.priority]
input = 3
long_context = { above = 1000, input = 6 }
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "prices.toml"


def load(path: Path, text: str) -> PriceBook:
    path.write_text(text, encoding="utf-8")
    return PriceBook.from_file(path)


def price(book: PriceBook, **usage: object) -> Price:
    return book.price("openai", "our-model", TokenUsage(**usage), NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("usage", "millionths"),
    [
        # A call costs 1,000 millionths in each of these.
        ({"input_tokens": 100, "output_tokens": 10}, 1_000 + 100 * 2 + 10 * 8.5),
        ({"input_tokens": 10, "cache_read_tokens": 10}, 1_000 + 10 * 0.2),
        ({"input_tokens": 10, "cache_write_tokens": 10}, 1_000 + 10 * 2.5),
        ({"input_tokens": 9, "cache_write_tokens": 9, "cache_write_1h_tokens": 9}, 1_000 + 9 * 4),
        ({"input_tokens": 10, "input_audio_tokens": 4}, 1_000 + 6 * 2 + 4 * 20),
        ({"input_tokens": 10, "input_image_tokens": 4}, 1_000 + 6 * 2 + 4 * 3),
        ({"output_tokens": 10, "output_audio_tokens": 4}, 1_000 + 6 * 8.5 + 4 * 40),
        ({"output_tokens": 10, "output_image_tokens": 4}, 1_000 + 6 * 8.5 + 4 * 30),
        ({"output_tokens": 10, "reasoning_tokens": 4}, 1_000 + 6 * 8.5 + 4 * 9),
        ({"web_searches": 2, "file_searches": 2}, 1_000 + 20_000 + 5_000),
        ({"code_executions": 1}, 1_000 + 30_000),
        ({"input_characters": 10}, 1_000 + 150),
        ({"audio_seconds": Decimal(10)}, 1_000 + 1_000),
        ({"images": 2, "image_size": "1024x1024", "image_quality": "hd"}, 1_000 + 160_000),
        ({"images": 1}, 1_000 + 40_000),
        ({}, 1_000),
        # More than a thousand read: another price, for what is written too.
        ({"input_tokens": 1_000}, 1_000 + 1_000 * 2),
        ({"input_tokens": 1_001, "output_tokens": 1}, 1_000 + 1_001 * 4 + 12),
        ({"input_tokens": 1_001, "cache_read_tokens": 1_001}, 1_000 + 1_001 * 0.2),
        # What a tier does not say is as in the standard.
        ({"input_tokens": 10, "output_tokens": 1, "service_tier": "batch"}, 1_000 + 10 + 4.25),
        ({"input_tokens": 10, "output_tokens": 1, "service_tier": "priority"}, 1_000 + 30 + 8.5),
        ({"input_tokens": 1_001, "service_tier": "priority"}, 1_000 + 1_001 * 6),
        ({"input_tokens": 1_001, "service_tier": "batch"}, 1_000 + 1_001),
    ],
)
def test_every_price_of_a_file_is_charged(
    path: Path, usage: dict[str, object], millionths: float
) -> None:
    found = price(load(path, FULL), **usage)
    assert found.cost_usd == Decimal(repr(millionths)) / 1_000_000


def test_a_price_of_a_file_says_where_it_comes_from(path: Path) -> None:
    assert price(load(path, FULL), input_tokens=1, output_tokens=1).origin == {
        "source": "override",
        "model": "our-model",
        "match": "exact",
        "status": "priced",
        "effective": "2026-01-01",
        "verified": "2026-02-03",
        "url": "https://prices.example.org",
    }


def test_a_price_holds_on_its_days_only(path: Path) -> None:
    book = load(
        path,
        """
        [[price]]
        service = "openai"
        models = ["gpt-4o"]
        valid_from = 2026-02-01
        valid_until = 2026-02-02
        input = 1

        [[price]]
        service = "openai"
        models = ["gpt-4o"]
        valid_from = 2026-02-03
        input = 3
        """,
    )
    usage = TokenUsage(input_tokens=1_000, output_tokens=0)
    costs = [
        book.price("openai", "gpt-4o", usage, datetime(2026, month, day, hour, tzinfo=UTC)).cost_usd
        for month, day, hour in ((1, 31, 23), (2, 1, 0), (2, 2, 23), (2, 3, 0))
    ]
    assert costs == [Decimal(text) for text in ("0.0025", "0.001", "0.001", "0.003")]


def test_a_float_of_a_file_is_exact(path: Path) -> None:
    book = load(path, '[[price]]\nservice = "openai"\nmodels = ["our-model"]\ninput = 0.1\n')
    assert price(book, input_tokens=3, output_tokens=0).cost_usd == Decimal("0.0000003")


def test_an_image_may_have_one_price_for_all_sizes(path: Path) -> None:
    book = load(path, '[[price]]\nservice = "openai"\nmodels = ["our-model"]\nimage = 0.02\n')
    assert price(book, images=3, image_size="2x2").cost_usd == Decimal("0.06")


def test_an_empty_file_has_no_prices(path: Path) -> None:
    assert price(load(path, ""), input_tokens=1).origin["reason"] == "unknown model"


HEAD = 'service = "openai"\nmodels = ["m"]\n'


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (HEAD + "input = -1", "price 1 (openai m): input is -1; accepted are numbers, 0 or more"),
        (HEAD + "input = nan", "input is NaN; accepted are numbers"),
        (HEAD + "input = inf", "input is Infinity; accepted are numbers"),
        (HEAD + 'input = "2"', "input is '2'; accepted are numbers"),
        (HEAD + "input = true", "input is True; accepted are numbers"),
        (HEAD + "inptu = 1", "inptu is 1; accepted are the fields service, models"),
        (HEAD, "price 1 (openai m): the entry has no price; accepted is at least one"),
        ("models = ['m']\ninput = 1", "price 1: service is missing; accepted are texts"),
        ("service = 'x'\nmodels = []\ninput = 1", "models is []; accepted are lists"),
        ("service = 'x'\nmodels = 'm'\ninput = 1", "models is 'm'; accepted are lists"),
        ("service = ' '\nmodels = ['m']\ninput = 1", "service is ' '; accepted are texts"),
        (HEAD + "input = 1\nvalid_from = '2026-01-01'", "valid_from is '2026-01-01'; accepted"),
        (HEAD + "input = 1\nvalid_from = 2026-01-01T00:00:00", "accepted are days such as"),
        (
            HEAD + "input = 1\nvalid_from = 2026-02-01\nvalid_until = 2026-01-31",
            "valid_until is 2026-01-31; accepted are days from valid_from, 2026-02-01, on",
        ),
        (HEAD + "input = 1\nbatch = 1", "batch is 1; accepted are tables"),
        (HEAD + "input = 1\nbatch = { inptu = 1 }", "(openai m): batch: inptu is 1; accepted"),
        (HEAD + "input = 1\nlong_context = { input = 2 }", "long_context: above is missing"),
        (
            HEAD + "input = 1\nlong_context = { above = 0, input = 2 }",
            "above is 0; accepted are whole numbers of tokens, 1 or more",
        ),
        (HEAD + "image = { hd = -1 }", "image: hd is -1; accepted are numbers"),
        (HEAD + "input = 1\nadds = true", "price 1: adds is True; accepted in the overlay alone"),
        (HEAD + "image = 'dear'", "image is 'dear'; accepted are numbers"),
    ],
)
def test_a_malformed_entry_is_named_with_what_is_accepted(
    path: Path, entry: str, message: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(path, f"[[price]]\n{entry}\n")
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[price", "is not TOML"),
        ("price = 1", "price is 1; accepted are tables"),
        (
            f"[[price]]\n{HEAD}input = 1\n[[price]]\n{HEAD}input = 2\nvalid_from = 2026-01-01\n",
            "openai m has two prices for the same days",
        ),
        (f"[[prices]]\n{HEAD}input = 1\n", "prices is unknown; accepted is price"),
    ],
)
def test_a_malformed_file_is_refused(path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load(path, text)


def test_a_file_that_cannot_be_read_is_named(path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"prices.toml cannot be read"):
        PriceBook.from_file(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match=r"prices.toml cannot be read"):
        PriceBook.from_file(path)
