"""What a body tells, and that it passes unchanged whatever it holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_label.providers.openai import EVENTS
from receipt_label.watching.bodies import MAX_DOCUMENT, DocumentReader, EventsReader

USAGE = b'data: {"choices": [], "usage": {"prompt_tokens": 3}}\n\n'
HELLO = b'data: {"choices": [{"delta": {"content": "hello"}}]}\n\n'
DONE = b"data: [DONE]\n\n"


def watch(*, hides_usage: bool) -> tuple[EventsReader, list[Exception]]:
    failures: list[Exception] = []
    return EventsReader(EVENTS, hides_usage=hides_usage, count_failure=failures.append), failures


@given(st.lists(st.binary(max_size=30) | st.sampled_from([HELLO, DONE, b"\n\n", b"data: {"])))
def test_every_byte_passes_in_order_whatever_it_is(chunks: list[bytes]) -> None:
    for hides_usage in (False, True):
        body, _ = watch(hides_usage=hides_usage)
        shown = b"".join(map(body.feed, chunks)) + body.take_rest()
        assert shown == b"".join(chunks)


def test_only_the_event_that_was_not_asked_for_is_hidden() -> None:
    body, failures = watch(hides_usage=True)
    whole = HELLO + USAGE + DONE
    shown = b"".join(body.feed(whole[place : place + 7]) for place in range(0, len(whole), 7))
    assert shown + body.take_rest() == HELLO + DONE
    assert (body.is_over, body.is_final, body.has_content) == (True, True, True)
    assert body.read() == {"usage": {"prompt_tokens": 3}}
    assert failures == []


def test_usage_that_comes_with_a_part_of_the_answer_is_shown() -> None:
    body, _ = watch(hides_usage=True)
    both = b'data: {"choices": [{"delta": {}}], "usage": {"prompt_tokens": 3}}\n\n'
    assert body.feed(both) == both
    assert body.read() == {"usage": {"prompt_tokens": 3}}


def test_a_last_event_without_its_blank_line_is_hidden_too() -> None:
    body, _ = watch(hides_usage=True)
    assert body.feed(HELLO + USAGE.rstrip()) == HELLO
    assert body.take_rest() == b""
    assert body.is_final


@pytest.mark.parametrize("data", [b"{", b"\xff", b"[" * 100_000, b'{"type": [], "usage": 7}'])
def test_an_event_that_makes_no_sense_costs_nothing_else(data: bytes) -> None:
    body, failures = watch(hides_usage=True)
    nonsense = b"data: " + data + b"\n\n"
    assert body.feed(nonsense + HELLO + USAGE) == nonsense + HELLO
    assert len(failures) == (0 if data.endswith(b"}") else 1)
    assert body.read() == {"usage": {"prompt_tokens": 3}}


def test_a_document_is_read_at_its_end() -> None:
    body = DocumentReader(is_json=True)
    assert body.feed(b'{"usage": ') == b'{"usage": '
    assert (body.read(), body.is_over) == ({}, False)
    body.feed(b'{"input_tokens": 1}}')
    assert (body.take_rest(), body.is_over, body.is_final) == (b"", True, True)
    assert body.read() == {"usage": {"input_tokens": 1}}


@pytest.mark.parametrize("content", [b"[]", b"", b"\xff", b"7"])
def test_a_document_that_is_none_tells_nothing(content: bytes) -> None:
    body = DocumentReader(is_json=True)
    body.feed(content)
    assert body.read() == {}


def test_sound_and_bodies_without_end_are_not_kept() -> None:
    sound, endless = DocumentReader(is_json=False), DocumentReader(is_json=True)
    sound.feed(b"ID3")
    for _ in range(MAX_DOCUMENT // 2**20 + 1):
        endless.feed(bytes(2**20))
    assert sound._chunks == endless._chunks == []
