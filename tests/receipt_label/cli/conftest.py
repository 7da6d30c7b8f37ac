"""``receipt-usage report`` and ``export``, run in this process on a table of any engine."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from receipt_label.cli.export import command as export_command
from receipt_label.cli.main import main
from receipt_label.cli.report import command as report_command
from support.command_runs import Ended, run_command

NOW = datetime(2026, 4, 5, 11, 30, tzinfo=UTC)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """Fix the commands' clock: two days after the last of the report records."""
    for module in (report_command, export_command):
        monkeypatch.setattr(module, "utc_now", lambda: NOW)
    return NOW


@pytest.fixture
def run(now: datetime, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run a command of ``receipt-usage``."""

    def run(*arguments: str) -> Ended:
        return run_command(main, arguments, capsys)

    return run
