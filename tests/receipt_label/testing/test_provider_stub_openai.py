"""The stub against the real OpenAI SDK, sync and async, whole and streamed."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion

from receipt_label.testing import ProviderStub

QUESTION = [{"role": "user", "content": "How much was the bread?"}]


@pytest.fixture
def client(stub: ProviderStub) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="any", base_url=stub.openai_base_url, max_retries=0) as made:
        yield made


def test_chat_completion_has_the_shape_that_the_sdk_declares(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION)

    ChatCompletion.model_validate(reply.to_dict(), strict=True)
    assert not reply.model_extra
    assert reply.choices[0].message.content == "You said: How much was the bread?"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.model == "gpt-4o-mini"


def test_tokens_depend_on_the_request_alone(client: openai.OpenAI) -> None:
    usages = [
        client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION).usage
        for _ in range(2)
    ]

    assert usages[0] == usages[1]
    # 23 and 33 characters, four to a token.
    assert (usages[0].prompt_tokens, usages[0].completion_tokens) == (6, 9)
    assert usages[0].total_tokens == 15


def test_content_blocks_count_like_the_text_in_them(client: openai.OpenAI) -> None:
    blocks = [{"type": "text", "text": QUESTION[0]["content"]}]
    reply = client.chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": blocks}]
    )

    assert reply.usage.prompt_tokens == 6


def test_a_token_limit_cuts_each_choice(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="gpt-4o-mini", messages=QUESTION, max_completion_tokens=2, n=2
    )

    assert [choice.message.content for choice in reply.choices] == ["You said"] * 2
    assert {choice.finish_reason for choice in reply.choices} == {"length"}
    assert reply.usage.completion_tokens == 4


def test_ids_are_unique_also_between_two_stubs(client: openai.OpenAI) -> None:
    ids = {
        client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION).id for _ in range(3)
    }
    with (
        ProviderStub() as other,
        openai.OpenAI(api_key="any", base_url=other.openai_base_url) as client_of_other,
    ):
        ids.add(client_of_other.chat.completions.create(model="m", messages=QUESTION).id)

    assert len(ids) == 4
    assert all(one.startswith("chatcmpl-") for one in ids)


def test_embeddings_come_as_the_sdk_asks_and_depend_on_the_text(client: openai.OpenAI) -> None:
    def embed(text: str, **options: object) -> CreateEmbeddingResponse:
        return client.embeddings.create(model="text-embedding-3-small", input=text, **options)

    encoded, plain = embed("bread"), embed("bread", encoding_format="float")

    assert encoded.data[0].embedding == plain.data[0].embedding
    assert len(plain.data[0].embedding) == 1536
    assert embed("milk").data[0].embedding != plain.data[0].embedding
    assert len(embed("bread", dimensions=3).data[0].embedding) == 3
    assert plain.usage.total_tokens == 2


@pytest.mark.parametrize(
    ("given", "vectors", "tokens"),
    [(["bread", "milk"], 2, 3), ([1, 2, 3], 1, 3), ([[1, 2], [3]], 2, 3)],
)
def test_embeddings_accept_lists_of_texts_and_of_tokens(
    client: openai.OpenAI, given: list[object], vectors: int, tokens: int
) -> None:
    reply = client.embeddings.create(model="text-embedding-3-small", input=given)

    assert (len(reply.data), reply.usage.prompt_tokens) == (vectors, tokens)


def test_a_stream_adds_up_to_the_reply(client: openai.OpenAI) -> None:
    with client.chat.completions.create(
        model="gpt-4o-mini",
        messages=QUESTION,
        stream=True,
        stream_options={"include_usage": True},
    ) as stream:
        chunks = list(stream)

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "You said: How much was the bread?"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 15
    assert {chunk.usage for chunk in chunks[:-1]} == {None}
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_has_no_usage_unless_asked_for(client: openai.OpenAI) -> None:
    with client.chat.completions.create(
        model="gpt-4o-mini", messages=QUESTION, stream=True
    ) as stream:
        assert {chunk.usage for chunk in stream} == {None}


def test_the_connection_serves_on_after_a_stream_closed_early(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION, stream=True)
    next(stream)
    stream.close()

    assert client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION).id


def test_errors_come_in_openais_form(stub: ProviderStub, client: openai.OpenAI) -> None:
    stub.fail_next(429)
    with pytest.raises(openai.RateLimitError) as limited:
        client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION)
    assert limited.value.code == "rate_limit_exceeded"
    assert limited.value.request_id

    stub.fail_next(500)
    with pytest.raises(openai.InternalServerError) as broken:
        client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION)
    assert broken.value.type == "server_error"

    with pytest.raises(openai.NotFoundError, match="/v1/models"):
        client.models.list()
    with pytest.raises(openai.BadRequestError, match="model: field required"):
        client.post("/chat/completions", body={"messages": []}, cast_to=object)
    with pytest.raises(openai.BadRequestError, match="does not stream"):
        client.post("/embeddings", body={"model": "m", "input": "", "stream": True}, cast_to=object)
    with pytest.raises(openai.BadRequestError, match="not a JSON object"):
        client.post("/chat/completions", body=["not", "an", "object"], cast_to=object)


async def test_the_async_client_gets_the_same(stub: ProviderStub) -> None:
    async with openai.AsyncOpenAI(
        api_key="any", base_url=stub.openai_base_url, max_retries=0
    ) as client:
        reply = await client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION)
        vectors = await client.embeddings.create(model="text-embedding-3-small", input="bread")
        stream = await client.chat.completions.create(
            model="gpt-4o-mini", messages=QUESTION, stream=True
        )
        chunks = [chunk async for chunk in stream]

    assert reply.usage.total_tokens == 15
    assert len(vectors.data) == 1
    assert chunks[-1].choices[0].finish_reason == "stop"
