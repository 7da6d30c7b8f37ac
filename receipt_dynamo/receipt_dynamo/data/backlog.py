"""A journal that this process holds, and how far its records have been handed to the queue."""

from __future__ import annotations

from receipt_dynamo.data.journal import ROW_OVERHEAD, Journal, JournalCounts
from receipt_dynamo.data.journal_directory import HeldJournal
from receipt_dynamo.data.pending_record import PendingRecord, Watch, read_key


class Backlog:
    """The rows of one journal. Not thread-safe by itself.

    Attributes:
        held: The journal and its lease.
        is_lost: Whether the file was damaged and set aside.
        waiting: Pending rows that are not in memory.
        rows: All rows, dead letters included.
        bytes: What they take, roughly.
        watches: Who wants to know of a row that is not in memory, by its number.
    """

    def __init__(self, held: HeldJournal, counts: JournalCounts) -> None:
        self.held = held
        self.is_lost = False
        self.waiting = counts.pending
        self.rows = counts.pending + counts.dead
        self.bytes = counts.bytes
        self.watches: dict[int, Watch] = {}
        self._handed_out = 0

    @property
    def journal(self) -> Journal:
        """The journal itself."""
        return self.held.journal

    def append(self, record: PendingRecord) -> None:
        """Commit ``record``, which stays in memory as well until :meth:`spill`."""
        record.seq = self.journal.append(record.body)
        record.backlog = self
        self.rows += 1
        self.bytes += record.size + ROW_OVERHEAD

    def keep_in_memory(self, record: PendingRecord) -> None:
        """Note that the record just appended is with the queue."""
        self._handed_out = record.seq

    def spill(self, record: PendingRecord) -> None:
        """Note that the record just appended is on disk only."""
        self.waiting += 1
        if record.watch is not None:
            self.watches[record.seq] = record.watch

    def read(self, limit: int) -> list[PendingRecord]:
        """Return the next waiting records, in order; they wait until :meth:`hand_out`."""
        return [
            PendingRecord(read_key(row.item), row.item, self, row.seq, self.watches.get(row.seq))
            for row in self.journal.read_pending(self._handed_out, limit)
        ]

    def hand_out(self, records: list[PendingRecord]) -> None:
        """Note that what :meth:`read` returned is with the queue from now on."""
        if not records:
            self.waiting = 0  # Erased by hand, or never there.
            return
        self._handed_out = records[-1].seq
        self.waiting = max(0, self.waiting - len(records))
        for record in records:
            self.watches.pop(record.seq, None)

    def forget(self, records: list[PendingRecord]) -> None:
        """Note that these rows are gone."""
        self.rows -= len(records)
        self.bytes -= sum(record.size + ROW_OVERHEAD for record in records)
