"""Send one batch of records, and return the outcome of each.

The breaker, the retries and the pace are applied here. Nothing is queued here: records
that are not settled go back to the queue.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from receipt_dynamo.data.batch_write import (
    MAX_BATCH_BYTES,
    MAX_BATCH_ITEMS,
    write_prepared_batch,
)
from receipt_dynamo.data.deadline import within
from receipt_dynamo.data.delivery.backlog import PendingRecord
from receipt_dynamo.data.delivery.events import DeliveryEventKind
from receipt_dynamo.data.delivery.misconfiguration import (
    MOST_PROOF_OF_REFUSALS,
    Hold,
    RejectionStreak,
    choose_pause,
)
from receipt_dynamo.data.delivery.pacing import Pacer, RequestSize, allow_seconds
from receipt_dynamo.data.failures import (
    FailureKind,
    classify_failure,
    is_timeout,
    list_throttling_reasons,
    may_be_applied,
    summarize_failure,
)
from receipt_dynamo.data.table.shards import ShardAnnouncer, explain_announcement
from receipt_dynamo.entities.item_key import Key
from receipt_dynamo.entities.wire_form import read_shard
from receipt_dynamo.errors import ReceiptDynamoError
from receipt_dynamo.utils.batch_queue import FlushResult
from receipt_dynamo.utils.circuit_breaker import (
    CircuitBreaker,
    CircuitBreakerOpenError,
    CircuitBreakerState,
)
from receipt_dynamo.utils.fork_safety import reset_in_child
from receipt_dynamo.utils.retry_with_backoff import RetryExhaustedError, retry_with_backoff

if TYPE_CHECKING:
    from receipt_dynamo.data.connection import Connection
    from receipt_dynamo.data.delivery.settings import DeliverySettings

_logger = logging.getLogger(__name__)

PROBE_RECORDS: Final = 5
"""The largest batch of the breaker's probe, in records: a table that is just coming back
gets little to do."""

UNPROCESSED: Final = "UnprocessedItems"
"""The reason for throttling that DynamoDB gives for single items of a batch."""

LONGEST_RETRY_DELAY: Final = 10.0
"""Seconds between two wire attempts of one round, at most."""

SHORTEST_OPEN_DELAY: Final = 0.1
"""Seconds after a refusal by the breaker, at least: while one sender probes, the others
must not spin."""

LONGEST_OPEN_DELAY: Final = 15.0
"""The same, at most: nothing is sent then, and whoever asks again can say what waits too long."""


LEAST_SECONDS: Final = 1.0
"""For a request, however little time is left until the client is closed."""


class SendingInterruptedError(ReceiptDynamoError):
    """The client is closing and its time is up: what is not written stays in the queue."""

    retryable = False


def is_outage(error: BaseException) -> bool:
    """Return whether DynamoDB could not be reached, or did not answer readably."""
    return classify_failure(error) is FailureKind.OUTAGE


class RecordFailedError(ReceiptDynamoError):
    """A record that waited apart failed again: that says nothing about DynamoDB's health."""

    def __init__(self, failure: Exception) -> None:
        super().__init__(str(failure))
        self.failure = failure


def _proves_nothing(error: BaseException) -> bool:
    """Return whether the failure says nothing about DynamoDB's health.

    It may not have left, or be about one record.
    """
    if isinstance(error, RecordFailedError):
        return True
    return classify_failure(error) in (FailureKind.MISCONFIGURED, FailureKind.REFUSED)


def make_breaker(
    settings: DeliverySettings, table_name: str, clock: Callable[[], float] = time.monotonic
) -> CircuitBreaker:
    """Return the breaker for the writes to one table.

    Only an outage counts as a failure. Throttling is an answer of a living service; a
    breaker that it opens would turn a slow table into a stopped one.
    """
    return CircuitBreaker(
        settings.circuit_breaker_threshold,
        settings.circuit_breaker_timeout,
        is_outage,
        ignored_exceptions=_proves_nothing,
        name=f"dynamodb:{table_name}",
        clock=clock,
    )


@dataclass(slots=True)
class _Round:
    """The outcome of one batch so far."""

    retry: list[PendingRecord] = field(default_factory=list)
    rejected: list[tuple[PendingRecord, str]] = field(default_factory=list)
    refused: list[tuple[PendingRecord, BaseException]] = field(default_factory=list)
    apart: list[tuple[PendingRecord, BaseException]] = field(default_factory=list)
    last: list[PendingRecord] = field(default_factory=list)
    newest_next: bool = False
    failure: BaseException | None = None


class Writer(Protocol):
    """The way to the table; each write is one wire attempt."""

    @property
    def table_name(self) -> str:
        """Name or ARN of the table."""

    def write(self, records: Sequence[PendingRecord]) -> set[Key]:
        """Write a batch; return the keys of those that were not written."""

    def renew(self) -> None:
        """Look for credentials again before the next write."""


class ConnectionWriter:
    """Writes through boto3.

    Args:
        connection: To the table.
        gsi_shards: Of this process's records; others may come from its predecessors.
    """

    def __init__(self, connection: Connection, gsi_shards: int = 1) -> None:
        self._connection = connection
        self._shards = ShardAnnouncer(connection, gsi_shards)

    @property
    def table_name(self) -> str:
        """Name or ARN of the table."""
        return self._connection.table_name

    def write(self, records: Sequence[PendingRecord]) -> set[Key]:
        """Write a batch; return the keys of those that were not written."""
        try:
            self._announce(records)
            size = sum(record.size for record in records)
            with within(allow_seconds(size, self._connection.read_timeout)):
                return write_prepared_batch(
                    self._connection.client(),
                    self._connection.table_name,
                    {record.key for record in records},
                    [record.body for record in records],
                )
        except Exception as error:
            explained = self._connection.explain(error)
            if explained is error:
                raise
            raise explained from error

    def _announce(self, records: Sequence[PendingRecord]) -> None:
        """Write the number of shards first: no sum would have a record whose shard is unknown."""
        try:
            self._shards.announce(read_shard(record.body) for record in records)
        except Exception as error:
            if classify_failure(error) is not FailureKind.REFUSED:
                raise
            # It is about the item with the number, and not about one of the records.
            raise explain_announcement(error) from error

    def renew(self) -> None:
        """Look for credentials again before the next write."""
        # A boto3 client keeps the credentials that it was made with, missing ones too.
        self._connection.renew()
        self._shards.forget()  # A table that was missing is a new one when it comes.


class BatchSender:
    """Writes batches for one queue; used by several sender threads at once.

    Args:
        writer: To the table.
        breaker: Sees each wire attempt.
        settings: Attempts and delays.
        wait: Sleep for some seconds; returns True when it was interrupted because the
            client is closing.
        count_seconds_left: Returns the seconds until closing gives up; infinite if it does not
            close.
        redrive: Takes the dead letters for which its argument returns True back into the
            queue.
        emit: Called with what happened: the kind, how many records, a reason.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        writer: Writer,
        breaker: CircuitBreaker,
        settings: DeliverySettings,
        *,
        wait: Callable[[float], bool],
        count_seconds_left: Callable[[], float] = lambda: math.inf,
        redrive: Callable[[Callable[[Key], bool]], int],
        emit: Callable[[DeliveryEventKind, int, str | None], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer = writer
        self._emit = emit
        self._breaker = breaker
        self._wait = wait
        self._count_seconds_left = count_seconds_left
        self._redrive = redrive
        self._clock = clock
        self._write = retry_with_backoff(
            settings.max_retry_attempts,
            settings.retry_base_delay,
            max(settings.retry_base_delay, LONGEST_RETRY_DELAY),
            is_outage,
            sleep=self._pause,
            clock=clock,
        )(self._write_once)
        self._begin()
        reset_in_child(self)

    def _begin(self) -> None:
        # Re-entrant: a finalizer may ask for the figures in the thread that is inside.
        self._lock = threading.RLock()
        self._pacer = Pacer()
        self._request_size = RequestSize(MAX_BATCH_BYTES)
        self._streak = RejectionStreak()
        self._refusals = RejectionStreak(most=MOST_PROOF_OF_REFUSALS)
        self._successes = 0
        self._said_apart: str | None = None
        self._hold = Hold()
        self._throttled = 0
        self._throttle_reasons: Counter[str] = Counter()
        self._last_error: str | None = None
        self._said: str | None = None

    def reset_after_fork(self) -> None:
        """Begin anew in a forked child: the parent's pace and verdicts are its own."""
        self._begin()

    @property
    def throttled(self) -> int:
        """How often a record came back because DynamoDB was short of capacity."""
        return self._throttled

    @property
    def throttle_reasons(self) -> dict[str, int]:
        """The same by DynamoDB's reason; a request may give several."""
        with self._lock:
            return dict(self._throttle_reasons)

    @property
    def pace(self) -> float:
        """Batches a second that may leave; infinite until DynamoDB throttles."""
        return self._pacer.rate

    @property
    def last_error(self) -> str | None:
        """The latest failure in one line, or None."""
        return self._last_error

    def send(self, batch: Sequence[PendingRecord]) -> FlushResult[PendingRecord]:
        """Write ``batch``; return which records to send again, when, and which are dead."""
        outcome = _Round()
        parts = _divide(batch, self._request_size.limit)
        while parts and outcome.failure is None:
            part = parts.pop()
            # What failed before has no retries: others are to be written meanwhile.
            write = self._write if part[0].company >= MAX_BATCH_ITEMS else self._write_once
            try:
                outcome.retry += write(part)
            except Exception as error:  # noqa: BLE001 - classified below; nothing is lost
                parts += self._judge(part, error, outcome)
        outcome.retry += [record for part in reversed(parts) for record in part]
        return self._conclude(outcome)

    def _write_once(self, part: list[PendingRecord]) -> list[PendingRecord]:
        """Make one wire attempt; return the records that are still to be written."""
        with self._lock:
            delay = self._pacer.reserve(self._clock())
        self._pause(delay)
        sent = part
        try:
            with self._breaker:
                if self._breaker.state is not CircuitBreakerState.CLOSED:
                    sent = part[:PROBE_RECORDS]
                unwritten = self._write_through(sent)
        except RecordFailedError as error:
            self._record_failure(error.failure, len(sent))
            raise error.failure from None
        except Exception as error:
            self._record_failure(error, len(sent))
            raise
        self._record_reply(len(sent), len(unwritten))
        return [record for record in sent if record.key in unwritten] + part[len(sent) :]

    def _write_through(self, sent: list[PendingRecord]) -> set[Key]:
        size = sum(record.size for record in sent)
        try:
            with within(max(self._count_seconds_left(), LEAST_SECONDS)):
                unwritten = self._writer.write(sent)
        except Exception as error:
            if is_timeout(error):
                with self._lock:
                    self._request_size.record_timeout(size)
            if sent[0].times_apart and is_outage(error) and may_be_applied(error):
                raise RecordFailedError(error) from error
            raise
        with self._lock:
            self._request_size.record_reply(size)
        return unwritten

    def _pause(self, seconds: float) -> None:
        if seconds > 0 and self._wait(seconds):
            raise SendingInterruptedError("the client is closing")

    def _record_failure(self, error: Exception, records: int) -> None:
        if isinstance(error, CircuitBreakerOpenError):
            return  # Nothing was sent; the failures that opened it are logged already.
        kind, summary = classify_failure(error), summarize_failure(error)
        with self._lock:
            self._last_error = summary
            if kind is FailureKind.THROTTLED:
                self._throttled += records
                for reason in list_throttling_reasons(error) or [summary.partition(":")[0]]:
                    self._throttle_reasons[reason] += records
            if self._breaker.state is not CircuitBreakerState.CLOSED:
                self._pacer.restart()
            elif kind in (FailureKind.THROTTLED, FailureKind.OUTAGE):
                self._pacer.record_batch(1.0)
        if kind is FailureKind.THROTTLED:
            self._emit(DeliveryEventKind.THROTTLED, records, summary)
        elif kind is FailureKind.OUTAGE:
            self._emit(DeliveryEventKind.FAILED, records, summary)

    def _record_reply(self, sent: int, unwritten: int) -> None:
        with self._lock:
            if unwritten:
                self._throttled += unwritten
                self._throttle_reasons[UNPROCESSED] += unwritten
            self._pacer.record_batch(unwritten / sent)
        if unwritten:
            self._emit(DeliveryEventKind.THROTTLED, unwritten, UNPROCESSED)
        if unwritten < sent:
            self._record_success()

    def _record_success(self) -> None:
        with self._lock:
            self._successes += 1
            self._refusals = self._refusals.begin_anew()
            exonerated = self._streak.blames_the_table
            wrongly_dead, self._streak = self._streak, self._streak.begin_anew()
            self._hold.end()
            recovered, self._said = self._said is not None, None
        if exonerated:
            # A neighbour may have dead-lettered its record just before the verdict.
            self._redrive(lambda key: key in wrongly_dead)
        if recovered:
            _logger.warning("table %s is written again", self._writer.table_name)

    def _judge(
        self, part: list[PendingRecord], error: Exception, outcome: _Round
    ) -> list[list[PendingRecord]]:
        """Settle a part that failed; return the parts that it is halved into, to go on with."""
        cause = error.last_exception if isinstance(error, RetryExhaustedError) else error
        kind = FailureKind.OUTAGE if cause is None else classify_failure(cause)
        if cause is None or kind not in (FailureKind.REJECTED, FailureKind.REFUSED):
            if kind is FailureKind.OUTAGE:
                self._suspect(part, cause or error, outcome)
            else:
                outcome.retry += part
                outcome.failure = cause
            return []
        if kind is FailureKind.REFUSED:
            self._note_failure(part)
        if len(part) > 1:
            middle = len(part) // 2
            return [part[middle:], part[:middle]]
        reason = summarize_failure(cause)
        if kind is FailureKind.REFUSED:
            self._judge_refusal(part[0], cause, outcome)
            return []
        outcome.rejected.append((part[0], reason))
        with self._lock:
            self._streak.record_rejection(part[0].key, reason)
        return []

    def _suspect(self, part: list[PendingRecord], failure: BaseException, outcome: _Round) -> None:
        """Send what failed in smaller company from now on: one record may be the reason.

        One that fails alone, after others were written since it failed first, is: it waits apart.
        """
        record, is_alone = part[0], len(part) == 1
        if not may_be_applied(failure):
            outcome.retry += part
            outcome.failure = failure
            return
        for each in part:
            each.company = max(1, len(part) // 2)
        if is_alone and (self._is_proven(record) or record.times_apart):
            outcome.apart.append((record, failure))
            return
        self._note_failure(part)
        # Behind the others, so that they are not kept by it.
        outcome.last += part
        outcome.newest_next = is_alone
        outcome.failure = failure

    def _note_failure(self, part: list[PendingRecord]) -> None:
        for record in part:
            if record.failed_at is None:
                record.failed_at = self._successes

    def _is_proven(self, record: PendingRecord) -> bool:
        """Whether others were written since a request with the record failed first."""
        return record.failed_at not in (None, self._successes)

    def _judge_refusal(
        self, record: PendingRecord, failure: BaseException, outcome: _Round
    ) -> None:
        """Settle a record that was refused alone; what it means the others say."""
        if self._is_proven(record):
            outcome.apart.append((record, failure))
            return
        record.company = 1
        outcome.refused.append((record, failure))
        with self._lock:
            self._refusals.record_rejection(record.key, summarize_failure(failure))
            if self._refusals.blames_the_table:
                outcome.failure = failure

    def _conclude(self, outcome: _Round) -> FlushResult[PendingRecord]:
        failure = outcome.failure
        kind = None if failure is None else classify_failure(failure)
        if failure is not None and kind in (FailureKind.MISCONFIGURED, FailureKind.REFUSED):
            newest_next = kind is FailureKind.REFUSED
            return self._hold_back(outcome, summarize_failure(failure), newest_next=newest_next)
        with self._lock:
            is_written = self._successes > 0 and self._said is None
        if outcome.refused and not is_written:
            reason = summarize_failure(outcome.refused[-1][1])
            return self._hold_back(outcome, reason, newest_next=True)
        outcome.apart += outcome.refused
        outcome.refused = []
        with self._lock:
            streak = self._streak
            is_blamed = bool(outcome.rejected) and streak.blames_the_table
        if is_blamed:
            self._redrive(lambda key: key in streak)
            # One of the others that is written refutes the verdict.
            return self._hold_back(outcome, outcome.rejected[-1][1], newest_next=True)
        return FlushResult(
            outcome.retry + outcome.last,
            outcome.rejected,
            self._choose_delay(failure),
            outcome.newest_next,
            self._set_apart(outcome),
        )

    def _set_apart(self, outcome: _Round) -> list[tuple[PendingRecord, float]]:
        """Have these records wait by themselves, and say so once for each reason."""
        apart: list[tuple[PendingRecord, float]] = []
        for record, failure in outcome.apart:
            reason = summarize_failure(failure)
            record.company = 1
            record.times_apart += 1
            apart.append((record, choose_pause(record.times_apart)))
            with self._lock:
                is_news, self._said_apart = self._said_apart != reason, reason
            if classify_failure(failure) is FailureKind.REFUSED:
                self._emit(DeliveryEventKind.MISCONFIGURED, 1, reason)
            if is_news:
                _logger.error(
                    "table %s: a record fails by itself, while others are written: %s. It waits "
                    "apart, and is tried again by itself; next try in %.0f s.",
                    self._writer.table_name,
                    reason,
                    apart[-1][1],
                )
        return apart

    def _choose_delay(self, failure: BaseException | None) -> float | None:
        """Return the queue's delay in seconds; None is its own growing backoff, for an outage."""
        if isinstance(failure, CircuitBreakerOpenError):
            return min(max(failure.retry_after, SHORTEST_OPEN_DELAY), LONGEST_OPEN_DELAY)
        if failure is None or classify_failure(failure) is FailureKind.THROTTLED:
            return 0.0  # The pace is the backoff.
        return None

    def _hold_back(
        self, outcome: _Round, reason: str, *, newest_next: bool = False
    ) -> FlushResult[PendingRecord]:
        """Keep every record while the table or the credentials are wrong, and say so once."""
        judged: Sequence[tuple[PendingRecord, object]] = (*outcome.rejected, *outcome.refused)
        records = [record for record, _ in judged] + outcome.retry + outcome.last
        with self._lock:
            delay = self._hold.begin(self._clock())
            is_news, self._said = self._said != reason, reason
        self._writer.renew()
        self._emit(DeliveryEventKind.MISCONFIGURED, len(records), reason)
        if is_news:
            _logger.error(
                "table %s cannot be written: %s. The records wait; next try in %.0f s.",
                self._writer.table_name,
                reason,
                delay,
            )
        return FlushResult(records, (), delay, newest_next, self._set_apart(outcome))


def _divide(batch: Sequence[PendingRecord], max_bytes: float) -> list[list[PendingRecord]]:
    """Return the requests of a batch, the last one first, with those that failed before at last."""
    parts: list[list[PendingRecord]] = []
    company, room = 0, 0.0
    for record in sorted(batch, key=lambda record: -record.company):
        is_full = not parts or len(parts[-1]) >= company or record.size > room
        if is_full or record.company != company:
            parts.append([])
            company, room = record.company, max_bytes
        parts[-1].append(record)
        room -= record.size
    return parts[::-1]
