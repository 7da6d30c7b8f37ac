"""The demo's verdict: it must fail when a row is missing, doubled, strange or wrong."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from receipt_dynamo import AIUsageMetric
from receipt_label.cli.demo.summary import REPORTED_BY, print_summary
from receipt_label.cli.demo.verdict import MadeCall, compare
from support.report_answers import answer

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def make_calls(count: int = 4) -> list[MadeCall]:
    return [
        MadeCall("openai", "gpt-4.1", f"chatcmpl-{number}", 10, 5, 0.03, 0.002)
        for number in range(count)
    ]


def make_row(call: MadeCall, **changes: object) -> AIUsageMetric:
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


def test_many_differences_are_cut_to_the_first() -> None:
    (line,) = compare(make_calls(25), []).list_differences()

    assert line.startswith("lost (a call without a row): 25: chatcmpl-0, ")
    assert line.endswith(" and 15 more")


def summarize(
    calls: list[MadeCall], rows: list[AIUsageMetric], untracked: list[MadeCall]
) -> list[str]:
    stream = io.StringIO()
    print_summary(answer(rows, [REPORTED_BY]), compare(calls, rows), calls, untracked, stream)
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_the_summary_shows_the_report_the_counts_the_delays_and_the_verdict() -> None:
    calls = make_calls(2)
    calls[1] = replace(calls[1], service="anthropic", model="claude-haiku-4-5", seconds=0.05)
    lines = summarize(calls, [make_row(call) for call in calls], make_calls(3))

    title, *_ = [line for line in lines if line.startswith("ai-usage:")]
    assert lines.index(title) == 3
    shown = [line.split() for line in lines[3:]]
    assert ["openai", "gpt-4.1", "1", "10", "5", "0.0001", "█" * 20] in shown
    assert ["total", "2", "20", "10", "0.0001"] in shown
    assert lines[lines.index("calls made  2") :] == [
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


def test_a_row_without_a_price_makes_the_total_a_lower_bound() -> None:
    calls = make_calls(2)
    rows = [make_row(calls[0]), make_row(calls[1], cost_usd=None)]

    assert any(
        line.startswith("1 record without a known price") for line in summarize(calls, rows, calls)
    )


def test_the_summary_of_a_failure_lists_the_difference() -> None:
    calls = make_calls(2)
    lines = summarize(calls, [make_row(calls[0])], calls)

    assert lines[-2:] == [
        "FAILED: calls and rows differ.",
        "lost (a call without a row): 1: chatcmpl-1",
    ]


def test_a_demo_in_which_no_call_succeeded_still_has_a_summary() -> None:
    failed = MadeCall("openai", "gpt-4.1", None, error="openai call 0: APIConnectionError")
    lines = summarize([failed], [], make_calls())

    assert "No call succeeded." in lines
    assert lines[-1] == "failed calls: 1: openai call 0: APIConnectionError"
