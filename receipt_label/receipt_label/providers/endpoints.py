"""Which requests of a provider's API are calls to record, and how their replies are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from receipt_label.calls.reply import Reply
from receipt_label.providers.anthropic import read_message
from receipt_label.providers.openai import (
    read_embedding,
    read_image,
    read_moderation,
    read_reply,
    read_response,
    read_speech,
    read_transcription,
)

Reader: TypeAlias = Callable[[object, Mapping[str, Any]], Reply]
"""Reads a reply and the JSON of its request: some bills follow from what was asked for."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One kind of call.

    Attributes:
        operation: Its name in the records.
        read: Reads its replies.
        has_stream_options: Whether streams tell their usage only when asked to.
        is_known: Whether each call of it is billed; of others those that tell a usage.
    """

    operation: str
    read: Reader
    has_stream_options: bool = False
    is_known: bool = True


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider's API.

    Attributes:
        service: Its name in the records.
        host: Of its own servers.
        prefix: What all paths begin with.
        endpoints: By path.
        read: Reads replies of endpoints that are not among those.
    """

    service: str
    host: str
    prefix: str
    endpoints: Mapping[str, Endpoint]
    read: Reader

    def find_endpoint(self, url: str) -> Endpoint:
        """Return the endpoint of a URL's path; one made up for it when it is not known."""
        path = url.partition("?")[0].strip("/").removeprefix(self.prefix)
        known = self.endpoints.get(path)
        return known or Endpoint(path.replace("/", "."), self.read, is_known=False)


def _ignore_request(read: Callable[[object], Reply]) -> Reader:
    return lambda reply, request: read(reply)  # noqa: ARG005


_read_reply: Final = _ignore_request(read_reply)
_read_message: Final = _ignore_request(read_message)
_read_transcription: Final = _ignore_request(read_transcription)

OPENAI: Final = Provider(
    "openai",
    "api.openai.com",
    "",
    {
        "chat/completions": Endpoint("completion", _read_reply, has_stream_options=True),
        "completions": Endpoint("completion", _read_reply, has_stream_options=True),
        "responses": Endpoint("response", _ignore_request(read_response)),
        "embeddings": Endpoint("embedding", _ignore_request(read_embedding)),
        "images/generations": Endpoint("image_generation", read_image),
        "images/edits": Endpoint("image_edit", read_image),
        "images/variations": Endpoint("image_variation", read_image),
        "audio/speech": Endpoint("speech", read_speech),
        "audio/transcriptions": Endpoint("transcription", _read_transcription),
        "audio/translations": Endpoint("translation", _read_transcription),
        "moderations": Endpoint("moderation", _ignore_request(read_moderation)),
    },
    _read_reply,
)

ANTHROPIC: Final = Provider(
    "anthropic",
    "api.anthropic.com",
    "v1/",
    {"messages": Endpoint("completion", _read_message)},
    _read_message,
)
