"""Hypothesis strategies for records, shared by the tests of both packages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from receipt_dynamo import AIUsageMetric

# All of Unicode but lone surrogates, which UTF-8 cannot hold.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(str.strip)
counts = st.integers(0, 10**12)


@st.composite
def decimals(draw: st.DrawFn, *, signed: bool = True) -> Decimal:
    """Numbers that DynamoDB can hold: up to 38 digits, magnitudes from 1E-130 to 9.9E+125."""
    digits = draw(st.integers(1, 38))
    coefficient = draw(st.integers(0, 10**digits - 1))
    exponent = draw(st.integers(-130, 126 - digits))
    sign = draw(st.sampled_from((0, 1))) if signed else 0
    return Decimal((sign, tuple(map(int, str(coefficient))), exponent))


aware_times = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)).map(
    lambda moment: moment.replace(tzinfo=UTC)
) | st.builds(
    lambda moment, minutes: moment.replace(tzinfo=timezone(timedelta(minutes=minutes))),
    st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)),
    st.integers(-14 * 60, 14 * 60),
)
times = aware_times | st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1))

floats = st.floats(-1e100, 1e100, allow_nan=False, allow_subnormal=False).filter(
    lambda number: number == 0 or abs(number) > 1e-100
)

scalars = st.none() | st.booleans() | st.integers(-(10**37), 10**37) | decimals() | floats | texts
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


def metrics(**fixed: Any) -> st.SearchStrategy[AIUsageMetric]:
    """Records with every optional field absent or present; ``fixed`` pins some."""
    fields: dict[str, st.SearchStrategy[Any]] = {
        "service": names,
        "model": names,
        "operation": names,
        "timestamp": times,
    }
    optional: dict[str, st.SearchStrategy[Any]] = {
        "request_id": names,
        "input_tokens": counts,
        "output_tokens": counts,
        "total_tokens": counts,
        "api_calls": counts,
        "cost_usd": decimals(signed=False) | floats.map(abs),
        "latency_ms": decimals(signed=False) | counts,
        "user_id": texts,
        "job_id": texts,
        "batch_id": texts,
        "github_pr": counts,
        "environment": texts,
        "error": texts,
        "metadata": st.dictionaries(keys, documents, max_size=4),
    }
    for name, value in fixed.items():
        pinned = st.just(value)
        (fields if name in fields else optional).pop(name)
        fields[name] = pinned
    return st.fixed_dictionaries(fields, optional=optional).map(
        lambda arguments: AIUsageMetric(**arguments)
    )
