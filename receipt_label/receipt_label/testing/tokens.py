"""Counts tokens the same way on every run, near enough to what a provider would say."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

# OpenAI's rule of thumb for English text:
# https://help.openai.com/en/articles/4936856-what-are-tokens-and-how-to-count-them
CHARACTERS_PER_TOKEN: Final = 4


def count_tokens(text: str) -> int:
    """Return the tokens of ``text``: one for each four characters begun."""
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)


def cut_to_tokens(text: str, limit: int | None) -> str:
    """Return the beginning of ``text`` that has at most ``limit`` tokens; None keeps it all."""
    return text if limit is None else text[: limit * CHARACTERS_PER_TOKEN]


def find_texts(content: Any) -> Iterable[str]:
    """Iterate over the texts of a message's content: a string, or blocks that may hold one."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for block in content:
            if isinstance(block, dict):
                yield from find_texts(block.get("text"))


def compose_reply(messages: Any) -> str:
    """Return the stub's answer to a conversation: its last message, repeated."""
    last = messages[-1] if isinstance(messages, list) and messages else {}
    content = last.get("content") if isinstance(last, dict) else None
    return "You said: " + " ".join(find_texts(content))


def count_message_tokens(messages: Any) -> int:
    """Return the tokens of all texts of a conversation, at least 1."""
    total = 0
    for message in messages if isinstance(messages, list) else []:
        if isinstance(message, dict):
            total += sum(count_tokens(text) for text in find_texts(message.get("content")))
    return max(total, 1)


def split_words(text: str) -> list[str]:
    """Return the words of ``text``, each with the space after it, as a stream would send them."""
    return re.findall(r"\S+\s*|\s+", text)
