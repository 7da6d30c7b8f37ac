"""Assert that calls were recorded, with a message that shows what was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from decimal import Decimal
from typing import Any, Final

from receipt_dynamo import AIUsageMetric

_FIELDS: Final = frozenset(field.name for field in fields(AIUsageMetric))
_SHOWN: Final = ("job_id", "batch_id", "user_id", "github_pr", "environment", "error")
_MAX_SHOWN: Final = 20


def assert_usage(
    records: Iterable[AIUsageMetric], *, count: int | None = None, **expected: Any
) -> list[AIUsageMetric]:
    """Assert that there are records with these fields.

    Args:
        records: Such as ``ai_usage.records``.
        count: How many; by default at least one.
        **expected: Fields of :class:`~receipt_dynamo.AIUsageMetric` with their values, such as
            ``service="openai", job_id="job-7", cost_usd="0.0004"``. Of ``metadata`` the
            entries that are given have to be there.

    Returns:
        The records that have them.

    Raises:
        AssertionError: There are more or fewer; the message lists what was recorded, without
            the values of metadata.
        TypeError: A field is unknown.
    """
    __tracebackhide__ = True
    if unknown := expected.keys() - _FIELDS:
        raise TypeError(
            f"unknown: {', '.join(sorted(unknown))}; accepted are count and "
            f"{', '.join(sorted(_FIELDS))}"
        )
    found = list(records)
    matching = [record for record in found if _matches(record, expected)]
    if len(matching) == count or (count is None and matching):
        return matching
    raise AssertionError(_describe(found, len(matching), count, expected))


def _matches(record: AIUsageMetric, expected: Mapping[str, Any]) -> bool:
    return all(_is_equal(name, getattr(record, name), value) for name, value in expected.items())


def _is_equal(name: str, recorded: Any, value: Any) -> bool:
    if name == "metadata":
        return all(key in recorded and recorded[key] == entry for key, entry in value.items())
    if name == "cost_usd" and value is not None:
        return recorded is not None and recorded == Decimal(str(value))
    return bool(recorded == value)


def _describe(
    found: list[AIUsageMetric], matching: int, count: int | None, expected: Mapping[str, Any]
) -> str:
    wanted = "at least one record" if count is None else f"{count} record(s)"
    asked = ", ".join(f"{name}={value!r}" for name, value in expected.items()) or "any fields"
    lines = [f"expected {wanted} with {asked}; {matching} of {len(found)} recorded match"]
    lines += [f"  {_show(record)}" for record in found[:_MAX_SHOWN]]
    if len(found) > _MAX_SHOWN:
        lines.append(f"  ... and {len(found) - _MAX_SHOWN} more")
    return "\n".join(lines)


def _show(record: AIUsageMetric) -> str:
    cost = "no cost" if record.cost_usd is None else f"{record.cost_usd:f} USD"
    said = [f"{name}={value!r}" for name in _SHOWN if (value := getattr(record, name)) is not None]
    if record.metadata:
        said.append(f"metadata with {', '.join(sorted(record.metadata))}")
    tokens = f"{record.input_tokens} + {record.output_tokens} tokens"
    name = f"{record.service} {record.model} {record.operation}"
    return ", ".join([name, tokens, cost, *said])
