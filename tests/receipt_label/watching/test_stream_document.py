"""The events of a stream add up to what a plain call would have told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_label.providers import StreamEvents
from receipt_label.providers.anthropic import EVENTS as ANTHROPIC
from receipt_label.providers.openai import EVENTS as OPENAI
from receipt_label.watching.stream_document import StreamDocument

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["type", "response", "message", "usage", "error", "choices", "delta", "id", "stop_reason"]
)


def fold(*events: dict[str, Any], how: StreamEvents = ANTHROPIC) -> StreamDocument:
    document = StreamDocument(how)
    for event in events:
        document.fold(event)
    return document


def test_counts_of_a_message_come_in_two_parts() -> None:
    document = fold(
        {
            "type": "message_start",
            "message": {
                "id": "msg_1",
                "model": "claude",
                "usage": {"input_tokens": 5, "output_tokens": 1, "cache_read_input_tokens": 2},
            },
        },
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 40, "input_tokens": None},
        },
    )
    assert document.fields == {
        "id": "msg_1",
        "model": "claude",
        "usage": {"input_tokens": 5, "output_tokens": 40, "cache_read_input_tokens": 2},
    }
    assert (document.is_final, document.is_over, document.has_content) == (True, False, False)


def test_a_message_delta_without_a_reason_to_stop_is_not_the_last() -> None:
    assert not fold({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 1}}).is_final


def name_case(part: object) -> str:
    return str(part) if isinstance(part, dict) else "openai" if part is OPENAI else "anthropic"


@pytest.mark.parametrize(
    ("how", "event"),
    [
        (OPENAI, {"choices": [{"delta": {"role": "assistant", "content": "a"}}]}),
        (OPENAI, {"choices": [{"delta": {"tool_calls": [{}]}}]}),
        (OPENAI, {"choices": [{"text": "a"}]}),
        (OPENAI, {"type": "response.output_text.delta", "delta": "a"}),
        (OPENAI, {"type": "response.reasoning_summary_text.delta", "delta": "a"}),
        (OPENAI, {"type": "image_generation.partial_image"}),
        (OPENAI, {"type": "transcript.text.delta", "delta": "a"}),
        (
            ANTHROPIC,
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}},
        ),
    ],
    ids=name_case,
)
def test_the_first_token_is_noticed(how: StreamEvents, event: dict[str, Any]) -> None:
    assert fold(event, how=how).has_content


@pytest.mark.parametrize(
    ("how", "event"),
    [
        (OPENAI, {"choices": [{"delta": {"role": "assistant", "content": ""}}]}),
        (OPENAI, {"choices": []}),
        (OPENAI, {"type": "response.created", "response": {}}),
        (ANTHROPIC, {"type": "message_start", "message": {}}),
        (ANTHROPIC, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
        (ANTHROPIC, {"type": "ping"}),
    ],
    ids=name_case,
)
def test_what_announces_an_answer_is_no_token(how: StreamEvents, event: dict[str, Any]) -> None:
    assert not fold(event, how=how).has_content


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "x"}},
            "overloaded_error",
        ),
        ({"type": "error", "code": "rate_limit_exceeded", "message": "x"}, "rate_limit_exceeded"),
        ({"error": {"code": None, "type": "server_error", "message": "x"}}, "server_error"),
        ({"error": "my secret prompt"}, "unknown_error"),
        ({"error": {"code": "my secret prompt", "type": 7}}, "unknown_error"),
        (
            {"type": "response.failed", "response": {"error": {"code": "server_error"}}},
            "server_error",
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("how", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
def test_an_error_ends_the_stream_and_its_message_is_not_kept(
    how: StreamEvents, event: dict[str, Any], code: str
) -> None:
    document = fold(event, how=how)
    assert (document.error_code, document.is_over) == (code, True)


@given(st.lists(st.dictionaries(NAMES, JSON), max_size=5), st.sampled_from([OPENAI, ANTHROPIC]))
def test_no_event_can_break_the_reading_of_a_stream(
    events: list[dict[str, Any]], how: StreamEvents
) -> None:
    fold(*events, how=how)
