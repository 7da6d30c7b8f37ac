"""The whole delivery engine against a small independent model, under everything that can happen.

Real: the queue, the sender, the breaker, the journal on disk, botocore. Simulated: the clock,
the threads, and DynamoDB behind botocore's last step. All is done in the test's own thread;
what several threads do at once is done while a request is under way, or while a sender waits.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from receipt_dynamo import CircuitBreakerState, DeliveryEvent, DeliveryEventKind, DeliveryStats
from receipt_dynamo.data.delivery import record_store
from receipt_dynamo.data.delivery.adoption import INTERVAL
from receipt_dynamo.data.delivery.chores import RETRY_DELAY
from receipt_dynamo.data.delivery.delivery import Delivery
from receipt_dynamo.data.delivery.pacing import FLOOR, STEP
from receipt_dynamo.data.delivery.reports import DeliveryReport, Fate
from receipt_dynamo.data.delivery.sender import PROBE_RECORDS
from receipt_dynamo.data.delivery.settings import DeliverySettings
from receipt_dynamo.data.journal import journal
from receipt_dynamo.data.table.evidence import TABLE_ARN
from receipt_dynamo.entities.item_key import Key
from receipt_dynamo.testing import (
    Corrupt,
    EmptyReply,
    ErrorReply,
    LostReply,
    Reset,
    ServerErrorAfterApply,
    Stall,
    Throttle,
    Truncated,
    UnprocessedItems,
    WrongChecksum,
)
from support.simulation.disk import DELETE, INSERT, READ, UPDATE
from support.simulation.machine import Simulation, make_item, read_number, run_due, run_for
from support.simulation.table import Item

FAULTS: Final = [
    Throttle(),
    Throttle("ThrottlingException", ("a reason", "another")),
    Throttle("RequestLimitExceeded", ()),
    UnprocessedItems(share=0.5),
    UnprocessedItems(share=1.0),
    ErrorReply(500, "InternalServerError", "no"),
    ErrorReply(503, "ServiceUnavailable", "no"),
    ServerErrorAfterApply(),
    LostReply(),
    Reset(),
    Stall(),
    Truncated(),
    Truncated(full_length=True),
    Corrupt(),
    Corrupt(at=3, mask=1),
    WrongChecksum(),
    EmptyReply(),
]
REFUSALS: Final = [
    "ExpiredTokenException",
    "AccessDeniedException",
    "ResourceNotFoundException",
    "KMSDisabledException",
]
COMPLAINTS: Final = ["Item size has exceeded the maximum allowed size", "Type mismatch for key"]
WRONG_KEYS: Final = "The provided key element does not match the schema"

KEYS: Final = st.sampled_from([None, None, None, "a", "b"])
POISON: Final = st.sampled_from([None] * 6 + COMPLAINTS)
COUNTS: Final = st.sampled_from([1, 1, 2, 7, 30])
SECONDS: Final = st.sampled_from([0.0, 0.0, 1.0, 6.0, 40.0, 400.0])
"""How long the workers go on after a step."""


class CrashError(BaseException):
    """The process dies here."""


@dataclass
class Record:
    """One accepted record, as the model knows it."""

    number: int
    key: Key
    is_poison: bool
    life: int
    is_durable: bool = False
    reports: list[DeliveryReport] = field(default_factory=list)

    @property
    def fate(self) -> Fate | None:
        return self.reports[0].fate if self.reports else None


class Row(NamedTuple):
    """A record on disk."""

    reason: str | None
    is_proven: bool


class Life:
    """One process: an engine, and what it told."""

    def __init__(self, number: int, delivery: Delivery, described: int, throttled: int) -> None:
        self.number = number
        self.delivery = delivery
        self.described = described
        self.throttled = throttled
        self.met_trouble = False
        self.accepted = 0
        self.refused: Counter[str] = Counter()
        self.told: Counter[DeliveryEventKind] = Counter()
        self.answers_since_outage: int | None = None
        delivery.events.add(self._note)
        delivery.breaker.add_listener(self._note_breaker)

    def _note(self, event: DeliveryEvent) -> None:
        self.told[event.kind] += event.records

    def _note_breaker(self, event: object) -> None:
        if self.delivery.breaker.state is not CircuitBreakerState.CLOSED:
            self.answers_since_outage = 0


class DeliveryAgainstModel(RuleBasedStateMachine):
    """The model is the list of accepted records, searched through each time."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="delivery-model-"))
        self.simulation = Simulation(self.folder)
        self.host, self.table = self.simulation.host, self.simulation.table
        self.table.on_request = self.check_request
        self.table.on_answer = self.check_answer
        self.host.on_wait = lambda: self.act_meanwhile(may_send=False)
        self.records: list[Record] = []
        self.meanwhile: list[Callable[[], object]] = []
        self.broken: list[str] = []
        self.lives = 0
        self.dropped = 0
        self.was_wrong = False
        self.last_trouble = -RETRY_DELAY
        self.unprovable: set[int] = set()
        self.patches = [
            patch.object(journal, "CHECKPOINT_COMMITS", 20),
            patch.object(record_store, "DELETES_AT_ONCE", 5),
        ]
        for change in self.patches:
            change.start()
        logging.disable()  # thousands of lines

    # ------------------------------------------------------------------ lives

    @initialize(
        durability=st.sampled_from(["journal", "journal", "memory"]),
        overflow=st.sampled_from(["refuse", "drop_oldest"]),
        batch_size=st.sampled_from([25, 3, 1]),
        attempts=st.sampled_from([3, 1]),
        threshold=st.sampled_from([5, 1]),
        is_small=st.booleans(),
    )
    def begin(
        self,
        durability: Any,
        overflow: Any,
        batch_size: int,
        attempts: int,
        threshold: int,
        is_small: bool,
    ) -> None:
        self.is_journaled = durability == "journal"
        self.settings = DeliverySettings(
            durability=durability,
            overflow=overflow,
            batch_size=batch_size,
            max_retry_attempts=attempts,
            circuit_breaker_threshold=threshold,
            max_pending_records=6 if is_small else 10_000,
            journal_max_bytes=4_000 if is_small else 1_000_000,
        )
        self.start()

    def start(self) -> None:
        self.lives += 1
        delivery = self.simulation.open(self.settings)
        self.life = Life(self.lives, delivery, self.table.described, self.table.throttled)
        delivery.events.add(self.note)

    def note(self, event: DeliveryEvent) -> None:
        if event.kind is DeliveryEventKind.DROPPED:
            self.dropped += event.records

    def let_go(self) -> None:
        """The process has ended, however it did."""
        self.meanwhile.clear()
        if self.table.described == self.life.described or self.life.met_trouble:
            self.unprovable.add(self.life.number)
        self.simulation.disk.crash()

    def go_on(self, seconds: float, step: Callable[[], object] = lambda: None) -> None:
        """Take a step, then let the workers go on; the process may die in between."""
        try:
            step()
            run_for(self.life.delivery, self.host, seconds)
        except CrashError:
            self.let_go()
            self.start()

    # ------------------------------------------------------------------ what may happen

    @rule(key=KEYS, poison=POISON, count=COUNTS, seconds=SECONDS)
    def put(self, key: str | None, poison: str | None, count: int, seconds: float) -> None:
        for _ in range(count):
            self.put_one(key, poison)
        self.go_on(seconds)

    @rule(
        faults=st.lists(st.sampled_from([None, *FAULTS]), min_size=1, max_size=6),
        count=COUNTS,
        seconds=SECONDS,
    )
    def put_while_dynamodb_fails(self, faults: list[Any], count: int, seconds: float) -> None:
        self.table.script(*faults)
        self.put(None, None, count, seconds)

    @rule(seconds=SECONDS, puts=st.booleans())
    def lose_the_network(self, seconds: float, puts: bool) -> None:
        self.table.down()
        self.put(None, None, int(puts), seconds)

    @rule(refusal=st.sampled_from(REFUSALS), seconds=SECONDS)
    def misconfigure(self, refusal: str, seconds: float) -> None:
        self.table.always(ErrorReply(400, refusal, "no"))
        self.put(None, None, 1, seconds)

    @rule(seconds=SECONDS)
    def use_a_wrong_table(self, seconds: float) -> None:
        self.table.always(ErrorReply(400, "ValidationException", WRONG_KEYS))
        self.was_wrong = True
        self.put(None, None, 1, seconds)

    @rule(seconds=SECONDS)
    def heal(self, seconds: float) -> None:
        self.table.heal()
        self.go_on(seconds)

    @precondition(lambda self: self.is_journaled)
    @rule(
        actions=st.sets(st.sampled_from([READ, INSERT, UPDATE, DELETE])),
        poison=POISON,
        count=COUNTS,
        seconds=SECONDS,
    )
    def break_the_disk(
        self, actions: set[int], poison: str | None, count: int, seconds: float
    ) -> None:
        self.deny(*actions)
        self.put(None, poison, count, seconds)

    @rule(key=KEYS, seconds=SECONDS, sends=st.booleans(), puts=st.integers(0, 3))
    def put_during_a_request(self, key: str | None, seconds: float, sends: bool, puts: int) -> None:
        self.meanwhile += [lambda: self.put_one(key, None)] * puts
        self.meanwhile += [self.send_beside] * sends
        self.put(key, None, 1, seconds)

    @rule(requests=st.integers(0, 2), count=COUNTS, seconds=SECONDS)
    def crash_during_a_request(self, requests: int, count: int, seconds: float) -> None:
        self.meanwhile += [lambda: None] * requests
        self.meanwhile.append(self.die)
        self.put(None, None, count, seconds)

    @rule()
    def crash(self) -> None:
        self.let_go()
        self.start()

    @rule(timeout=SECONDS)
    def flush(self, timeout: float) -> None:
        def flush() -> None:
            before = self.own_records()
            if self.life.delivery.flush(timeout):
                assert all(record.reports for record in before)

        self.go_on(0.0, flush)

    @rule(timeout=SECONDS)
    def close_and_start_again(self, timeout: float) -> None:
        def close() -> None:
            report = self.life.delivery.close(timeout)
            stats = self.life.delivery.get_stats()
            assert report == self.life.delivery.close(0.0)
            assert (report.delivered, report.dead) == (stats.delivered, stats.dead)
            assert report.pending == stats.pending == report.on_disk + report.lost
            assert all(record.reports for record in self.own_records())
            if self.is_journaled and not stats.undurable and READ not in self.denied:
                assert report.lost == 0
            assert self.life.delivery.accept(*make_item(0), None) == "stopped"
            raise CrashError

        self.go_on(0.0, close)

    @rule(seconds=SECONDS)
    def redrive(self, seconds: float) -> None:
        dead = self.life.delivery.get_stats().dead
        assert self.life.delivery.redrive() <= dead
        self.go_on(seconds)

    # ------------------------------------------------------------------ steps

    def put_one(self, key: str | None, poison: str | None) -> bool:
        number = len(self.records) + 1
        words = {} if poison is None else {"poison": poison}
        full_key, body = make_item(number, key, **words)
        record = Record(number, full_key, poison is not None, self.life.number)
        self.records.append(record)
        delivery = self.life.delivery
        undurable = delivery.get_stats().undurable
        refusal = delivery.accept(full_key, body, lambda report: self.take_report(record, report))
        if refusal is not None:
            self.records.remove(record)
            self.life.refused[refusal] += 1
            return False
        self.life.accepted += 1
        is_undurable = delivery.get_stats().undurable > undurable
        record.is_durable = self.is_journaled and not is_undurable
        if INSERT in self.denied:
            self.last_trouble = self.host.now
        if is_undurable and self.host.now >= self.last_trouble + RETRY_DELAY:
            self.broken.append(f"{record} is in memory only, although the disk is well")
        return True

    def take_report(self, record: Record, report: DeliveryReport) -> None:
        assert record.life == self.life.number
        record.reports.append(report)
        stored = [read_number(item) for item in self.table.history.get(record.key, [])]
        if report.fate is Fate.DELIVERED and max(stored, default=0) < record.number:
            self.broken.append(f"{record} is not in the table")

    def act_meanwhile(self, *, may_send: bool) -> None:
        if self.meanwhile and (may_send or self.meanwhile[0] != self.send_beside):
            self.meanwhile.pop(0)()

    def send_beside(self) -> None:
        if self.table.in_flight < self.settings.senders:
            run_due(self.life.delivery._queue)

    def die(self) -> None:
        raise CrashError

    def deny(self, *actions: int) -> None:
        if INSERT in self.denied or INSERT in actions:
            self.last_trouble = self.host.now
        self.simulation.disk.deny(*actions)
        self.life.met_trouble = self.life.met_trouble or bool(actions)

    # ------------------------------------------------------------------ what the model knows

    @property
    def denied(self) -> frozenset[int]:
        return self.simulation.disk.denied

    def own_records(self) -> list[Record]:
        return [record for record in self.records if record.life == self.life.number]

    def is_stored(self, record: Record) -> bool:
        """Whether DynamoDB has held that write, or a later one of the same key.

        Of what several dead processes left under one key nobody knows which is the latest.
        """
        stored = [read_number(item) for item in self.table.history.get(record.key, [])]
        return any(
            number >= record.number or record.life != self.records[number - 1].life
            for number in stored
        )

    def may_be_rejected(self, record: Record) -> bool:
        """Whether it or a later one that stood for it is poison, or may have met a wrong table."""
        return self.was_wrong or any(
            other.is_poison and other.key == record.key and other.number >= record.number
            for other in self.records
        )

    def read_disk(self) -> dict[int, Row]:
        """Return the rows of all journals, by number."""
        found = {}
        for path in self.folder.glob("*.db"):
            connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
            target = dict(connection.execute("SELECT name, value FROM target"))
            for item, reason in connection.execute("SELECT item, reason FROM records"):
                found[read_number(item)] = Row(reason, TABLE_ARN in target)
            connection.close()
        return found

    # ------------------------------------------------------------------ what must hold

    def check_request(self, items: list[Item]) -> None:
        life = self.life
        state = life.delivery.breaker.state
        if state is CircuitBreakerState.OPEN:
            self.broken.append("a request while the breaker is open")
        if state is CircuitBreakerState.HALF_OPEN and len(items) > PROBE_RECORDS:
            self.broken.append(f"a probe of {len(items)} records")
        if life.answers_since_outage is not None and len(self.table.starts) > 1:
            gap = self.table.starts[-1] - self.table.starts[-2]
            pace = FLOOR + STEP * life.answers_since_outage
            if gap < 1 / pace - 1e-6:
                self.broken.append(f"{gap} s after the last request, at a pace of {pace} at most")
        self.act_meanwhile(may_send=True)

    def check_answer(self) -> None:
        if self.life.answers_since_outage is not None:
            self.life.answers_since_outage += 1

    @invariant()
    def all_is_well(self) -> None:
        if self.lives:
            assert self.table.illegal == []
            assert self.broken == [], self.broken[0]
            self.check_reports()
            self.check_accounts(self.life.delivery.get_stats())
            self.check_disk()

    def check_reports(self) -> None:
        for record in self.records:
            assert len(record.reports) <= 1, record
            assert record.fate is not Fate.DEAD or self.may_be_rejected(record), record

    def check_accounts(self, stats: DeliveryStats) -> None:
        life, told = self.life, self.life.told
        settled = stats.delivered + stats.dead + stats.dropped
        assert stats.accepted + stats.adopted == settled + stats.pending
        ages = life.delivery._store._ages
        # A dead letter of the queue that comes back counts from when it is sent.
        assert sum(ages._records.values()) <= stats.pending
        assert stats.pending or stats.oldest_pending_seconds == 0.0
        assert (stats.accepted, stats.refused) == (life.accepted, life.refused)
        assert life.refused.keys() <= {"full"}
        assert stats.delivered == told[DeliveryEventKind.DELIVERED]
        assert stats.dropped == told[DeliveryEventKind.DROPPED]
        assert stats.adopted == told[DeliveryEventKind.ADOPTED]
        throttled = self.table.throttled - life.throttled
        assert stats.throttled == told[DeliveryEventKind.THROTTLED] == throttled
        queued = life.delivery._queue.get_stats()
        assert stats.pending == queued.pending + stats.spilled
        letters = len(list(life.delivery.read_dead()))
        # In memory one letter stands for all that it replaced.
        assert (
            letters == stats.dead
            if self.is_journaled and not life.met_trouble
            else letters <= stats.dead
        )
        unsettled = [record for record in self.own_records() if not record.reports]
        assert stats.pending >= len(unsettled)

    def check_disk(self) -> None:
        """Each durable record is on disk until DynamoDB has it, or it was dropped."""
        on_disk = self.read_disk()
        gone = [
            record
            for record in self.records
            if record.is_durable and record.number not in on_disk and not self.is_stored(record)
        ]
        # What a dead process had accepted is dropped without a report, but counted. So is a dead
        # letter that came back, when the table turned out to be wrong: one report is enough.
        untold = [record for record in gone if record.fate is not Fate.DROPPED]
        may_be_dropped = [
            record.life < self.life.number or record.fate is Fate.DEAD for record in untold
        ]
        assert all(may_be_dropped), untold
        told = sum(record.fate is Fate.DROPPED for record in self.records)
        assert len(untold) <= self.dropped - told, untold

    # ------------------------------------------------------------------ the end

    def teardown(self) -> None:
        try:
            if self.lives:
                self.end()
        finally:
            logging.disable(logging.NOTSET)
            for change in self.patches:
                change.stop()
            shutil.rmtree(self.folder)

    def end(self) -> None:
        """When all is well again, everything is settled, and the table is as it should be."""
        self.table.heal()
        self.meanwhile.clear()
        self.deny()
        run_for(self.life.delivery, self.host, max(RETRY_DELAY, INTERVAL))
        for _ in range(20):
            is_accepted = self.put_one(None, None)
            is_done = self.life.delivery.flush(1_000.0)
            # What was rejected before it turned out to be no fault of the table comes back once.
            if is_done and not self.life.delivery.get_stats().pending:
                break
        self.all_is_well()
        on_disk = self.read_disk()
        stats = self.life.delivery.get_stats()
        # Nothing but poison, as far as memory reaches, looks like a wrong table, and waits. It
        # reaches to half of the bound: then nothing is pulled from disk any more.
        is_full = (stats.pending - stats.spilled) * 2 >= self.settings.max_pending_records
        assert not stats.pending or not is_accepted or is_full
        # Where the disk could not be written when they were rejected, they are in memory.
        dead = self.life.delivery.read_dead()
        letters = {read_number(letter.item) for letter in dead if letter.item is not None}
        for record in self.records:
            row = on_disk.get(record.number)
            if record.number in letters:
                assert self.may_be_rejected(record), record
            else:
                assert self.is_at_its_end(record, row, stats.pending > 0), record
        assert self.life.delivery.close(60.0).pending == stats.pending
        self.let_go()

    def is_at_its_end(self, record: Record, row: Row | None, some_wait: bool) -> bool:
        if record.fate is Fate.DROPPED or self.is_stored(record):
            return True
        if record.fate is Fate.DEAD or (row and row.reason):
            return self.may_be_rejected(record)
        if row is None:
            return record.life < self.life.number or some_wait  # check_disk has seen to the durable
        if not row.is_proven:
            return some_wait or record.life in self.unprovable
        return some_wait


DeliveryAgainstModel.TestCase.settings = settings(
    max_examples=settings.default.max_examples * 6 // 10,
    stateful_step_count=30,
    report_multiple_bugs=False,
)
# Minutes in the thorough profile, and to make a failing example small.
TestDeliveryAgainstModel = pytest.mark.timeout(900)(DeliveryAgainstModel.TestCase)
