"""Settings of the whole suite: the test environment and the Hypothesis profiles."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import botocore.session
import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["engines.fixtures", "pytester"]

# Set before any package is imported: a test never takes itself for production.
os.environ["ENVIRONMENT"] = "test"

settings.register_profile(
    "default",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", settings.get_profile("default"), max_examples=2_000)
settings.register_profile("mutants", settings.get_profile("default"), max_examples=5)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# What a developer's shell may hold and what would change a test's outcome.
_VARIABLES_OF_THE_SHELL = (
    "AI_USAGE_",
    "AWS_",
    "ANTHROPIC_",
    "BATCH_",
    "CIRCUIT_BREAKER_",
    "DYNAMODB_TABLE_NAME",
    "DYNAMO_TABLE_NAME",
    "ENABLE_BATCH_PROCESSING",
    "MAX_RETRY_ATTEMPTS",
    "OPENAI_",
    "RETRY_BASE_DELAY",
    "TRACK_",
    "USER_ID",
    "USE_RESILIENT_TRACKER",
)


@pytest.fixture(scope="session", autouse=True)
def load_service_models_once() -> Iterator[None]:
    """Share what botocore reads of its own data: each session of each test read it anew.

    That took most of the time of making a client, and thousands are made.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.session.create_loader", cache(botocore.session.create_loader))
        yield


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Give each test an environment of its own, with harmless AWS credentials."""
    for name in os.environ:
        if name.startswith(_VARIABLES_OF_THE_SHELL):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ENVIRONMENT", "test")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    # A journal of its own: what one test leaves must not surface in another.
    monkeypatch.setenv("AI_USAGE_JOURNAL_DIR", str(tmp_path / "journal"))
