"""The JSON Lines copy: whole lines, exact numbers, private."""

from __future__ import annotations

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from receipt_dynamo import AIUsageMetric
from receipt_label.tracking import UsageLogFile

NOW = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)


def make_metric(**fields: Any) -> AIUsageMetric:
    return AIUsageMetric("openai", "gpt-4o", "completion", NOW, **{"request_id": "r1", **fields})


def test_a_line_holds_what_the_record_says(tmp_path: Path) -> None:
    log = UsageLogFile(tmp_path / "usage.jsonl")
    log.write(
        make_metric(
            input_tokens=3,
            cost_usd=Decimal("0.00000002"),
            metadata={"shop": "Bäcker\n", "pricing": {"rate": Decimal("2.5")}, "tags": [1, None]},
        )
    )

    (line,) = log.path.read_text(encoding="utf-8").splitlines()
    assert json.loads(line, parse_float=Decimal) == {
        "service": "openai",
        "model": "gpt-4o",
        "operation": "completion",
        "timestamp": "2026-11-20T12:30:00+00:00",
        "request_id": "r1",
        "input_tokens": 3,
        "total_tokens": 3,
        "api_calls": 1,
        "cost_usd": Decimal("0.00000002"),
        "metadata": {"shop": "Bäcker\n", "pricing": {"rate": Decimal("2.5")}, "tags": [1, None]},
    }


@pytest.mark.parametrize(
    ("cost", "written"),
    [
        ("0.00000002", "0.00000002"),
        (0.1, "0.1"),
        ("1E-7", "0.0000001"),
        ("2E+3", "2000"),
        (3, "3"),
        ("12345678901234567890123456789.123456789", "12345678901234567890123456789.123456789"),
    ],
)
def test_a_cost_is_a_number_with_all_its_digits(cost: Any, written: str, tmp_path: Path) -> None:
    """As text no tool adds it up, and as a float it would end in 000000000001."""
    log = UsageLogFile(tmp_path / "usage.jsonl")
    log.write(make_metric(cost_usd=cost))
    line = log.path.read_text()
    assert f'"cost_usd": {written}}}' in line
    assert json.loads(line, parse_float=Decimal)["cost_usd"] == Decimal(written)
    assert isinstance(json.loads(line)["cost_usd"], int | float)


def test_what_json_must_escape_is_escaped(tmp_path: Path) -> None:
    metadata = {'a "key"\n': ['"', "\\", "\u2028", True, None, [], {}, {"a": [Decimal("0.10")]}]}
    log = UsageLogFile(tmp_path / "usage.jsonl")
    log.write(make_metric(metadata=metadata))
    (line,) = log.path.read_bytes().decode().split("\n")[:-1]
    assert json.loads(line, parse_float=Decimal)["metadata"] == metadata


def test_a_zero_is_written_and_not_left_out(tmp_path: Path) -> None:
    log = UsageLogFile(tmp_path / "usage.jsonl")
    log.write(make_metric(output_tokens=0, cost_usd=0))
    line = json.loads(log.path.read_text())
    assert (line["output_tokens"], line["cost_usd"]) == (0, 0)


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        log = UsageLogFile(tmp_path / "usage.jsonl")
        log.write(make_metric())
    finally:
        os.umask(before)
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600


def test_lines_of_many_threads_stay_whole(tmp_path: Path) -> None:
    log = UsageLogFile(tmp_path / "usage.jsonl")
    with ThreadPoolExecutor(8) as pool:
        futures = [
            pool.submit(log.write, make_metric(request_id=str(number), metadata={"x": "y" * 9_000}))
            for number in range(400)
        ]
    for future in futures:
        future.result()

    lines = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert {line["request_id"] for line in lines} == {str(number) for number in range(400)}


def test_a_file_that_was_removed_is_made_again(tmp_path: Path) -> None:
    log = UsageLogFile(tmp_path / "usage.jsonl")
    log.write(make_metric())
    log.path.unlink()
    log.write(make_metric(request_id="r2"))
    assert json.loads(log.path.read_text())["request_id"] == "r2"
