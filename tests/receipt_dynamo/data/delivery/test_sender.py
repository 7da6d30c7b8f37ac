"""BatchSender with a fake clock: what each answer of DynamoDB does to the records."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    NoCredentialsError,
    ReadTimeoutError,
)

from receipt_dynamo import AIUsageMetric, CircuitBreakerState
from receipt_dynamo.data.delivery.backlog import PendingRecord
from receipt_dynamo.data.delivery.events import DeliveryEventKind
from receipt_dynamo.data.delivery.sender import PROBE_RECORDS, BatchSender, make_breaker
from receipt_dynamo.data.delivery.settings import DeliverySettings
from receipt_dynamo.entities.item_key import Key, key_of

Reply = dict[str, Any] | Exception
OK = {"ResponseMetadata": {"HTTPStatusCode": 200}, "UnprocessedItems": {}}
OUTAGE = ConnectTimeoutError(endpoint_url="http://dynamodb")


def refuse(code: str, message: str = "no", status: int = 400) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "BatchWriteItem")


THROTTLED = refuse("ProvisionedThroughputExceededException")


class ScriptedTable:
    """A way to the table that answers by a function of the items."""

    table_name = "test-table"

    def __init__(self, answer: Callable[[list[dict[str, Any]]], Reply]) -> None:
        self.answer = answer
        self.requests: list[list[str]] = []
        self.written: list[str] = []
        self.renewals = 0

    def write(self, records: Sequence[PendingRecord]) -> set[tuple[str, str]]:
        items = [json.loads(record.body) for record in records]
        ids = [item["requestId"]["S"] for item in items]
        self.requests.append(ids)
        reply = self.answer(items)
        if isinstance(reply, Exception):
            raise reply
        left = {
            key_of(request["PutRequest"]["Item"])
            for requests in reply.get("UnprocessedItems", {}).values()
            for request in requests
        }
        self.written += [json.loads(r.body)["requestId"]["S"] for r in records if r.key not in left]
        return left

    def renew(self) -> None:
        self.renewals += 1


class Bench:
    """A sender before a scripted table, with a clock that the waits advance."""

    def __init__(self, answer: Callable[[list[dict[str, Any]]], Reply], **settings: Any) -> None:
        self.now = 1_000.0
        self.waits: list[float] = []
        self.interrupted = False
        self.redriven: list[Callable[[Key], bool]] = []
        self.table = ScriptedTable(answer)
        self.settings = DeliverySettings(**settings)
        self.breaker = make_breaker(self.settings, "test-table")
        self.emitted: list[tuple[DeliveryEventKind, int, str | None]] = []
        self.sender = BatchSender(
            self.table,
            self.breaker,
            self.settings,
            wait=self.wait,
            redrive=self.redrive,
            emit=lambda *event: self.emitted.append(event),
            clock=lambda: self.now,
        )

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds
        return self.interrupted

    def redrive(self, match: Callable[[Key], bool]) -> int:
        self.redriven.append(match)
        return 0

    def send(self, *names: str) -> Any:
        self.now += 1.0
        return self.sender.send([make_record(name) for name in names])


def make_record(name: str) -> PendingRecord:
    start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=1)
    metric = AIUsageMetric("openai", "gpt-4o", "completion", start, request_id=name)
    return PendingRecord(metric.key, metric.to_dynamodb_json())


def names_of(records: Any) -> list[str]:
    return [json.loads(record.body)["requestId"]["S"] for record in records]


def leave_out(*names: str) -> Callable[[list[dict[str, Any]]], Reply]:
    def answer(items: list[dict[str, Any]]) -> Reply:
        left = [{"PutRequest": {"Item": i}} for i in items if i["requestId"]["S"] in names]
        return {**OK, "UnprocessedItems": {"test-table": left} if left else {}}

    return answer


def test_a_whole_batch_written_leaves_nothing() -> None:
    bench = Bench(lambda items: OK)
    result = bench.send("a", "b")
    assert (names_of(result.retry), result.dead) == ([], [])
    assert bench.table.requests == [["a", "b"]]


def test_unprocessed_items_go_back_and_the_breaker_sees_no_failure() -> None:
    bench = Bench(leave_out("b"), circuit_breaker_threshold=1)
    result = bench.send("a", "b", "c")
    assert names_of(result.retry) == ["b"]
    assert bench.sender.throttled == 1
    assert bench.breaker.state is CircuitBreakerState.CLOSED


def test_unprocessed_items_are_not_sent_again_at_once() -> None:
    bench = Bench(leave_out("a"))
    bench.send("a")
    bench.now -= 1.0  # send() advances the clock; stay at the moment of the reply
    bench.send("a")
    assert sum(bench.waits) > 0


def test_throttling_never_opens_the_breaker_and_never_stops_the_writer() -> None:
    bench = Bench(lambda items: THROTTLED, circuit_breaker_threshold=1)
    for _ in range(20):
        assert names_of(bench.send("a", "b").retry) == ["a", "b"]
    assert bench.breaker.state is CircuitBreakerState.CLOSED
    assert len(bench.table.requests) == 20
    assert max(bench.waits, default=0.0) <= 0.5  # the floor: two batches a second


def test_an_outage_is_retried_then_the_batch_goes_back_in_order() -> None:
    bench = Bench(lambda items: OUTAGE, max_retry_attempts=3, circuit_breaker_threshold=99)
    result = bench.send("a", "b", "c")
    assert names_of(result.retry) == ["a", "b", "c"]
    assert len(bench.table.requests) == 3
    assert "ConnectTimeoutError" in (bench.sender.last_error or "")


def test_each_wire_attempt_is_one_observation_of_the_breaker() -> None:
    bench = Bench(lambda items: OUTAGE, max_retry_attempts=5, circuit_breaker_threshold=3)
    result = bench.send("a")
    assert bench.breaker.state is CircuitBreakerState.OPEN
    assert len(bench.table.requests) == 3
    assert names_of(result.retry) == ["a"]


def test_an_open_breaker_sends_nothing_and_keeps_the_records() -> None:
    bench = Bench(lambda items: OK)
    bench.breaker.isolate()
    result = bench.send("a", "b")
    assert names_of(result.retry) == ["a", "b"]
    assert bench.table.requests == []
    assert result.retry_after is None or result.retry_after > 0


def test_the_probe_is_a_small_real_batch() -> None:
    answers: list[Reply] = [OUTAGE]
    bench = Bench(
        lambda items: answers.pop() if answers else OK,
        circuit_breaker_threshold=1,
        circuit_breaker_timeout=0.000_001,
        max_retry_attempts=1,
    )
    names = [f"r{number}" for number in range(25)]
    bench.send(*names)
    result = bench.send(*names)
    assert [len(request) for request in bench.table.requests] == [25, PROBE_RECORDS]
    assert names_of(result.retry) == names[PROBE_RECORDS:]


def test_of_a_throttled_probe_only_what_it_carried_counts_as_throttled() -> None:
    answers: list[Reply] = [THROTTLED, OUTAGE]
    bench = Bench(
        lambda items: answers.pop(),
        circuit_breaker_threshold=1,
        circuit_breaker_timeout=0.000_001,
        max_retry_attempts=1,
    )
    names = [f"r{number}" for number in range(25)]
    bench.send(*names)
    assert names_of(bench.send(*names).retry) == names
    assert bench.sender.throttled == PROBE_RECORDS


def test_recovery_ramps_up_from_the_floor() -> None:
    answers: list[Reply] = [OUTAGE]
    bench = Bench(
        lambda items: answers.pop() if answers else OK,
        circuit_breaker_threshold=1,
        circuit_breaker_timeout=0.000_001,
        max_retry_attempts=1,
    )
    bench.send("a")
    bench.waits.clear()
    for _ in range(3):
        bench.now -= 1.0
        bench.send("b")
    assert bench.waits[0] == pytest.approx(0.5, abs=0.3)
    assert bench.waits == sorted(bench.waits, reverse=True)


def test_a_poison_record_harms_nobody_else() -> None:
    def answer(items: list[dict[str, Any]]) -> Reply:
        has_poison = any(item["requestId"]["S"] == "poison" for item in items)
        return refuse("ValidationException", "too large") if has_poison else OK

    bench = Bench(answer)
    names = [f"r{number}" for number in range(12)] + ["poison"] + ["s1", "s2", "s3"]
    result = bench.send(*names)
    assert [
        (json.loads(record.body)["requestId"]["S"], reason) for record, reason in result.dead
    ] == [("poison", "ValidationException: too large")]
    assert names_of(result.retry) == []
    assert sorted(bench.table.written) == sorted(set(names) - {"poison"})


def test_a_table_with_other_key_names_dead_letters_nobody() -> None:
    wrong = "The provided key element does not match the schema"
    bench = Bench(lambda items: refuse("ValidationException", wrong))
    result = bench.send(*[f"r{number}" for number in range(25)])
    assert result.dead == ()
    assert sorted(names_of(result.retry)) == sorted(f"r{number}" for number in range(25))
    assert result.retry_after == pytest.approx(30.0, abs=1.0)


def test_records_that_died_before_the_verdict_come_back() -> None:
    bench = Bench(lambda items: refuse("ValidationException", "wrong table"))
    assert [bench.send(name).dead[0][1] for name in ("a", "b")] == [
        "ValidationException: wrong table"
    ] * 2
    result = bench.send("c")
    assert names_of(result.retry) == ["c"]
    assert [bench.redriven[-1](make_record(name).key) for name in ("a", "b", "z")] == [
        True,
        True,
        False,
    ]


def test_three_poison_records_at_the_front_do_not_starve_the_good_ones() -> None:
    def answer(items: list[dict[str, Any]]) -> Reply:
        has_poison = any(item["requestId"]["S"].startswith("poison") for item in items)
        return refuse("ValidationException", "too large") if has_poison else OK

    bench = Bench(answer)
    result = bench.send("poison1", "poison2", "poison3", "good")
    assert [json.loads(record.body)["requestId"]["S"] for record, _ in result.dead] == [
        "poison1",
        "poison2",
        "poison3",
    ]
    assert bench.table.written == ["good"]


@pytest.mark.parametrize(
    "error",
    [
        NoCredentialsError(),
        refuse("AccessDeniedException"),
        refuse("ResourceNotFoundException"),
        refuse("ExpiredTokenException"),
        refuse("SomethingNewException"),
    ],
    ids=lambda error: type(error).__name__ + str(getattr(error, "response", {}).get("Error", "")),
)
def test_misconfiguration_is_said_once_and_every_record_kept(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(lambda items: error, circuit_breaker_threshold=1)
    delays = []
    with caplog.at_level(logging.INFO):
        for _ in range(6):
            result = bench.send("a", "b")
            delays.append(result.retry_after)
            assert (names_of(result.retry), result.dead) == (["a", "b"], ())
            bench.now += result.retry_after
    assert delays == pytest.approx([30.0, 60.0, 120.0, 240.0, 300.0, 300.0])
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
    assert bench.breaker.state is CircuitBreakerState.CLOSED


def test_the_end_of_a_misconfiguration_is_said(caplog: pytest.LogCaptureFixture) -> None:
    answers: list[Reply] = [OK, refuse("AccessDeniedException")]
    bench = Bench(lambda items: answers.pop())
    with caplog.at_level(logging.INFO):
        bench.send("a")
        bench.send("a")
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_closing_interrupts_the_waits_and_keeps_the_records() -> None:
    bench = Bench(lambda items: OUTAGE, max_retry_attempts=5)
    bench.interrupted = True
    assert names_of(bench.send("a", "b").retry) == ["a", "b"]
    assert len(bench.table.requests) == 1


def test_no_payload_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(lambda items: refuse("ValidationException", "The provided key is wrong"))
    with caplog.at_level(logging.DEBUG):
        bench.send(*[f"secret-{number}" for number in range(5)])
    assert caplog.records
    assert "secret" not in caplog.text


FOR_ONE_ALONE = [
    refuse("AccessDeniedException"),
    refuse("403", "<html>blocked</html>", 403),
    refuse("InternalServerError", status=500),
    refuse("502", status=502),
    ReadTimeoutError(endpoint_url="http://dynamodb"),
    ConnectionClosedError(endpoint_url="http://dynamodb"),
]


def fail_for(error: Exception, *names: str) -> Callable[[list[dict[str, Any]]], Reply]:
    return lambda items: error if any(i["requestId"]["S"] in names for i in items) else OK


def send_until_apart(bench: Bench, *names: str) -> dict[str, float]:
    """Send a batch as the queue would, until nothing goes back; return what waits apart."""
    line, apart = [make_record(name) for name in names], {}
    for _ in range(100):
        if not line:
            return apart
        bench.now += 1.0
        result = bench.sender.send(line)
        assert not result.dead
        apart |= {names_of([record])[0]: seconds for record, seconds in result.apart}
        line = list(result.retry)
        bench.now += result.retry_after or 0.0
    raise AssertionError(f"{names_of(line)} are sent again and again")


@pytest.mark.parametrize("error", FOR_ONE_ALONE, ids=str)
@pytest.mark.parametrize("bad", [("r0",), ("r24",), ("r3", "r12")], ids=str)
def test_a_record_that_fails_by_itself_is_set_apart_and_the_others_are_written(
    error: Exception, bad: tuple[str, ...]
) -> None:
    bench = Bench(fail_for(error, *bad), retry_base_delay=0.0, circuit_breaker_timeout=0.001)
    bench.send("before")
    names = [f"r{number}" for number in range(25)]
    assert send_until_apart(bench, *names) == dict.fromkeys(bad, 1.0)
    assert sorted(bench.table.written) == sorted({"before", *names} - set(bad))
    assert len(bench.table.requests) < 60


@pytest.mark.parametrize("error", FOR_ONE_ALONE, ids=str)
def test_what_is_apart_waits_longer_each_time_and_opens_no_breaker(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(fail_for(error, "bad"), circuit_breaker_timeout=0.001)
    bench.send("before")
    bad, pauses = make_record("bad"), []
    while len(pauses) < 11:
        bench.now += 1.0
        for _, seconds in bench.sender.send([bad]).apart:
            pauses.append(seconds)
            requests = len(bench.table.requests)
        if not pauses:
            bench.send("another")
        else:
            assert bench.breaker.state is CircuitBreakerState.CLOSED
    assert pauses == [*(2.0**number for number in range(9)), 300.0, 300.0]
    assert len(bench.table.requests) == requests
    assert caplog.text.count("a record fails by itself") == 1


def test_a_record_that_was_apart_is_written_when_it_is_let_through() -> None:
    errors: list[Reply] = [refuse("AccessDeniedException")]
    bench = Bench(lambda items: errors.pop() if errors and len(items) == 1 else OK)
    bench.send("before", "too")
    (apart,) = bench.send("bad").apart
    result = bench.sender.send([apart[0]])
    assert (list(result.retry), list(result.apart)) == ([], [])
    assert bench.table.written == ["before", "too", "bad"]


def test_access_that_is_denied_to_all_is_one_hold_after_few_requests() -> None:
    """Not one for each record: three refused alone say enough."""
    answers: list[Reply] = [OK]
    bench = Bench(lambda items: answers.pop() if answers else refuse("AccessDeniedException"))
    bench.send("before")
    names = [f"r{number}" for number in range(25)]
    result = bench.send(*names)
    assert sorted(names_of(result.retry)) == sorted(names)
    assert (result.apart, result.retry_after) == ([], pytest.approx(30.0))
    assert len(bench.table.requests) <= 10
    assert [event[0] for event in bench.emitted[-1:]] == [DeliveryEventKind.MISCONFIGURED]


@pytest.mark.parametrize("error", FOR_ONE_ALONE[2:], ids=str)
def test_an_outage_of_all_sets_nobody_apart(error: Exception) -> None:
    bench = Bench(lambda items: error, retry_base_delay=0.0, circuit_breaker_timeout=0.001)
    line = [make_record(f"r{number}") for number in range(5)]
    for _ in range(30):
        bench.now += 1.0
        result = bench.sender.send(line)
        assert (list(result.apart), list(result.dead)) == ([], [])
        line = list(result.retry)
    assert sorted(names_of(line)) == [f"r{number}" for number in range(5)]


def test_after_a_timeout_requests_shrink_until_they_arrive() -> None:
    """An uplink that takes three records in the time for a request."""
    timeout = ReadTimeoutError(endpoint_url="http://dynamodb")
    bench = Bench(
        lambda items: timeout if len(items) > 3 else OK,
        retry_base_delay=0.0,
        circuit_breaker_timeout=0.001,
    )
    names = [f"r{number}" for number in range(25)]
    assert send_until_apart(bench, *names) == {}
    assert sorted(bench.table.written) == sorted(names)


def test_a_request_is_as_large_as_the_bound_allows() -> None:
    bench = Bench(lambda items: OK)
    bench.sender._request_size.limit = 2 * make_record("r0").size + 1
    bench.send("r0", "r1", "r2", "r3", "r4")
    assert bench.table.requests == [["r0", "r1"], ["r2", "r3"], ["r4"]]
