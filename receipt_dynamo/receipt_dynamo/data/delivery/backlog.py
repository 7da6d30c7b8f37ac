"""A journal that this process holds, and how far its records have been handed to the queue."""

from __future__ import annotations

from receipt_dynamo.data.delivery.pending_record import PendingRecord, Watch
from receipt_dynamo.data.journal.directory import HeldJournal
from receipt_dynamo.data.journal.journal import ROW_OVERHEAD, DeadRow, Journal, PendingRow
from receipt_dynamo.entities.stored_item import find_key


class Backlog:
    """The rows of one journal. Not thread-safe by itself.

    Attributes:
        held: The journal and its lease.
        is_adopted: Whether another process wrote it.
        is_lost: Whether the file was damaged and set aside.
        waiting: Pending rows that are not in memory.
        rows: All rows, dead letters included.
        bytes: What they take, roughly.
        watches: Who wants to know of a row that is not in memory, by its number.
        handed_out: The number of the last row that was handed out or kept in memory.
    """

    def __init__(self, held: HeldJournal, *, is_adopted: bool = False) -> None:
        counts = held.counts
        self.held = held
        self.is_adopted = is_adopted
        self.is_lost = False
        self.waiting = counts.pending
        self.rows = counts.pending + counts.dead
        self.bytes = counts.bytes
        self.watches: dict[int, Watch] = {}
        self.handed_out: int | None = None
        self._unplaced: int | None = None
        # Of dead letters that came back, by their new numbers.
        self._orders: dict[int, int] = {}

    @property
    def journal(self) -> Journal:
        """The journal itself."""
        return self.held.journal

    def append(self, record: PendingRecord) -> None:
        """Commit ``record``; :meth:`keep_in_memory` or :meth:`spill` is to follow.

        Nobody else hands it out in between.
        """
        record.seq = record.order = self._unplaced = self.journal.append(record.body)
        record.backlog = self
        self.rows += 1
        self.bytes += record.size + ROW_OVERHEAD

    def keep_in_memory(self, record: PendingRecord) -> None:
        """Note that the record just appended is with the queue."""
        self.handed_out = record.seq
        self._unplaced = None

    def spill(self, record: PendingRecord) -> None:
        """Note that the record just appended is on disk only."""
        self.waiting += 1
        self._unplaced = None
        if record.watch is not None:
            self.watches[record.seq] = record.watch

    def revive(self, row: DeadRow) -> bool:
        """Make a dead letter wait again, behind all others; False when it is damaged."""
        seq = self.journal.revive(row)
        if seq is None:
            return False
        self.waiting += 1
        self._orders[seq] = self._orders.pop(row.seq, row.seq)
        return True

    def read(self, limit: int) -> list[PendingRow]:
        """Return the next waiting rows, in order; they wait until :meth:`hand_out`."""
        return self.journal.read_pending(self.handed_out, limit)

    def hand_out(self, rows: list[PendingRow]) -> tuple[list[PendingRecord], list[PendingRow]]:
        """Make records of what :meth:`read` returned, which are with the queue from now on.

        Returns:
            The records, and the rows that are damaged.
        """
        records: list[PendingRecord] = []
        damaged: list[PendingRow] = []
        for row in rows:
            if row.seq == self._unplaced:
                break
            if self.handed_out is not None and row.seq <= self.handed_out:
                continue
            key = find_key(row.item) if row.is_whole else None
            if key is None:
                damaged.append(row)
            else:
                watch = self.watches.pop(row.seq, None)
                record = PendingRecord(key, row.item, self, row.seq, watch)
                record.order = self._orders.get(row.seq, row.seq)
                records.append(record)
            self.handed_out = row.seq
        self.waiting = max(0, self.waiting - len(records) - len(damaged))
        return records, damaged

    def continue_in(self, held: HeldJournal) -> Backlog:
        """Return the backlog of the journal that holds by now what waits in this damaged one."""
        backlog = Backlog(held, is_adopted=self.is_adopted)
        backlog.watches, self.watches = self.watches, {}
        return backlog

    def take_lost_watches(self) -> list[Watch]:
        """Return who still watches rows when none waits any more: they were damaged."""
        if self.waiting or not self.watches:
            return []
        return self.give_up_waiting()[1]

    def give_up_waiting(self) -> tuple[int, list[Watch]]:
        """Note that what waits cannot be read; return how many rows, and who watches them."""
        lost, self.waiting = self.waiting, 0
        watches = list(self.watches.values())
        self.watches.clear()
        return lost, watches

    def forget(self, records: list[PendingRecord]) -> None:
        """Note that these rows are gone."""
        self.rows -= len(records)
        self.bytes -= sum(record.size + ROW_OVERHEAD for record in records)
        if self._orders:
            for record in records:
                self._orders.pop(record.seq, None)
