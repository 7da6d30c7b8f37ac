"""The decorators leave a signature unchanged; checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from receipt_dynamo import retry_with_backoff
from receipt_dynamo.utils.retry_with_backoff import RetryAttempt, retrying


@retry_with_backoff
def bare(text: str, *, times: int = 1) -> list[str]:
    return [text] * times


@retry_with_backoff(max_attempts=5, exceptions=(OSError, ValueError), deadline=3.0)
async def configured(number: int) -> float:
    return number / 2


async def check() -> None:
    assert_type(await configured(3), float)
    await configured("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    async for attempt in retrying(max_attempts=5, exceptions=OSError):
        with attempt:
            assert_type(attempt, RetryAttempt)


class Client:
    @retry_with_backoff
    def read(self, key: str) -> bytes:
        return key.encode()


assert_type(Client().read("a"), bytes)
Client().read(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
for attempt in retrying(max_attempts=5, deadline=3.0):
    assert_type(attempt.number, int)
retrying(attempts=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
assert_type(bare("a", times=2), list[str])
bare(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
retry_with_backoff(max_attempts="3")  # type: ignore[call-overload]  # pyright: ignore
