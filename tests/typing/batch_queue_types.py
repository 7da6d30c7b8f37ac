"""What a type checker sees of BatchQueue; checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from receipt_dynamo import BatchQueue, FlushResult
from receipt_dynamo.utils.batch_queue import DeadLetter


def write(batch: list[str]) -> FlushResult[str] | None:
    return FlushResult(retry=batch[1:], dead=[(batch[0], "reason")])


with BatchQueue(write, size_of=len, key_of=str.lower) as queue:
    assert_type(queue, BatchQueue[str])
    assert_type(queue.add_item("a"), bool)
    assert_type(queue.dead_letters(), list[DeadLetter[str]])
    assert_type(queue.redrive(lambda item: item.startswith("a")), int)
    queue.add_item(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def join(waiting: str, later: str) -> str:
    return waiting + later


def take(room: int) -> list[str]:
    return ["a"] * room


with BatchQueue(write, key_of=str.lower, merge=join, source=take) as queue:
    assert_type(queue.pull(), int)
    assert_type(queue.drop_oldest(), str | None)
BatchQueue(write, source=range)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
BatchQueue(write, merge=max)
BatchQueue(write, merge=len)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
