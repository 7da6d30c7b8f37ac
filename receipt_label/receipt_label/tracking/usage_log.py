"""A copy of the records in a file, for looking at them without a table."""

from __future__ import annotations

import json
import os
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from receipt_dynamo.support import open_private

if TYPE_CHECKING:
    from receipt_dynamo import AIUsageMetric

_FIELDS: Final = (
    "service",
    "model",
    "operation",
    "timestamp",
    "request_id",
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "api_calls",
    "cost_usd",
    "latency_ms",
    "user_id",
    "job_id",
    "batch_id",
    "github_pr",
    "environment",
    "error",
    "metadata",
)

_encode: Final = json.JSONEncoder(ensure_ascii=False).encode


class UsageLogFile:
    """Appends records to a file as JSON Lines, one object to a line.

    The file is made readable for its owner only. It is opened for each line, so it may be
    rotated or removed at any time, and a forked child writes as well as its parent: each
    line goes out in one append, which keeps lines whole among threads and processes (on
    POSIX).

    Args:
        path: The file; its directory has to exist.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def write(self, metric: AIUsageMetric) -> None:
        """Append one record.

        Raises:
            OSError: The file cannot be written. A tracker counts and logs it, and goes on.
        """
        _append(self.path, to_line(metric))


def to_line(metric: AIUsageMetric) -> bytes:
    """Return a record as a line of JSON in UTF-8: its fields by name, those that it has.

    A cost is a number with all of its digits, as ``json.loads(line, parse_float=Decimal)``
    reads them.
    """
    return (_to_json(_to_document(metric)) + "\n").encode()


def _append(path: Path, line: bytes) -> None:
    descriptor = open_private(path, os.O_WRONLY | os.O_APPEND)
    try:
        written = os.write(descriptor, line)
    finally:
        os.close(descriptor)
    if written < len(line):
        raise OSError(f"wrote {written} of {len(line)} bytes to {path}")


def _to_document(metric: AIUsageMetric) -> dict[str, Any]:
    document = {name: getattr(metric, name) for name in _FIELDS}
    return {name: value for name, value in document.items() if value not in (None, {})}


def _to_json(value: Any) -> str:
    """Return a value as JSON; ``json.dumps`` would make a float of a Decimal, and lose digits."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return _encode(value.isoformat())
    if isinstance(value, dict):
        members = (f"{_to_json(key)}: {_to_json(element)}" for key, element in value.items())
        return f"{{{', '.join(members)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_to_json, value))}]"
    return _encode(value)
