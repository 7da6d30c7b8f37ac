"""Fields of a reply are found whatever it is made of."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from receipt_label.calls.reply import ReplyReader


class Model(BaseModel):
    model_config = ConfigDict(extra="allow")

    tokens: int = 0


class Property:
    @property
    def tokens(self) -> int:
        return 3

    newer = 4


@pytest.mark.parametrize(
    "reply",
    [
        {"tokens": 3, "newer": 4},
        Model(tokens=3, newer=4),  # type: ignore[call-arg]
        SimpleNamespace(tokens=3, newer=4),
        Property(),
    ],
    ids=["JSON", "SDK's object", "namespace", "properties"],
)
def test_fields_that_the_sdk_does_not_know_yet_are_found_too(reply: object) -> None:
    reader = ReplyReader(reply)
    assert (reader.count("tokens"), reader.count("newer"), reader.count("none")) == (3, 4, None)
    assert reader.part("none").count("tokens") is None


@pytest.mark.parametrize("value", [-1, 1.5, True, "3", [], float("nan")])
def test_what_is_no_count_is_named_and_left_out(value: Any) -> None:
    reader = ReplyReader({"usage": {"tokens": value}})
    assert reader.part("usage").count("tokens") is None
    assert reader.invalid_fields == ("usage.tokens",)


@pytest.mark.parametrize(("value", "seconds"), [(3, Decimal(3)), (0.1, Decimal("0.1"))])
def test_seconds_are_taken_by_their_printed_value(value: float, seconds: Decimal) -> None:
    assert ReplyReader({"seconds": value}).seconds("seconds") == seconds


@pytest.mark.parametrize("value", [-1, True, "3", float("inf"), float("nan")])
def test_what_is_no_duration_is_named_and_left_out(value: Any) -> None:
    reader = ReplyReader({"seconds": value})
    assert reader.seconds("seconds") is None
    assert reader.invalid_fields == ("seconds",)
