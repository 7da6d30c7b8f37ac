"""The tracking decorators leave a signature unchanged; checked by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import assert_type

from receipt_label import AIUsageTracker, bind_usage_context

tracker = AIUsageTracker(table_name="test-table")


@tracker.track_openai_completion
def bare(text: str, *, times: int = 1) -> list[str]:
    return [text] * times


@tracker.track_anthropic_completion(batch=True)
async def configured(number: int) -> float:
    return number / 2


@tracker.track_openai_embedding
def stream(text: str) -> Iterator[bytes]:
    yield text.encode()


@tracker.tracked("ocr", "scan", usage=lambda result: {"images": 1}, cost_usd=Decimal("0.01"))
async def astream(text: str) -> AsyncIterator[bytes]:
    yield text.encode()


@tracker.track_google_places("photo")
def show(reference: str) -> bytes:
    return reference.encode()


async def check() -> None:
    assert_type(await configured(3), float)
    await configured("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async for piece in astream("a"):
        assert_type(piece, bytes)


assert_type(bare("a", times=2), list[str])
bare(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
for item in stream("a"):
    assert_type(item, bytes)
assert_type(show("a"), bytes)
show(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
assert_type(bind_usage_context(bare)("a"), list[str])
bind_usage_context(bare)(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
