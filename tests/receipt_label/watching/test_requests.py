"""Clients of another provider whose SDK Stainless generates: OpenAI's stands in for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import openai
import pytest

from receipt_label.calls.reply import get_field
from receipt_label.pricing import TokenUsage
from receipt_label.providers import Operation, ProviderReply, RequestClients
from receipt_label.testing import ProviderStub, UsageInMemory
from receipt_label.watching.requests import watch_requests

QUESTION: list[Any] = [{"role": "user", "content": "How much was the bread?"}]


def read(reply: Any, request: Mapping[str, Any]) -> ProviderReply:
    tokens = get_field(get_field(reply, "usage"), "total_tokens")
    usage = None if tokens is None else TokenUsage(input_tokens=tokens, output_tokens=0)
    return ProviderReply(usage=usage, details={"asked": request["model"]})


API = RequestClients(
    classes=("openai.OpenAI",),
    host="api.acme.example",
    prefix="chat/",
    operations={
        "completions": Operation(name="ask", read=read, model="one", metadata={"kind": "chat"})
    },
)


@pytest.fixture
def plain() -> Iterator[openai.OpenAI]:
    with ProviderStub() as stub, openai.OpenAI(api_key="x", base_url=stub.openai_base_url) as plain:
        yield plain


def watch(plain: openai.OpenAI, usage: UsageInMemory, api: RequestClients) -> openai.OpenAI:
    return watch_requests(plain, "acme", api, usage.tracker._recorder, None)


def test_a_path_is_an_operation(plain: openai.OpenAI, ai_usage: UsageInMemory) -> None:
    client = watch(plain, ai_usage, API)
    reply = client.chat.completions.create(model="gpt-4o", messages=QUESTION)
    assert reply.usage is not None

    (record,) = ai_usage.records
    assert (record.service, record.operation, record.model) == ("acme", "ask", "one")
    assert record.input_tokens == reply.usage.total_tokens
    assert (record.metadata["asked"], record.metadata["kind"]) == ("gpt-4o", "chat")
    assert record.metadata["server"] == "127.0.0.1"


def test_a_stream_whose_events_are_not_described_is_recorded(
    plain: openai.OpenAI, ai_usage: UsageInMemory
) -> None:
    client = watch(plain, ai_usage, API)
    chunks = client.chat.completions.create(
        model="gpt-4o",
        messages=QUESTION,
        stream=True,
        stream_options={"include_usage": True},
    )
    told = [chunk.usage.total_tokens for chunk in chunks if chunk.usage is not None]
    assert [record.input_tokens for record in ai_usage.records] == told


@pytest.mark.parametrize("reads_others", [False, True])
def test_another_path_is_a_call_if_its_reply_has_a_usage_that_can_be_read(
    plain: openai.OpenAI, ai_usage: UsageInMemory, reads_others: bool
) -> None:
    other = Operation(name="other", read=read)
    client = watch(plain, ai_usage, replace(API, other=other) if reads_others else API)
    client.embeddings.create(model="text-embedding-3-small", input="fish")
    assert [record.operation for record in ai_usage.records] == ["embeddings"] * reads_others
    assert ai_usage.tracker.get_stats().untracked == 1 - reads_others
