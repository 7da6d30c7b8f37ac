"""The demo's verdict: it must fail when a row is missing, doubled, strange or wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from receipt_dynamo import AIUsageMetric
from receipt_label.cli.demo.report import Call, Comparison, CostLine, compare
from receipt_label.cli.demo.summary import format_summary

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def make_calls(count: int = 4) -> list[Call]:
    return [
        Call("openai", "gpt-4.1", f"chatcmpl-{number}", 10, 5, 0.03, 0.002)
        for number in range(count)
    ]


def make_row(call: Call, **changes: object) -> AIUsageMetric:
    fields: dict[str, object] = {
        "request_id": call.response_id,
        "input_tokens": call.input_tokens,
        "output_tokens": call.output_tokens,
        "cost_usd": Decimal("0.00006"),
    }
    moment = changes.pop("timestamp", NOON)
    return AIUsageMetric(call.service, call.model, "completion", moment, **(fields | changes))


def test_each_call_with_one_row_is_clean() -> None:
    calls = make_calls()
    comparison = compare(calls, [make_row(call) for call in reversed(calls)])

    assert comparison.is_clean
    assert comparison.list_differences() == []
    assert (comparison.calls, comparison.rows) == (4, 4)
    assert comparison.costs == [
        CostLine("openai", "gpt-4.1", 4, 40, 20, Decimal("0.00024"), unpriced=0)
    ]


def test_a_deleted_row_is_lost() -> None:
    calls = make_calls()
    comparison = compare(calls, [make_row(call) for call in calls[1:]])

    assert not comparison.is_clean
    assert comparison.lost == ["chatcmpl-0"]
    assert comparison.list_differences() == ["lost (a call without a row): 1: chatcmpl-0"]


def test_one_call_stored_under_two_keys_is_doubled() -> None:
    calls = make_calls()
    rows = [make_row(call) for call in calls]
    rows.append(make_row(calls[2], timestamp=NOON + timedelta(milliseconds=1)))
    comparison = compare(calls, rows)

    assert not comparison.is_clean
    assert comparison.doubled == ["chatcmpl-2"]
    assert comparison.lost == comparison.strange == []


def test_a_lost_row_is_not_hidden_by_a_doubled_one() -> None:
    calls = make_calls(2)
    rows = [make_row(calls[0]), make_row(calls[0], timestamp=NOON + timedelta(seconds=1))]
    comparison = compare(calls, rows)

    assert comparison.rows == comparison.calls
    assert (comparison.lost, comparison.doubled) == (["chatcmpl-1"], ["chatcmpl-0"])


def test_an_id_that_the_provider_used_twice_needs_two_rows() -> None:
    call = make_calls(1)[0]
    one = [make_row(call)]
    two = [*one, make_row(call, timestamp=NOON + timedelta(seconds=1))]

    assert compare([call, call], two).is_clean
    assert compare([call, call], one).lost == ["chatcmpl-0"]


def test_a_row_that_no_call_knows_is_strange() -> None:
    calls = make_calls(1)
    rows = [make_row(calls[0]), make_row(calls[0], request_id="made-up")]

    comparison = compare(calls, rows)
    assert not comparison.is_clean
    assert comparison.strange == ["made-up"]


def test_a_row_with_other_tokens_than_the_reply_differs() -> None:
    calls = make_calls(2)
    rows = [make_row(calls[0], output_tokens=0), make_row(calls[1])]

    comparison = compare(calls, rows)
    assert not comparison.is_clean
    assert comparison.differing == ["chatcmpl-0"]


def test_a_failed_call_is_a_failure_even_with_all_rows_there() -> None:
    calls = make_calls(1)
    failed = replace(calls[0], response_id=None, error="openai call 1: APIError")
    comparison = compare([*calls, failed], [make_row(calls[0])])

    assert not comparison.is_clean
    assert comparison.failed == ["openai call 1: APIError"]


def test_unknown_price_is_counted_as_unpriced_not_free() -> None:
    calls = make_calls(2)
    comparison = compare(calls, [make_row(calls[0]), make_row(calls[1], cost_usd=None)])

    (line,) = comparison.costs
    assert (line.cost_usd, line.unpriced) == (Decimal("0.00006"), 1)
    assert "0.000060 + 1 unpriced" in format_summary(comparison, calls, calls)


def test_many_differences_are_cut_to_the_first() -> None:
    (line,) = compare(make_calls(25), []).list_differences()

    assert line.startswith("lost (a call without a row): 25: chatcmpl-0, ")
    assert line.endswith(" and 15 more")


def test_the_summary_shows_costs_counts_delays_and_the_verdict() -> None:
    calls = make_calls(2)
    calls[1] = replace(calls[1], service="anthropic", model="claude-haiku-4-5", seconds=0.05)
    summary = format_summary(
        compare(calls, [make_row(call) for call in calls]), calls, make_calls(3)
    )

    assert summary.splitlines()[3:] == [
        "service    model             rows  input tokens  output tokens  cost in USD",
        "anthropic  claude-haiku-4-5     1            10              5     0.000060",
        "openai     gpt-4.1              1            10              5     0.000060",
        "total                           2            20             10     0.000120",
        "",
        "calls made  2",
        "rows found  2",
        "lost        0",
        "doubled     0",
        "",
        "The slowest call took 50.0 ms, as its caller saw it.",
        "What calls took beside waiting for the provider (the SDK's own work, and tracking):",
        "",
        "                  calls  median   worst",
        "without tracking      3  2.0 ms  2.0 ms",
        "with tracking         2  2.0 ms  2.0 ms",
        "",
        "OK: every call has exactly one row.",
    ]


def test_the_summary_of_a_failure_lists_the_difference() -> None:
    calls = make_calls(2)
    summary = format_summary(compare(calls, [make_row(calls[0])]), calls, calls)

    assert "FAILED: calls and rows differ." in summary
    assert "lost (a call without a row): 1: chatcmpl-1" in summary
    assert "OK" not in summary


def test_a_demo_in_which_no_call_succeeded_still_has_a_summary() -> None:
    failed = Call("openai", "gpt-4.1", None, error="openai call 0: APIConnectionError")
    comparison: Comparison = compare([failed], [])

    assert "No call succeeded." in format_summary(comparison, [failed], make_calls())
    assert not comparison.is_clean
