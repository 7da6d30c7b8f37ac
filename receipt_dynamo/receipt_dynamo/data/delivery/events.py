"""Events of delivery, for listeners that count them elsewhere: metrics, traces, alarms."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from receipt_dynamo.utils.log_limiter import LogLimiter

_logger = logging.getLogger(__name__)


class DeliveryEventKind(Enum):
    """What happened."""

    DELIVERED = "delivered"
    """DynamoDB confirmed records."""
    THROTTLED = "throttled"
    """DynamoDB was short of capacity for records; they are sent again."""
    FAILED = "failed"
    """DynamoDB was away or did not answer readably; the records are sent again."""
    MISCONFIGURED = "misconfigured"
    """The table or the credentials are wrong; the records wait."""
    DEAD = "dead"
    """DynamoDB rejected records for good, or they are damaged on disk."""
    DROPPED = "dropped"
    """Records were dropped by the policy "drop_oldest"."""
    REFUSED = "refused"
    """A record was not accepted."""
    ADOPTED = "adopted"
    """Records of a dead process were taken over."""
    DEGRADED = "degraded"
    """The journal cannot be written: records are in memory only until it can."""
    SET_ASIDE = "set_aside"
    """A damaged journal was moved out of the way; "dead" counts its lost records."""


@dataclass(frozen=True, slots=True)
class DeliveryEvent:
    """One thing that happened.

    Attributes:
        kind: What.
        records: How many records it is about.
        detail: DynamoDB's reason or the error in one line, without payload, or None.
    """

    kind: DeliveryEventKind
    records: int = 1
    detail: str | None = None


EventListener: TypeAlias = Callable[[DeliveryEvent], object]


class EventHub:
    """Calls listeners; their exceptions are logged, and nothing else happens.

    It holds no lock while it calls them. They run in the thread in which it happened: a
    slow one slows the sender, never a caller, except for "refused" and "degraded".
    """

    def __init__(self) -> None:
        self._listeners: tuple[EventListener, ...] = ()
        self._log = LogLimiter(_logger)
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """Begin without a running listener: a child that one forked does not wait for it."""
        self._here = threading.local()

    @property
    def is_calling(self) -> bool:
        """Whether it is a listener that asks."""
        return getattr(self._here, "is_calling", False)

    def add(self, listener: EventListener) -> None:
        """Call ``listener`` from now on."""
        self._listeners = (*self._listeners, listener)

    def remove(self, listener: EventListener) -> None:
        """Call ``listener`` no more."""
        self._listeners = tuple(known for known in self._listeners if known != listener)

    def emit(self, kind: DeliveryEventKind, records: int = 1, detail: str | None = None) -> None:
        """Call every listener with one event."""
        if self._listeners:
            event = DeliveryEvent(kind, records, detail)
            for listener in self._listeners:
                self.call(listener, event)

    def call(self, listener: Callable[..., object], event: object) -> None:
        """Call one listener with what it wants to know."""
        outer, self._here.is_calling = self.is_calling, True
        try:
            listener(event)
        except Exception as error:  # noqa: BLE001 - a listener must not harm delivery
            # By type only: the message may hold anything.
            self._log.warn("listener", f"a delivery listener raised {type(error).__name__}")
        finally:
            self._here.is_calling = outer
