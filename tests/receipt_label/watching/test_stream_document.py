"""The events of a stream add up to what a plain call would have told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_label.watching.stream_document import StreamDocument

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["type", "response", "message", "usage", "error", "choices", "delta", "id", "stop_reason"]
)


def fold(*events: dict[str, Any]) -> StreamDocument:
    document = StreamDocument()
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


@pytest.mark.parametrize(
    "event",
    [
        {"choices": [{"delta": {"role": "assistant", "content": "a"}}]},
        {"choices": [{"delta": {"tool_calls": [{}]}}]},
        {"choices": [{"text": "a"}]},
        {"type": "response.output_text.delta", "delta": "a"},
        {"type": "response.reasoning_summary_text.delta", "delta": "a"},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}},
        {"type": "image_generation.partial_image"},
        {"type": "transcript.text.delta", "delta": "a"},
    ],
    ids=str,
)
def test_the_first_token_is_noticed(event: dict[str, Any]) -> None:
    assert fold(event).has_content


@pytest.mark.parametrize(
    "event",
    [
        {"choices": [{"delta": {"role": "assistant", "content": ""}}]},
        {"choices": []},
        {"type": "message_start", "message": {}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "response.created", "response": {}},
        {"type": "ping"},
    ],
    ids=str,
)
def test_what_announces_an_answer_is_no_token(event: dict[str, Any]) -> None:
    assert not fold(event).has_content


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
def test_an_error_ends_the_stream_and_its_message_is_not_kept(
    event: dict[str, Any], code: str
) -> None:
    document = fold(event)
    assert (document.error_code, document.is_over) == (code, True)


@given(st.lists(st.dictionaries(NAMES, JSON), max_size=5))
def test_no_event_can_break_it(events: list[dict[str, Any]]) -> None:
    fold(*events)
