"""The whole delivery engine against a small independent model, under everything that can happen.

Real: the queue, the sender, the breaker, the journal on disk, botocore. Simulated: the clock,
the threads, and DynamoDB behind botocore's last step. All is done in the test's own thread;
what two senders do at once is done by one while the other's request is under way.
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

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from receipt_dynamo import CircuitBreakerState, DeliveryEvent, DeliveryEventKind
from receipt_dynamo.data import journal, record_store
from receipt_dynamo.data.adoption import INTERVAL
from receipt_dynamo.data.batch_sender import PROBE_RECORDS
from receipt_dynamo.data.batch_write import Key
from receipt_dynamo.data.delivery import Delivery
from receipt_dynamo.data.delivery_settings import DeliverySettings
from receipt_dynamo.data.journal_health import RETRY_DELAY
from receipt_dynamo.data.pacing import FLOOR, STEP
from receipt_dynamo.data.pending_record import DeliveryReport, Fate
from receipt_dynamo.data.table_identity import TABLE_ARN
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
from simulation.disk import DELETE, INSERT, READ, UPDATE
from simulation.engine import Simulation, make_item, read_number, run_due
from simulation.table import Item

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


class CrashError(BaseException):
    """The process dies here."""


@dataclass
class Record:
    """One accepted record, as the model knows it."""

    number: int
    key: Key
    is_poison: bool
    is_durable: bool
    life: int
    reports: list[DeliveryReport] = field(default_factory=list)
    is_redriven: bool = False

    @property
    def fate(self) -> Fate | None:
        return self.reports[0].fate if self.reports else None


class Row(NamedTuple):
    """A record on disk."""

    reason: str | None
    is_proven: bool


class Life:
    """One process: an engine, and what it told."""

    def __init__(self, number: int, delivery: Delivery, described: int) -> None:
        self.number = number
        self.delivery = delivery
        self.described = described
        self.met_trouble = False
        self.accepted = 0
        self.refused: Counter[str] = Counter()
        self.redriven = 0
        self.told: Counter[DeliveryEventKind] = Counter()
        self.paced_successes: int | None = None
        delivery.events.add(self._note)
        delivery.breaker.add_listener(self._note_breaker)

    def _note(self, event: DeliveryEvent) -> None:
        self.told[event.kind] += event.records

    def _note_breaker(self, event: object) -> None:
        if self.delivery.breaker.state is not CircuitBreakerState.CLOSED:
            self.paced_successes = 0


class DeliveryAgainstModel(RuleBasedStateMachine):
    """The model is the list of accepted records, searched through each time."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="delivery-model-"))
        self.simulation = Simulation(self.folder)
        self.host, self.table = self.simulation.host, self.simulation.table
        self.table.on_request = self.check_request
        self.table.on_answer = self.check_answer
        self.records: list[Record] = []
        self.meanwhile: list[Callable[[], object]] = []
        self.broken: list[str] = []
        self.last_trouble = -RETRY_DELAY
        self.lives = 0
        self.was_wrong = False
        self.dropped = 0
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
        batch_size=st.sampled_from([1, 3, 25]),
        batches=st.booleans(),
        attempts=st.sampled_from([1, 3]),
        threshold=st.sampled_from([1, 5]),
        is_small=st.booleans(),
        is_proven=st.booleans(),
    )
    def begin(
        self,
        durability: Any,
        overflow: Any,
        batch_size: int,
        batches: bool,
        attempts: int,
        threshold: int,
        is_small: bool,
        is_proven: bool,
    ) -> None:
        self.is_journaled = durability == "journal"
        self.settings = DeliverySettings(
            durability=durability,
            overflow=overflow,
            batch_size=batch_size,
            enable_batch_processing=batches,
            max_retry_attempts=attempts,
            circuit_breaker_threshold=threshold,
            max_pending_records=6 if is_small else 10_000,
            journal_max_bytes=4_000 if is_small else 1_000_000,
        )
        self.start()
        if is_proven:
            self.put(key=None, poison=None, count=1)
            self.flush(60.0)

    def start(self) -> None:
        self.lives += 1
        delivery = self.simulation.open(self.settings)
        self.life = Life(self.lives, delivery, self.table.described)
        delivery.events.add(self.note)

    def note(self, event: DeliveryEvent) -> None:
        if event.kind is DeliveryEventKind.DROPPED:
            self.dropped += event.records

    def do(self, step: Callable[[], object]) -> None:
        """Take a step, in which the process may die."""
        try:
            step()
        except CrashError:
            self.let_go()
            self.start()

    def let_go(self) -> None:
        self.meanwhile.clear()
        if self.table.described == self.life.described or self.life.met_trouble:
            self.unprovable.add(self.life.number)
        self.simulation.disk.crash()

    # ------------------------------------------------------------------ what may happen

    @rule(
        key=st.sampled_from([None, None, None, "a", "b"]),
        poison=st.sampled_from([None] * 8 + COMPLAINTS),
        count=st.sampled_from([1, 1, 2, 7, 30]),
    )
    def put(self, key: str | None, poison: str | None, count: int) -> None:
        for _ in range(count):
            self.put_one(key, poison)

    def put_one(self, key: str | None, poison: str | None) -> bool:
        number = len(self.records) + 1
        words = {} if poison is None else {"poison": poison}
        full_key, body = make_item(number, key, **words)
        record = Record(number, full_key, poison is not None, False, self.life.number)
        self.records.append(record)  # it may be delivered before accept returns
        undurable = self.life.delivery.get_stats().undurable
        refusal = self.life.delivery.accept(
            full_key, body, lambda report: self.take_report(record, report)
        )
        if refusal is not None:
            self.records.remove(record)
            self.life.refused[refusal] += 1
            assert refusal == "full"
            return False
        self.life.accepted += 1
        is_undurable = self.life.delivery.get_stats().undurable > undurable
        record.is_durable = self.is_journaled and not is_undurable
        if is_undurable:
            assert self.is_journaled
            assert self.is_denied(INSERT) or self.host.now < self.last_trouble + RETRY_DELAY
        return True

    def take_report(self, record: Record, report: DeliveryReport) -> None:
        assert record.life == self.life.number
        record.reports.append(report)
        if report.fate is Fate.DELIVERED and not self.is_stored(record):
            self.broken.append(f"{record} is not in the table")

    @rule()
    def send(self) -> None:
        self.do(lambda: run_due(self.life.delivery._queue))

    @rule()
    def do_chores(self) -> None:
        run_due(self.life.delivery._chores)
        run_due(self.life.delivery._looks)

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 31.0, 301.0]))
    def wait(self, seconds: float) -> None:
        self.host.now += seconds

    @rule(timeout=st.sampled_from([0.0, 1.0, 20.0]))
    def flush(self, timeout: float) -> None:
        self.do(lambda: self.flush_now(timeout))

    def flush_now(self, timeout: float) -> None:
        before = self.own_records()
        if self.life.delivery.flush(timeout):
            assert all(record.reports for record in before)

    @rule()
    def redrive(self) -> None:
        dead = self.life.delivery.get_stats().dead
        numbers = {read_number(body) for body, _, _ in self.life.delivery.read_dead()}
        count = self.life.delivery.redrive()
        assert count <= dead
        self.life.redriven += count
        for record in self.records:
            record.is_redriven = record.is_redriven or record.number in numbers

    @rule(faults=st.lists(st.sampled_from([None, *FAULTS]), min_size=1, max_size=6))
    def fail(self, faults: list[Any]) -> None:
        self.table.faults.extend(faults)

    @rule(is_down=st.booleans())
    def lose_the_network(self, is_down: bool) -> None:
        self.table.is_down = is_down

    @rule(refusal=st.sampled_from([None, *REFUSALS]))
    def misconfigure(self, refusal: str | None) -> None:
        self.table.refusal = refusal

    @rule(complaint=st.sampled_from([None, None, WRONG_KEYS]))
    def use_a_wrong_table(self, complaint: str | None) -> None:
        self.table.complaint = complaint
        self.was_wrong = self.was_wrong or complaint is not None

    @precondition(lambda self: self.is_journaled)
    @rule(actions=st.sets(st.sampled_from([READ, INSERT, UPDATE, DELETE]), max_size=4))
    def break_the_disk(self, actions: set[int]) -> None:
        self.deny(*actions)

    @rule(key=st.sampled_from([None, "a", "b"]))
    def put_during_a_request(self, key: str | None) -> None:
        self.meanwhile.append(lambda: self.put_one(key, None))

    @rule()
    def send_during_a_request(self) -> None:
        self.meanwhile.append(self.send_beside)

    def send_beside(self) -> None:
        if self.table.in_flight < self.settings.senders:
            run_due(self.life.delivery._queue)

    @rule()
    def crash(self) -> None:
        self.let_go()
        self.start()

    @rule()
    def crash_during_a_request(self) -> None:
        def die() -> None:
            raise CrashError

        self.meanwhile.append(die)

    @rule(timeout=st.sampled_from([0.0, 3.0, 60.0]))
    def close_and_start_again(self, timeout: float) -> None:
        self.do(lambda: self.close(timeout))

    def close(self, timeout: float) -> None:
        delivery = self.life.delivery
        report = delivery.close(timeout)
        stats = delivery.get_stats()
        assert report == delivery.close(0.0)
        assert (report.delivered, report.dead) == (stats.delivered, stats.dead)
        assert report.pending == stats.pending == report.on_disk + report.lost
        own = self.own_records()
        assert all(record.reports for record in own)
        if self.is_journaled and not stats.undurable and not self.is_denied(READ):
            assert report.lost == 0
        assert delivery.accept(("p", "late"), b"{}", None) == "stopped"
        self.let_go()
        self.start()

    # ------------------------------------------------------------------ what the model knows

    def deny(self, *actions: int) -> None:
        self.simulation.disk.deny(*actions)
        if INSERT in actions:
            self.last_trouble = self.host.now
            self.life.met_trouble = True

    def is_denied(self, action: int) -> bool:
        if action not in self.simulation.disk.denied:
            return False
        self.last_trouble = self.host.now
        return True

    def own_records(self) -> list[Record]:
        return [record for record in self.records if record.life == self.life.number]

    def is_stored(self, record: Record) -> bool:
        """Whether DynamoDB has held that write, or a later one of the same key."""
        history = self.table.history.get(record.key, [])
        return any(read_number(item) >= record.number for item in history)

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
        if life.paced_successes is not None and len(self.table.attempts) > 1:
            gap = self.table.attempts[-1].start - self.table.attempts[-2].start
            pace = FLOOR + STEP * life.paced_successes
            if gap < 1 / pace - 1e-6:
                self.broken.append(f"{gap} s after the last request, at a pace below {pace}")
        if self.meanwhile:
            self.meanwhile.pop(0)()

    def check_answer(self) -> None:
        if self.life.paced_successes is not None:
            self.life.paced_successes += 1

    @invariant()
    def all_is_well(self) -> None:
        if self.lives:
            self.check_conduct()
            self.check_reports()
            self.check_accounts()
            self.check_disk()

    def check_conduct(self) -> None:
        assert self.table.illegal == []
        assert self.broken == []

    def check_disk(self) -> None:
        """Each durable record is on disk until DynamoDB has it, or it was dropped."""
        if not self.is_journaled:
            return
        on_disk = self.read_disk()
        gone = [
            record
            for record in self.records
            if record.is_durable and record.number not in on_disk and not self.is_stored(record)
        ]
        # What a dead process had accepted is dropped without a report, but counted.
        untold = [record for record in gone if record.fate is not Fate.DROPPED]
        assert all(record.life < self.life.number for record in untold), untold
        told = sum(record.fate is Fate.DROPPED for record in self.records)
        assert len(untold) <= self.dropped - told, untold

    def check_reports(self) -> None:
        for record in self.records:
            assert len(record.reports) <= 1, record
            if record.fate is Fate.DEAD:
                assert self.may_be_rejected(record), record

    def may_be_rejected(self, record: Record) -> bool:
        """Whether it or a later one that stood for it is poison, or met a wrong table."""
        if self.was_wrong:
            return True
        same_key = [other for other in self.records if other.key == record.key]
        return any(other.is_poison and other.number >= record.number for other in same_key)

    def check_accounts(self) -> None:
        life, stats = self.life, self.life.delivery.get_stats()
        settled = stats.delivered + stats.dead + stats.dropped
        assert stats.accepted + stats.adopted == settled + stats.pending
        assert stats.accepted == life.accepted
        assert stats.refused == life.refused
        assert stats.delivered == life.told[DeliveryEventKind.DELIVERED]
        assert stats.dropped == life.told[DeliveryEventKind.DROPPED]
        assert stats.adopted == life.told[DeliveryEventKind.ADOPTED]
        assert stats.throttled == life.told[DeliveryEventKind.THROTTLED]
        assert stats.pending == self.count_held() + stats.spilled

    def count_held(self) -> int:
        return self.life.delivery._queue.get_stats().pending

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
        self.host.now += max(RETRY_DELAY, INTERVAL)
        for _ in range(20):
            is_accepted = self.put_one(None, None)
            is_done = self.life.delivery.flush(1_000.0)
            # What was rejected before it turned out to be no fault of the table comes back once.
            if is_done and not self.life.delivery.get_stats().pending:
                break
        self.all_is_well()
        on_disk = self.read_disk()
        pending = self.life.delivery.get_stats().pending
        # Nothing but poison, as far as memory reaches, looks like a wrong table, and waits.
        is_full = self.count_held() * 2 > self.settings.max_pending_records
        assert not pending or not is_accepted or is_full
        for record in self.records:
            assert self.is_at_its_end(record, on_disk.get(record.number), pending), record
        assert self.life.delivery.close(60.0).pending == pending
        self.let_go()

    def is_at_its_end(self, record: Record, row: Row | None, pending: int) -> bool:
        if record.fate is Fate.DROPPED or self.is_stored(record):
            return True
        if record.is_durable and row is None:
            return True  # Dropped, or check_disk would have said so.
        if record.fate is Fate.DEAD or (row and row.reason):
            return self.may_be_rejected(record)
        if record.life in self.unprovable and row and not row.is_proven:
            return True  # Nobody knows which table it was for.
        if record.life < self.life.number:
            return not record.is_durable or pending > 0
        return pending > 0


DeliveryAgainstModel.TestCase.settings = settings(
    max_examples=settings.default.max_examples * 6 // 10,
    stateful_step_count=40,
    report_multiple_bugs=False,
)
TestDeliveryAgainstModel = DeliveryAgainstModel.TestCase
