"""The demo's own environment: nothing of the user's shell reaches it."""

from __future__ import annotations

import pytest

from receipt_label.cli.demo.isolation import isolate_environment


@pytest.mark.parametrize(
    "name",
    [
        "AI_USAGE_JOURNAL_DIR",
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_BASE_URL",
        "AWS_ACCESS_KEY_ID",
        "AWS_ENDPOINT_URL_DYNAMODB",
        "AWS_PROFILE",
        "DYNAMODB_TABLE_NAME",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "TRACK_AI_USAGE",
        "all_proxy",
        "http_proxy",
        "https_proxy",
    ],
)
def test_what_could_reach_beyond_the_machine_is_left_out(name: str) -> None:
    assert name not in isolate_environment({name: "anything"})


def test_the_rest_stays_and_the_demos_own_is_set() -> None:
    given = {"PATH": "/bin", "ENVIRONMENT": "production", "no_proxy": "internal"}
    result = isolate_environment(given)

    assert result["PATH"] == "/bin"
    assert result["ENVIRONMENT"] == "development"
    assert result["NO_PROXY"] == "*"
    assert "no_proxy" not in result
    assert given == {"PATH": "/bin", "ENVIRONMENT": "production", "no_proxy": "internal"}
