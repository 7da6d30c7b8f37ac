"""The records of one journal, and how far they have been handed to the queue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from receipt_dynamo.data.batch_write import MAX_BATCH_ITEMS
from receipt_dynamo.data.delivery.ages import PendingAges, RowAges
from receipt_dynamo.data.delivery.reports import Watch
from receipt_dynamo.data.journal.directory import HeldJournal
from receipt_dynamo.data.journal.journal import ROW_OVERHEAD, JournalRow
from receipt_dynamo.entities.item_key import Key
from receipt_dynamo.entities.stored_item import find_key


class PendingRecord:
    """One accepted record, as the bytes that go on the wire.

    Attributes:
        key: Its PK and SK.
        body: DynamoDB's JSON of its item.
        size: Of that, in bytes.
        watch: Who wants to know what becomes of it, if anybody does.
        backlog: Whose row it is; None when it is in memory only.
        seq: Number of the row.
        order: The number under which it was accepted: a dead letter that comes back has
            a new one, and is not newer for that.
        attempts: How often it was sent.
        since: Since when it has been pending, as :class:`PendingAges` says it; None while it
            is not counted there.
        earlier: The record that it replaced, of the same key, which is settled with it.
        company: So many records at most are in its requests; fewer after each that failed.
        failed_at: After how many written requests of the sender one with it failed for the
            first time; None is never.
        times_apart: How often it was set apart.
    """

    __slots__ = (
        *("attempts", "backlog", "body", "company", "earlier", "failed_at"),
        *("key", "order", "seq", "since", "size", "times_apart", "watch"),
    )

    def __init__(self, key: Key, body: bytes, watch: Watch | None = None) -> None:
        self.key = key
        self.body = body
        self.size = len(body)
        self.watch = watch
        self.backlog: Backlog | None = None
        self.seq = self.order = 0
        self.attempts = 0
        self.since: float | None = None
        self.earlier: PendingRecord | None = None
        self.company = MAX_BATCH_ITEMS
        self.failed_at: int | None = None
        self.times_apart = 0

    def __repr__(self) -> str:
        return f"<PendingRecord of {self.size} bytes>"

    def is_newer_than(self, other: PendingRecord) -> bool:
        """Whether the journals say so, in whatever order the two came from there."""
        if self.backlog is other.backlog:
            return self.order > other.order
        # What a dead process left is older than what this one accepts.
        return other.is_adopted and not self.is_adopted

    @property
    def is_adopted(self) -> bool:
        """Whether another process accepted it."""
        return self.backlog is not None and self.backlog.is_adopted

    def chain(self) -> Iterator[PendingRecord]:
        """Iterate over the record and those that it replaced."""
        record: PendingRecord | None = self
        while record is not None:
            yield record
            record = record.earlier


def merge_records(earlier: PendingRecord, later: PendingRecord) -> PendingRecord:
    """Return the later record, which now stands for both: the last write wins."""
    if earlier.is_newer_than(later):
        earlier, later = later, earlier
    oldest = later
    while oldest.earlier is not None:
        oldest = oldest.earlier
    oldest.earlier = earlier
    return later


class Backlog:
    """The rows of one journal. Not thread-safe: its owner has the lock.

    Args:
        held: The journal and its lease.
        ages: Since when each record waits; what the journal holds is counted there.
        is_adopted: Whether another process wrote it.
        since: Since when what it holds has waited; by default from now on.

    Attributes:
        held: The journal and its lease.
        journal: The journal itself.
        is_adopted: Whether another process wrote it.
        is_lost: Whether the file was damaged and set aside.
        on_disk: Pending rows that are not in memory.
        rows: All rows, dead letters included.
        bytes: What they take, roughly.
        watches: Who wants to know of a row that is not in memory, by its number.
        handed_out: The number of the last row that was handed out or kept in memory.
        kept: The numbers of later rows whose records are in memory too.
    """

    def __init__(
        self,
        held: HeldJournal,
        ages: PendingAges,
        *,
        is_adopted: bool = False,
        since: float | None = None,
    ) -> None:
        counts = held.counts
        self.held = held
        self.journal = held.journal
        self.is_adopted = is_adopted
        self.is_lost = False
        self.on_disk = counts.pending
        self.rows = counts.pending + counts.dead
        self.bytes = counts.bytes
        self.watches: dict[int, Watch] = {}
        self.handed_out: int | None = None
        self.kept: set[int] = set()
        self._row_ages = RowAges(ages)
        self._row_ages.enter(counts.pending, since=since)
        # Of dead letters that came back, by their new numbers.
        self._orders: dict[int, int] = {}

    def append(self, record: PendingRecord) -> None:
        """Commit ``record``, which is then either kept in memory or left on disk."""
        record.seq = record.order = self.journal.append(record.body)
        record.backlog = self
        self.rows += 1
        self.bytes += record.size + ROW_OVERHEAD

    def append_all(self, records: Sequence[PendingRecord]) -> None:
        """Commit records that were in memory only, and stay there; all of them or none."""
        seqs = self.journal.append_all([record.body for record in records])
        for seq, record in zip(seqs, records, strict=True):
            record.seq = record.order = seq
            record.backlog = self  # Last: whoever compares two records in between finds none.
            if self.on_disk:
                self.kept.add(seq)
            else:
                self.handed_out = seq
        self.rows += len(records)
        self.bytes += sum(record.size + ROW_OVERHEAD for record in records)

    def leave_on_disk(self, record: PendingRecord) -> None:
        """Count the record just appended as not in memory."""
        self.on_disk += 1
        if record.since is not None:
            self._row_ages.add(record.seq, record.since)
        if record.watch is not None:
            self.watches[record.seq] = record.watch

    def redrive(self, row: JournalRow) -> bool:
        """Make a dead letter pending again, behind all others; False when it is damaged."""
        seq = self.journal.redrive(row)
        if seq is None:
            return False
        self.on_disk += 1
        self._row_ages.enter(1, first=seq)
        self._orders[seq] = self._orders.pop(row.seq, row.seq)
        return True

    def read(self, limit: int) -> list[JournalRow]:
        """Return the next rows on disk, in order; they stay there until :meth:`hand_out`."""
        return self.journal.read_pending(self.handed_out, limit)

    def hand_out(self, rows: list[JournalRow]) -> tuple[list[PendingRecord], list[JournalRow]]:
        """Make records of what :meth:`read` returned, which are with the queue from now on.

        Returns:
            The records, and the rows that are damaged.
        """
        records: list[PendingRecord] = []
        damaged: list[JournalRow] = []
        for row in rows:
            if self.handed_out is not None and row.seq <= self.handed_out:
                continue
            if row.seq in self.kept:
                self.kept.discard(row.seq)
                self.handed_out = row.seq
                continue
            since = self._row_ages.take(row.seq)
            key = find_key(row.item) if row.is_whole else None
            if key is None:
                self._row_ages.ages.leave(since)
                damaged.append(row)
            else:
                records.append(self._make_record(key, row, since))
            self.handed_out = row.seq
        self.on_disk = max(0, self.on_disk - len(records) - len(damaged))
        return records, damaged

    def _make_record(self, key: Key, row: JournalRow, since: float) -> PendingRecord:
        record = PendingRecord(key, row.item, self.watches.pop(row.seq, None))
        record.backlog = self
        record.seq = row.seq
        record.order = self._orders.get(row.seq, row.seq)
        record.attempts = row.attempts
        record.since = since
        return record

    def continue_in(self, held: HeldJournal) -> Backlog:
        """Return the backlog of the journal that holds by now what this damaged one held."""
        ages, since = self._row_ages.ages, self._row_ages.find_oldest()
        backlog = Backlog(held, ages, is_adopted=self.is_adopted, since=since)
        backlog.watches, self.watches = self.watches, {}
        return backlog

    def take_lost_watches(self) -> list[Watch]:
        """Return who still watches rows when none is on disk any more: they were damaged."""
        if self.on_disk or not self.watches:
            return []
        return self.give_up()[1]

    def give_up(self) -> tuple[int, list[Watch]]:
        """Give up the rows on disk, which cannot be read; return their number and watchers."""
        lost, self.on_disk = self.on_disk, 0
        self._row_ages.give_up()
        watches = list(self.watches.values())
        self.watches.clear()
        return lost, watches

    def forget(self, records: list[PendingRecord]) -> None:
        """Count these rows as deleted."""
        self.rows -= len(records)
        self.bytes -= sum(record.size + ROW_OVERHEAD for record in records)
        self.kept.difference_update(record.seq for record in records)
        if self._orders:
            for record in records:
                self._orders.pop(record.seq, None)
