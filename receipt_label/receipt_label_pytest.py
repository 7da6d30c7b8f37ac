"""The pytest plugin of receipt_label; ``docs/testing.md`` describes the fixtures.

pytest loads it wherever receipt_label is installed, so it is a module by itself and imports
the package only in a fixture that is used: no test run pays for what it does not ask for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from receipt_label.testing import UsageInMemory, UsageTable

TABLE_NAME: Final = "test-ai-usage"
"""The table that ``DYNAMODB_TABLE_NAME`` names within both fixtures."""

_SETTINGS: Final = {
    "ENVIRONMENT": "test",
    "DYNAMODB_TABLE_NAME": TABLE_NAME,
    "AI_USAGE_TABLE_CHECK": "off",
    "AI_USAGE_DURABILITY": "memory",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}

# With these, boto3 would go where moto is not.
_DETOURS: Final = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_PROFILE")


@pytest.fixture
def ai_usage(monkeypatch: pytest.MonkeyPatch) -> UsageInMemory:
    """Records of AI calls, kept in memory: ``ai_usage.tracker`` records, ``.records`` has them."""
    _set_environment(monkeypatch)
    from receipt_label.testing import UsageInMemory

    return UsageInMemory()


@pytest.fixture
def ai_usage_table(monkeypatch: pytest.MonkeyPatch) -> Iterator[UsageTable]:
    """An empty table on moto, which ``ClientManager.from_env()`` uses; needs moto."""
    _set_environment(monkeypatch)
    from receipt_label.testing import UsageTable

    try:
        from moto import mock_aws
    except ModuleNotFoundError as error:
        if error.name != "moto":
            raise
        pytest.fail(
            "the fixture ai_usage_table needs moto: pip install 'receipt-label[testing]'",
            pytrace=False,
        )
    with mock_aws(), UsageTable(TABLE_NAME) as table:
        yield table


def _set_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in _SETTINGS.items():
        monkeypatch.setenv(name, value)
    for name in _DETOURS:
        monkeypatch.delenv(name, raising=False)
