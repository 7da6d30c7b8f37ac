"""Events are found however the network cuts them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_label.watching.server_sent_events import EventSplitter, read_data

LINES = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\n"), min_size=1)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(
    st.lists(st.lists(LINES, min_size=1, max_size=3), max_size=5),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.integers(0, 500), max_size=12),
)
def test_the_same_events_come_out_whatever_the_chunks(
    events: list[list[str]], end: str, places: list[int]
) -> None:
    whole = ["".join(f"data: {line}{end}" for line in lines) + end for lines in events]
    body = "".join(whole).encode()
    splitter = EventSplitter()
    found = [event for chunk in cut(body, places) for event in splitter.feed(chunk)]
    rest = splitter.take_rest()

    assert b"".join(found) + rest == body
    # A carriage return at the very end may be half of a line's end.
    assert [*found, *([rest] if rest else [])] == [event.encode() for event in whole]
    assert [read_data(event).decode().split("\n") for event in found] == events[: len(found)]


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: {}\n\n", b"{}"),
        (b"data:{}\n\n", b"{}"),
        (b"event: ping\r\ndata: 1\r\ndata: 2\r\n\r\n", b"1\n2"),
        (b": a comment\n\n", b""),
        (b"database: 1\n\n", b""),
    ],
)
def test_only_the_data_of_an_event_is_read(event: bytes, data: bytes) -> None:
    assert read_data(event) == data
