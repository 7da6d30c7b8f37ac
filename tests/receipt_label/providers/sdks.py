"""The ways in which the real SDKs stream, for tests that go through all of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anthropic
import openai

from receipt_label.testing import ProviderStub
from receipt_label.tracking import AIUsageTracker

TEXT = "How much was the bread, and who has paid for it?"
QUESTION: list[Any] = [{"role": "user", "content": TEXT}]
ANSWER = f"You said: {TEXT}"
# The SDK's HTTP library: httpx until openai 2, httpx2 since.
OPENAI_HTTPX: Any = importlib.import_module(
    next(
        kind.__module__.partition(".")[0]
        for kind in openai.DefaultHttpxClient.__mro__
        if kind.__module__.startswith("httpx")
    )
)
INPUT_TOKENS, OUTPUT_TOKENS = 12, 15


@dataclass(frozen=True)
class Streaming:
    """One endpoint that streams.

    Args:
        service: Whose it is.
        model: The model to ask.
        ask: Asks a client of it; returns its stream, or an awaitable of that.
        kinds: The classes of its clients, sync and async.
        first_words: Events until two words of the answer are sent.
    """

    service: str
    model: str
    ask: Callable[..., Any]
    kinds: tuple[type[Any], type[Any]]
    first_words: int

    def open(self, stub: ProviderStub, *, is_async: bool = False) -> Any:
        """Return a client that nobody watches."""
        is_openai = self.service == "openai"
        url = stub.openai_base_url if is_openai else stub.anthropic_base_url
        return self.kinds[is_async](api_key="any", base_url=url, max_retries=0)

    def wrap(self, tracker: AIUsageTracker, client: Any) -> Any:
        """Return a client that is watched, and asks for its streams' usage."""
        if self.service == "openai":
            return tracker.wrap_openai(client, include_usage=True)
        return tracker.wrap_anthropic(client)


OPENAI = (openai.OpenAI, openai.AsyncOpenAI)
ANTHROPIC = (anthropic.Anthropic, anthropic.AsyncAnthropic)

CHAT = Streaming(
    "openai",
    "gpt-4o",
    lambda client: client.chat.completions.create(model="gpt-4o", messages=QUESTION, stream=True),
    OPENAI,
    3,
)
RESPONSE = Streaming(
    "openai",
    "gpt-4o",
    lambda client: client.responses.create(model="gpt-4o", input=TEXT, stream=True),
    OPENAI,
    6,
)
MESSAGE = Streaming(
    "anthropic",
    "claude-haiku-4-5",
    lambda client: client.messages.create(
        model="claude-haiku-4-5", max_tokens=100, messages=QUESTION, stream=True
    ),
    ANTHROPIC,
    5,
)
BETA_MESSAGE = Streaming(
    "anthropic",
    "claude-haiku-4-5",
    lambda client: client.beta.messages.create(
        model="claude-haiku-4-5", max_tokens=100, messages=QUESTION, stream=True
    ),
    ANTHROPIC,
    5,
)
STREAMINGS = {
    "chat": CHAT,
    "response": RESPONSE,
    "message": MESSAGE,
    "beta message": BETA_MESSAGE,
}
