"""Of an error no more is kept than what cannot be a key or a prompt."""

from __future__ import annotations

from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from receipt_label.calls.error_words import describe_error, read_error_word

SECRETS = (
    "sk-proj-abcdefghijklmnop1234567890",
    "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
    "Bearer eyJhbGciOiJIUzI1NiJ9.e30.x",
    "AKIAIOSFODNN7EXAMPLE",
    "AIzaSyD4iE2xVSpkLLOXoyqT-RuPwURN3ddScAI",
    "ann@example.com",
    "https://example.com/?key=secret",
    "what is wrong with my health",
    "héalth",
    "",
    "a" * 1_000,
    "words_" * 20,
    "token\n",
)


class ProviderError(Exception):
    """Has whatever a provider's SDK puts on its errors."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(" ".join(SECRETS))
        vars(self).update(attributes)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ProviderError(), "ProviderError"),
        (ProviderError(status_code=429), "ProviderError: HTTP 429"),
        (
            ProviderError(status_code=429, code="rate_limit_exceeded", type="requests"),
            "ProviderError: HTTP 429 rate_limit_exceeded",
        ),
        (ProviderError(code=None, type="insufficient_quota"), "ProviderError: insufficient_quota"),
        (
            ProviderError(
                status_code=529, body={"type": "error", "error": {"type": "overloaded_error"}}
            ),
            "ProviderError: HTTP 529 overloaded_error",
        ),
        (ProviderError(status="REQUEST_DENIED"), "ProviderError: REQUEST_DENIED"),
        (ProviderError(code=HTTPStatus.FORBIDDEN), "ProviderError: HTTP 403"),
        (ProviderError(status_code=200, code=7), "ProviderError"),
        (ProviderError(code="ERROR_429"), "ProviderError: ERROR_429"),
        (
            ClientError(
                {
                    "Error": {"Code": "ThrottlingException", "Message": "not kept"},
                    "ResponseMetadata": {"HTTPStatusCode": 400},  # type: ignore[typeddict-item]
                },
                "InvokeModel",
            ),
            "ClientError: HTTP 400 ThrottlingException",
        ),
    ],
)
def test_type_status_and_the_providers_word_are_kept(error: BaseException, text: str) -> None:
    assert describe_error(error) == text


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("place", ["code", "type", "status", "body", "error"])
def test_what_may_be_a_key_or_a_prompt_is_not(secret: str, place: str) -> None:
    attributes: dict[str, Any] = {place: secret}
    if place == "error":
        attributes = {"body": {"error": {"code": secret, "type": secret, "message": secret}}}
    assert describe_error(ProviderError(**attributes)) == "ProviderError"


def test_an_error_whose_properties_raise_is_described_by_its_type() -> None:
    class HostileError(Exception):
        @property
        def code(self) -> str:
            raise RuntimeError("no code today")

        status_code = body = response = code

    assert describe_error(HostileError()) == "HostileError"


@given(st.text(max_size=100))
def test_whatever_is_kept_is_short_and_of_letters(text: str) -> None:
    word = read_error_word({"code": text, "message": text})
    if word is not None:
        assert len(word) <= 64
        assert word.replace("_", "").isascii()
        assert word.replace("_", "").isalnum()


def test_a_document_without_a_word_has_none() -> None:
    assert read_error_word({"message": "text"}) is None
    assert read_error_word(None) is None
    assert read_error_word(SimpleNamespace(type="error")) is None
