"""Make a record of whatever is known: a bad field costs that field, not the record."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import receipt_dynamo

UNKNOWN_MODEL: Final = "unknown"

MAX_TEXT: Final = 1_000
"""Characters that are kept of a text when the record is too large."""

MAX_NAME: Final = 200
"""Characters that are kept of a name or id when it is too long for a key."""

MAX_METADATA_BYTES: Final = 100_000
"""Size of the metadata that is kept when the record is too large."""

_NAMES: Final = ("service", "model", "operation", "request_id", "user_id", "job_id", "batch_id")
_ESSENTIALS: Final = frozenset({"service", "model", "operation", "timestamp"})
_ANY_TIME: Final = datetime(2020, 1, 1, tzinfo=UTC)


def make_metric(fields: Mapping[str, Any]) -> receipt_dynamo.AIUsageMetric:
    """Return a record with these fields; leave out or shorten those that it cannot hold.

    What is left out is named in the metadata under ``invalid_fields``; what is shortened
    sets ``truncated`` there.

    Args:
        fields: Keyword arguments of :class:`~receipt_dynamo.AIUsageMetric`.

    Raises:
        ValueError: Service, operation or timestamp cannot be used.
    """
    attempt = dict(fields)
    for repair in (_leave_out_invalid, _shorten):
        problems: list[str] = []
        try:
            metric = receipt_dynamo.AIUsageMetric(**attempt)
        except ValueError as error:  # Pydantic's, which takes long to import.
            problems = _list_problems(error)
        else:
            if metric.has_room():
                return metric
        attempt = repair(attempt, problems)
    return receipt_dynamo.AIUsageMetric(**attempt)


def _list_problems(error: Any) -> list[str]:
    """Return the fields that pydantic complains about; none when it is the whole."""
    return [str(problem["loc"][0]) for problem in error.errors() if problem["loc"]]


def _leave_out_invalid(fields: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    invalid = set(problems)
    kept = {name: value for name, value in fields.items() if name not in invalid}
    for name in _ESSENTIALS & invalid:
        kept[name] = UNKNOWN_MODEL if name == "model" else fields[name]
    metadata, bad_keys = _sift_metadata(fields.get("metadata") or {})
    names = (invalid - {"metadata"}) | bad_keys
    if names:
        known = metadata.get("invalid_fields", [])
        metadata["invalid_fields"] = [*known, *sorted(names)]
    return {**kept, "metadata": metadata}


def _sift_metadata(metadata: Any) -> tuple[dict[str, Any], set[str]]:
    """Return the entries that a record can hold, and the names of the others."""
    if not isinstance(metadata, Mapping):
        return {}, {"metadata"}
    good: dict[str, Any] = {}
    bad: set[str] = set()
    for key, value in metadata.items():
        if _can_hold({key: value}):
            good[key] = value
        else:
            bad.add(f"metadata.{_to_plain(key)}")
    return good, bad


def _can_hold(metadata: dict[Any, Any]) -> bool:
    try:
        receipt_dynamo.AIUsageMetric("probe", "probe", "probe", _ANY_TIME, metadata=metadata)
    except ValueError as error:
        # Size is another matter, see _shorten.
        return not _list_problems(error)
    return True


def _to_plain(key: object) -> str:
    return str(key)[:MAX_NAME].encode(errors="replace").decode()


def _shorten(fields: dict[str, Any], problems: list[str]) -> dict[str, Any]:  # noqa: ARG001
    shorter = dict(fields)
    for name in _NAMES:
        if isinstance(value := shorter.get(name), str):
            shorter[name] = value[:MAX_NAME]
    if isinstance(text := shorter.get("error"), str):
        shorter["error"] = text[:MAX_TEXT]
    metadata = _shorten_texts(shorter.get("metadata") or {})
    left = MAX_METADATA_BYTES
    kept: dict[str, Any] = {}
    for key, value in metadata.items():
        left -= len(repr(value)) * 4
        if left > 0:
            kept[key] = value
    shorter["metadata"] = {**kept, "truncated": True}
    return shorter


def _shorten_texts(value: Any) -> Any:
    if isinstance(value, str):
        return value[:MAX_TEXT]
    if isinstance(value, Mapping):
        return {key[:MAX_NAME]: _shorten_texts(element) for key, element in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shorten_texts(element) for element in value]
    return value
