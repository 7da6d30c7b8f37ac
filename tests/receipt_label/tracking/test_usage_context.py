"""What a block says reaches each record, and nothing of it stays behind."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from receipt_dynamo import AIUsageMetric
from receipt_label import Environment
from receipt_label.tracking import (
    ResilientAIUsageTracker,
    ai_usage_context,
    batch_ai_usage_context,
    bind_usage_context,
)
from support.memory_writer import MemoryWriter

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def make_metric(**fields: Any) -> AIUsageMetric:
    return AIUsageMetric("openai", "gpt-4o", "completion", NOW, **fields)


@pytest.fixture
def record(tracker: ResilientAIUsageTracker, writer: MemoryWriter) -> Callable[[], AIUsageMetric]:
    def record_and_return() -> AIUsageMetric:
        tracker.record(make_metric())
        return writer.records[-1]

    return record_and_return


async def _work_later() -> None: ...


def _generate() -> Iterator[None]:
    yield


async def _generate_later() -> AsyncIterator[None]:
    yield


def test_all_that_a_block_says_reaches_the_record(record: Callable[[], AIUsageMetric]) -> None:
    with ai_usage_context(
        "receipt_labeling",
        job_id="job",
        batch_id="batch",
        github_pr=12,
        user_id="ann",
        metadata={"shop": "a"},
        attempt=2,
    ):
        metric = record()

    assert (metric.job_id, metric.batch_id, metric.user_id) == ("job", "batch", "ann")
    assert metric.github_pr == 12
    assert metric.operation == "completion"
    assert metric.metadata == {"operation_type": "receipt_labeling", "shop": "a", "attempt": 2}


def test_nothing_leaks_after_the_block(record: Callable[[], AIUsageMetric]) -> None:
    with pytest.raises(RuntimeError), batch_ai_usage_context("batch", job_id="job", shop="a"):
        raise RuntimeError

    metric = record()
    assert (metric.job_id, metric.batch_id, metric.metadata) == (None, None, {})


def test_blocks_nest_and_are_restored(record: Callable[[], AIUsageMetric]) -> None:
    with ai_usage_context("outer", job_id="one", user_id="ann", metadata={"a": 1, "b": 1}):
        with ai_usage_context("inner", job_id="two", metadata={"b": 2}):
            inner = record()
        outer = record()

    assert (inner.job_id, inner.user_id) == ("two", "ann")
    assert inner.metadata == {"a": 1, "b": 2, "operation_type": "inner"}
    assert (outer.job_id, outer.metadata["operation_type"], outer.metadata["b"]) == (
        "one",
        "outer",
        1,
    )


def test_a_batch_block_says_the_batch(record: Callable[[], AIUsageMetric]) -> None:
    with batch_ai_usage_context("batch-7", job_id="job"):
        metric = record()
    assert (metric.batch_id, metric.job_id) == ("batch-7", "job")
    assert metric.metadata["operation_type"] == "batch"


def test_a_batch_block_takes_the_operation_as_second_argument(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    """It was taken for the tracker, and batch and tags were on no record."""
    with batch_ai_usage_context("b1", "nightly", shop="a") as given:
        tracker.record(make_metric())
    with batch_ai_usage_context("b2", "nightly", tracker, github_pr=3) as named:
        tracker.record(make_metric())

    first, second = writer.records
    assert (first.batch_id, first.metadata) == ("b1", {"shop": "a", "operation_type": "nightly"})
    assert (second.batch_id, second.github_pr) == ("b2", 3)
    assert (given, named) == (None, tracker)


@pytest.mark.parametrize("tracker", ["nightly", 7, object(), MemoryWriter(), {}, False])
def test_a_tracker_of_a_wrong_type_is_refused_by_name(tracker: Any) -> None:
    message = f"tracker is of type {type(tracker).__name__}; accepted are AIUsageTracker"
    with pytest.raises(TypeError, match=message):
        ai_usage_context("labeling", tracker)
    with pytest.raises(TypeError, match=message):
        batch_ai_usage_context("b1", tracker=tracker)


def test_a_tracker_in_the_place_of_the_operation_is_refused(
    tracker: ResilientAIUsageTracker,
) -> None:
    with pytest.raises(TypeError, match="operation_type is of type ResilientAIUsageTracker"):
        batch_ai_usage_context("b1", tracker)  # type: ignore[arg-type]


def test_none_is_the_same_as_left_out(record: Callable[[], AIUsageMetric]) -> None:
    with (
        ai_usage_context("outer", job_id="one", github_pr=3, environment="staging"),
        ai_usage_context("inner", job_id=None, github_pr=None, environment=None, metadata=None),
    ):
        metric = record()
    assert (metric.job_id, metric.github_pr, metric.environment) == ("one", 3, "staging")


async def test_a_decorated_function_is_a_block_for_each_call(
    record: Callable[[], AIUsageMetric],
) -> None:
    """An async one would have left the block before its body ran."""

    @ai_usage_context("labeling", job_id="job")
    def work(depth: int) -> AIUsageMetric:
        return work(depth - 1) if depth else record()

    @batch_ai_usage_context("b1", "nightly")
    async def work_later() -> AIUsageMetric:
        await asyncio.sleep(0)
        return record()

    assert [work(0).job_id, work(2).job_id] == ["job", "job"]
    several = await asyncio.gather(work_later(), work_later())
    assert [metric.batch_id for metric in several] == ["b1", "b1"]
    assert (work.__name__, record().job_id, record().batch_id) == ("work", None, None)


@pytest.mark.parametrize("function", [None, 7, _generate, _generate_later])
def test_what_runs_after_the_call_cannot_be_decorated(function: Any) -> None:
    with pytest.raises(TypeError, match="accepted is a function that does its work"):
        ai_usage_context("labeling")(function)


def test_a_block_is_entered_once(record: Callable[[], AIUsageMetric]) -> None:
    block = ai_usage_context("labeling", job_id="job")
    with block, pytest.raises(RuntimeError, match="entered before"), block:
        pass
    assert record().job_id is None


def test_what_the_record_says_itself_comes_first(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    with ai_usage_context("labeling", job_id="block", github_pr=1, shop="block"):
        tracker.record(make_metric(job_id="own", github_pr=0, metadata={"shop": "own"}))

    metric = writer.only
    assert (metric.job_id, metric.github_pr) == ("own", 0)
    assert metric.metadata == {"shop": "own", "operation_type": "labeling"}


def test_a_block_comes_before_the_trackers_defaults(
    tracker: ResilientAIUsageTracker, record: Callable[[], AIUsageMetric]
) -> None:
    tracker.set_tracking_context(job_id="default", github_pr=3)
    with ai_usage_context("labeling", job_id="block"):
        inside = record()
    outside = record()

    assert (inside.job_id, inside.github_pr) == ("block", 3)
    assert outside.job_id == "default"


def test_a_block_for_one_tracker_says_nothing_to_another(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    other_writer = MemoryWriter()
    other = ResilientAIUsageTracker(other_writer)
    with ai_usage_context("labeling", other, job_id="job") as given:
        tracker.record(make_metric())
        other.record(make_metric())

    assert given is other
    assert (writer.only.job_id, other_writer.only.job_id) == (None, "job")


async def test_a_thread_local_context_would_fail_under_asyncio(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    """20 tasks in one thread, all inside their blocks at once: 20 job ids."""
    all_inside = asyncio.Barrier(20)

    async def run(job: int) -> None:
        with ai_usage_context("labeling", job_id=f"job-{job}"):
            await all_inside.wait()
            tracker.record(make_metric(request_id=str(job)))

    await asyncio.gather(*(run(job) for job in range(20)))

    jobs = {metric.request_id: metric.job_id for metric in writer.records}
    assert jobs == {str(job): f"job-{job}" for job in range(20)}


async def test_a_task_begun_in_a_block_belongs_to_it(
    record: Callable[[], AIUsageMetric],
) -> None:
    after_the_block = asyncio.Event()

    async def work() -> AIUsageMetric:
        await after_the_block.wait()
        return record()

    with ai_usage_context("labeling", job_id="job"):
        task = asyncio.create_task(work())
    after_the_block.set()

    assert (await task).job_id == "job"
    assert record().job_id is None


def test_a_thread_begins_without_and_may_be_given_a_context(
    record: Callable[[], AIUsageMetric],
) -> None:
    found: list[str | None] = []

    def work() -> None:
        found.append(record().job_id)

    with ai_usage_context("labeling", job_id="job"):
        for target in (work, lambda: contextvars.copy_context().run(work)):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join(10)
        copied = contextvars.copy_context()
    copied.run(work)

    assert found == [None, None, "job"]


def test_a_bound_function_runs_in_its_makers_context_many_times_at_once(
    record: Callable[[], AIUsageMetric],
) -> None:
    """``Context.run`` refuses to enter a context that another thread is in."""
    all_inside = threading.Barrier(8)

    def work(number: int) -> tuple[str | None, Any]:
        all_inside.wait(30)
        with ai_usage_context("inner", shop=number):
            metric = record_alone()
        return metric.job_id, metric.metadata["shop"]

    lock = threading.Lock()

    def record_alone() -> AIUsageMetric:
        with lock:
            return record()

    with ai_usage_context("labeling", job_id="job"):
        bound = bind_usage_context(work)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(bound, range(8))) == [("job", number) for number in range(8)]
    assert bound.__name__ == "work"
    assert record().job_id is None


async def test_a_bound_function_carries_the_context_into_a_loops_executor(
    record: Callable[[], AIUsageMetric],
) -> None:
    loop = asyncio.get_running_loop()
    with ai_usage_context("labeling", job_id="job"):
        without = await loop.run_in_executor(None, record)
        bound = await loop.run_in_executor(None, bind_usage_context(record))
    assert (without.job_id, bound.job_id) == (None, "job")


@pytest.mark.parametrize("function", [None, 7, _work_later, _generate])
def test_what_does_not_run_when_it_is_called_cannot_be_bound(function: Any) -> None:
    with pytest.raises(TypeError, match="accepted is a function"):
        bind_usage_context(function)


@pytest.mark.parametrize("given", [Environment.STAGING, "staging", "Stage"])
def test_a_block_says_where_its_calls_are_made(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter, given: Any
) -> None:
    with ai_usage_context("labeling", environment=given):
        tracker.record(make_metric())
        with batch_ai_usage_context("batch", environment="dev"):
            tracker.record(make_metric())
        tracker.record(make_metric(environment="own"))
    tracker.record(make_metric())
    environments = [metric.environment for metric in writer.records]
    assert environments == ["staging", "development", "own", "test"]


def test_what_is_set_for_the_tracker_replaces_its_environment(
    tracker: ResilientAIUsageTracker, record: Callable[[], AIUsageMetric]
) -> None:
    tracker.set_tracking_context(environment="ci")
    assert record().environment == "cicd"
    tracker.set_tracking_context()
    assert record().environment == "cicd"
    tracker.clear_tracking_context()
    assert record().environment == "test"


def test_a_block_that_changes_between_two_calls_changes_the_second(
    tracker: ResilientAIUsageTracker, record: Callable[[], AIUsageMetric]
) -> None:
    """What open blocks say together is put together once; it must not outlive them."""
    with ai_usage_context("labeling", job_id="job"):
        first = record()
        tracker.set_tracking_context(user_id="bob")
        second = record()
        with ai_usage_context("labeling", job_id="other"):
            third = record()
    assert [metric.user_id for metric in (first, second, third)] == [None, "bob", "bob"]
    assert [metric.job_id for metric in (first, second, third)] == ["job", "job", "other"]


def test_a_generator_closed_by_another_thread_leaves_nothing_behind(
    record: Callable[[], AIUsageMetric],
) -> None:
    def generate() -> Iterator[None]:
        with ai_usage_context("labeling", job_id="job"):
            yield

    generator = generate()
    next(generator)
    assert record().job_id == "job"
    thread = threading.Thread(target=generator.close)  # type: ignore[attr-defined]
    thread.start()
    thread.join(10)
    assert record().job_id is None


async def test_an_async_generator_closed_by_another_task_leaves_nothing_behind(
    record: Callable[[], AIUsageMetric],
) -> None:
    """So does asyncio with one that was left early: a task of its own closes it."""

    async def generate() -> AsyncIterator[None]:
        with ai_usage_context("labeling", job_id="job"):
            yield

    generator = generate()
    await anext(generator)
    assert record().job_id == "job"
    await asyncio.create_task(generator.aclose())  # type: ignore[attr-defined]
    assert record().job_id is None


def test_a_generator_closed_in_another_context_fails_nothing(
    record: Callable[[], AIUsageMetric],
) -> None:
    def generate() -> Iterator[None]:
        with ai_usage_context("labeling", job_id="job"):
            yield

    generator = generate()
    contextvars.copy_context().run(next, generator)
    generator.close()  # type: ignore[attr-defined]

    assert record().job_id is None


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"operation_type": ""}, ValueError, "operation_type is ''"),
        ({"operation_type": None}, TypeError, "operation_type is of type NoneType"),
        ({"job_id": 7}, TypeError, "job_id is of type int; accepted is str"),
        ({"user_id": " "}, ValueError, "user_id is ' '"),
        ({"github_pr": "7"}, TypeError, "github_pr is of type str; accepted is int"),
        ({"github_pr": True}, TypeError, "github_pr is of type bool"),
        ({"github_pr": -1}, ValueError, "github_pr is -1; accepted is int, 0 or more"),
        (
            {"environment": "nowhere"},
            ValueError,
            "environment is 'nowhere'; accepted are production",
        ),
        ({"environment": ""}, ValueError, "environment is ''"),
        ({"environment": 1}, TypeError, "environment is of type int; accepted are Environment"),
        ({"metadata": [1]}, TypeError, "metadata is of type list; accepted is a mapping"),
    ],
)
def test_a_mistake_shows_where_it_is_made(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with (
        pytest.raises(error, match=message),
        ai_usage_context(**{"operation_type": "labeling", **arguments}),
    ):
        pass


@pytest.mark.parametrize(("batch_id", "error"), [("", ValueError), (None, TypeError)])
def test_a_batch_without_a_name_is_refused(batch_id: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="batch_id"):
        batch_ai_usage_context(batch_id)


def test_metadata_that_no_record_can_hold_costs_that_entry_alone(
    tracker: ResilientAIUsageTracker, writer: MemoryWriter
) -> None:
    with ai_usage_context("labeling", job_id="job", good=1, bad=object()):
        assert tracker.record(make_metric())

    metric = writer.only
    assert (metric.job_id, metric.metadata["good"]) == ("job", 1)
    assert metric.metadata["invalid_fields"] == ["metadata.bad"]
