"""The decorators leave a signature unchanged; checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from receipt_dynamo import retry_with_backoff


@retry_with_backoff
def bare(text: str, *, times: int = 1) -> list[str]:
    return [text] * times


@retry_with_backoff(max_attempts=5, exceptions=(OSError, ValueError), deadline=3.0)
async def configured(number: int) -> float:
    return number / 2


async def check() -> None:
    assert_type(await configured(3), float)
    await configured("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


assert_type(bare("a", times=2), list[str])
bare(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
retry_with_backoff(max_attempts="3")  # type: ignore[call-overload]  # pyright: ignore
