"""Decide whether the table or a record is wrong, and how long to wait while it is. Pure."""

from __future__ import annotations

from typing import Final

from receipt_dynamo.entities.item_key import Key
from receipt_dynamo.utils.backoff import backoff_delay

PROOF: Final = 3
"""If this many different records are rejected alone, with one message and no success in
between, the table is wrong and not the records. Without this rule a table
with other key names would dead-letter every record."""

MORE_PROOF: Final = 10
MOST_PROOF: Final = 3_000
"""After a success has refuted a verdict, the next one needs this many times the proof, at
most :data:`MOST_PROOF` records. Otherwise a row of bad records would wait with every
batch, and would never become dead letters. Dead letters of a later verdict that is right
are redriven."""

MOST_PROOF_OF_REFUSALS: Final = 30
"""The same for refusals, where no record is lost by a late verdict, and requests are in vain."""

FIRST_PAUSE: Final = 1.0
"""Seconds that a record waits apart at first: where any request may fail, chance sets some
apart."""

FIRST_HOLD: Final = 30.0
LONGEST_HOLD: Final = 300.0


class RejectionStreak:
    """The different records rejected alone with the same message since the last success."""

    def __init__(self, proof: int = PROOF, most: int = MOST_PROOF) -> None:
        self._proof = proof
        self._most = most
        self._message: str | None = None
        self._keys: set[Key] = set()

    def record_rejection(self, key: Key, message: str) -> None:
        """Count the record with ``key``, which was alone in a request and was rejected."""
        if message != self._message:
            self._message = message
            self._keys = set()
        self._keys.add(key)

    def begin_anew(self) -> RejectionStreak:
        """Return the streak after a success, which proves that the table is right."""
        refuted = self.blames_the_table
        return RejectionStreak(
            min(self._proof * MORE_PROOF, self._most) if refuted else self._proof, self._most
        )

    @property
    def blames_the_table(self) -> bool:
        """Whether the table is wrong, by :data:`PROOF`."""
        return len(self._keys) >= self._proof

    def __contains__(self, key: Key) -> bool:
        """Whether the record with ``key`` belongs to the streak."""
        return key in self._keys


def choose_pause(times: int) -> float:
    """Return the seconds for which a record waits apart that fails alone the ``times``-th time."""
    return backoff_delay(times, base_delay=FIRST_PAUSE, max_delay=LONGEST_HOLD, jitter=False)


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
        """Reset the wait: DynamoDB has accepted a request again."""
        self._times = 0
