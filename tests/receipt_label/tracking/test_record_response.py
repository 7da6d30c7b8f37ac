"""``record_response``: replies that no wrapped client saw, such as a batch's results."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import anthropic
import openai
import pytest

from receipt_label import ai_usage_context
from receipt_label.testing import ProviderStub, UsageInMemory, assert_usage

QUESTION: list[Any] = [{"role": "user", "content": "How much was the bread?"}]
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
CHAT = {
    "id": "chatcmpl-123",
    "object": "chat.completion",
    "model": "gpt-4o-2024-08-06",
    "usage": {"prompt_tokens": 6, "completion_tokens": 9},
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "model": "claude-haiku-4-5",
    "usage": {"input_tokens": 6, "output_tokens": 9, "service_tier": "batch"},
}
OPENAI_LINE = {
    "id": "batch_req_1",
    "custom_id": "receipt-1",
    "response": {"status_code": 200, "request_id": "req_1", "body": CHAT},
    "error": None,
}
ANTHROPIC_LINE = {"custom_id": "receipt-1", "result": {"type": "succeeded", "message": MESSAGE}}


def test_an_sdks_object_is_recorded_once(ai_usage: UsageInMemory, stub: ProviderStub) -> None:
    with openai.OpenAI(api_key="any", base_url=stub.openai_base_url) as plain:
        reply = plain.chat.completions.create(model="gpt-4o", messages=QUESTION)
    with ai_usage_context("reading", job_id="job"):
        assert ai_usage.tracker.record_response(reply, service="openai", timestamp=NOON)
    assert ai_usage.tracker.record_response(reply, service="openai")
    ai_usage.tracker.track_openai_completion(lambda: reply)()

    (record,) = ai_usage.records
    assert (record.request_id, record.timestamp, record.job_id) == (reply.id, NOON, "job")
    assert (record.total_tokens, record.cost_usd) == (15, Decimal("0.000105"))
    assert (record.latency_ms, record.environment) == (None, "test")


def test_what_a_wrapped_client_recorded_is_not_recorded_again(
    ai_usage: UsageInMemory, stub: ProviderStub
) -> None:
    with anthropic.Anthropic(api_key="any", base_url=stub.anthropic_base_url) as plain:
        reply = ai_usage.wrap_anthropic(plain).messages.create(
            model="claude-haiku-4-5", max_tokens=100, messages=QUESTION
        )
    assert ai_usage.tracker.record_response(reply, service="anthropic")
    assert len(ai_usage.records) == 1


def test_servers_that_reuse_an_id_give_two_rows(ai_usage: UsageInMemory) -> None:
    """Some give ``chatcmpl-123`` to every response: only the object tells the calls apart."""
    first, second = (openai.types.Completion.model_construct(**CHAT) for _ in range(2))
    for reply in (first, second, first):
        assert ai_usage.tracker.record_response(reply, service="openai")
    assert [record.request_id for record in ai_usage.records] == ["chatcmpl-123"] * 2
    assert len({record.key for record in ai_usage.records}) == 2


def test_a_dict_with_its_time_is_one_row_however_often_it_comes(ai_usage: UsageInMemory) -> None:
    for _ in range(2):
        assert ai_usage.tracker.record_response(dict(CHAT), service="openai", timestamp=NOON)
    assert len({record.key for record in ai_usage.records}) == 1


@pytest.mark.parametrize(
    ("service", "line", "cost"),
    [
        ("openai", OPENAI_LINE, Decimal("0.0000525")),
        ("anthropic", ANTHROPIC_LINE, Decimal("0.0000255")),
    ],
)
def test_a_line_of_a_batchs_results_is_at_the_batchs_price(
    ai_usage: UsageInMemory,
    service: str,
    line: Any,
    cost: Decimal,
) -> None:
    assert ai_usage.tracker.record_response(line, service=service)
    (record,) = ai_usage.records
    assert (record.cost_usd, record.metadata["custom_id"]) == (cost, "receipt-1")
    assert record.metadata["service_tier"] == "batch"


def test_what_the_caller_marks_is_at_the_batchs_price(ai_usage: UsageInMemory) -> None:
    ai_usage.tracker.record_response(CHAT, service="openai", batch=True)
    ai_usage.tracker.record_response(CHAT, service="openai")
    assert [record.cost_usd for record in ai_usage.records] == [
        Decimal("0.0000525"),
        Decimal("0.000105"),
    ]


@pytest.mark.parametrize(
    ("service", "line", "error"),
    [
        (
            "openai",
            {
                "custom_id": "1",
                "response": {
                    "status_code": 400,
                    "body": {"error": {"code": "context_length_exceeded", "message": "bread"}},
                },
            },
            "HTTP 400 context_length_exceeded",
        ),
        (
            "openai",
            {"custom_id": "1", "response": None, "error": {"code": "batch_expired"}},
            "batch_expired",
        ),
        (
            "anthropic",
            {
                "custom_id": "1",
                "result": {
                    "type": "errored",
                    "error": {"type": "error", "error": {"type": "overloaded_error"}},
                },
            },
            "errored overloaded_error",
        ),
        ("anthropic", {"custom_id": "1", "result": {"type": "expired"}}, "expired"),
        ("anthropic", {"custom_id": "1"}, "failed"),
    ],
)
def test_a_line_that_failed_is_recorded_as_such(
    ai_usage: UsageInMemory, service: str, line: Any, error: str
) -> None:
    assert ai_usage.tracker.record_response(line, service=service)
    (record,) = assert_usage(ai_usage.records, count=1, error=error, cost_usd=None)
    assert "bread" not in repr(record)
    assert ai_usage.tracker.get_stats().unpriced == 0


@pytest.mark.parametrize(
    ("reply", "operation"),
    [
        (CHAT, "completion"),
        ({**CHAT, "object": "text_completion"}, "completion"),
        ({"object": "list", "model": "text-embedding-3-small"}, "embedding"),
        ({"object": "response", "model": "gpt-4o"}, "response"),
        ({"object": 7}, "completion"),
        ({}, "completion"),
    ],
)
def test_the_reply_says_what_kind_of_call_it_was(
    ai_usage: UsageInMemory, reply: Any, operation: str
) -> None:
    ai_usage.tracker.record_response(reply, service="openai")
    ai_usage.tracker.record_response(reply, service="openai", operation="labeling")
    assert [record.operation for record in ai_usage.records] == [operation, "labeling"]


def test_a_reply_that_cannot_be_read_is_counted(ai_usage: UsageInMemory) -> None:
    class Hostile:
        @property
        def usage(self) -> Any:
            raise RuntimeError("no usage today")

    assert not ai_usage.tracker.record_response(Hostile(), service="openai")
    assert ai_usage.tracker.get_stats().failed == 1


def test_a_usage_that_makes_no_sense_is_left_out_and_named(ai_usage: UsageInMemory) -> None:
    bad = {**CHAT, "usage": {"prompt_tokens": -1, "completion_tokens": 9}}
    assert ai_usage.tracker.record_response(bad, service="openai")
    named = {"invalid_fields": ["usage.prompt_tokens"]}
    assert_usage(ai_usage.records, count=1, input_tokens=None, output_tokens=9, metadata=named)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: t.record_response({}, service="aws"), ValueError, "accepted are openai and"),
        (lambda t: t.record_response("{}", service="openai"), TypeError, "response is of type str"),
        (lambda t: t.record_response(None, service="openai"), TypeError, "of type NoneType"),
        (lambda t: t.record_response({}, service="openai", batch=1), TypeError, "batch is of"),
        (lambda t: t.record_response({}, service="openai", operation=""), ValueError, "operation"),
        (
            lambda t: t.record_response({}, service="openai", timestamp=1),
            TypeError,
            "timestamp is of type int",
        ),
    ],
)
def test_a_mistake_is_a_clear_error(
    ai_usage: UsageInMemory,
    call: Callable[[Any], object],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        call(ai_usage.tracker)
