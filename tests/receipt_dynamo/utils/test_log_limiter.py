"""Log lines about what may fail at every call are few."""

from __future__ import annotations

import logging

import pytest

from receipt_dynamo.utils.log_limiter import LogLimiter


def test_lines_of_one_kind_are_limited_and_those_left_out_are_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    log = LogLimiter(logging.getLogger("limited"), clock=lambda: now)
    for _ in range(3):
        log.warn("a", "first")
    log.warn("b", "other")
    now = 59.9
    log.warn("a", "second")
    now = 60.0
    log.warn("a", "third")
    now = 120.0
    log.warn("a", "fourth")

    assert caplog.messages == [
        "first",
        "other",
        "third (3 more since the last such line)",
        "fourth",
    ]
