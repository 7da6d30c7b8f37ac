"""Tell a wrong table from wrong records, and how long to wait while it is wrong. Pure."""

from __future__ import annotations

from typing import Final

from receipt_dynamo.data.batch_write import Key
from receipt_dynamo.utils.backoff import backoff_delay

PROOF: Final = 3
"""So many different records, each rejected alone with one message and no success in
between, mean that the table is wrong and not the records. Without this rule a table
with other key names would dead-letter every record."""

FIRST_HOLD: Final = 30.0
LONGEST_HOLD: Final = 300.0


class RejectionStreak:
    """The different records rejected alone with the same message since the last success."""

    def __init__(self) -> None:
        self._message: str | None = None
        self._keys: set[Key] = set()

    def record_rejection(self, key: Key, message: str) -> None:
        """Note that the record with ``key`` was alone in a request and was rejected."""
        if message != self._message:
            self.record_success()
            self._message = message
        self._keys.add(key)

    def record_success(self) -> None:
        """Note that a record was written: the table is right."""
        self._message = None
        self._keys = set()

    @property
    def blames_the_table(self) -> bool:
        """Whether the table is wrong, by :data:`PROOF`."""
        return len(self._keys) >= PROOF

    def __contains__(self, key: Key) -> bool:
        """Whether the record with ``key`` belongs to the streak."""
        return key in self._keys


class Hold:
    """How long the records wait while something is misconfigured: 30 s doubling to 5 min."""

    def __init__(self) -> None:
        self._times = 0
        self._until = 0.0

    def begin(self, now: float) -> float:
        """Return the seconds to wait from ``now``; what is left, while a hold lasts.

        Several senders run into the same misconfiguration; they must not lengthen each
        other's hold.
        """
        if self._times == 0 or now >= self._until:
            self._times += 1
            self._until = now + backoff_delay(
                self._times, base_delay=FIRST_HOLD, max_delay=LONGEST_HOLD, jitter=False
            )
        return self._until - now

    def end(self) -> None:
        """Note that DynamoDB took a request again."""
        self._times = 0
