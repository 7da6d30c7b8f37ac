"""The delivery engine on a simulated machine: one process after the other, before one table."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

from receipt_dynamo.data.connection import Connection, SdkSettings, Target
from receipt_dynamo.data.delivery.delivery import Delivery
from receipt_dynamo.data.delivery.settings import DeliverySettings
from receipt_dynamo.data.journal.directory import JournalTarget
from receipt_dynamo.entities.item_key import Key
from receipt_dynamo.utils.batch_queue import BatchQueue
from support.simulation.disk import FragileDirectory
from support.simulation.host import SimulatedHost
from support.simulation.table import TABLE, Item, SimulatedService, SimulatedTable


class BusyHost(SimulatedHost):
    """A machine on which something else happens whenever somebody waits.

    Attributes:
        on_wait: What happens then.
    """

    def __init__(self) -> None:
        super().__init__()
        self.on_wait: Callable[[], object] = lambda: None

    def _wait(self, seconds: float | None) -> None:
        super()._wait(seconds)
        self.on_wait()


make_service: Final = cache(SimulatedService)
"""One boto3 client is enough, and it takes a tenth of a second."""


class Simulation:
    """A machine with a disk, and DynamoDB.

    Args:
        folder: Where the journals are.

    Attributes:
        host: The machine's clock.
        table: DynamoDB.
        disk: The journals, as the process at hand sees them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._service = make_service()
        self.host = BusyHost()
        self.table = self._service.table = SimulatedTable(self.host)
        self.disk = FragileDirectory(folder)

    def open(self, settings: DeliverySettings) -> Delivery:
        """Start a process; what an earlier one left is on disk."""
        self.disk = FragileDirectory(self._folder)
        return Delivery(
            Connection(Target(TABLE, "us-east-1"), SdkSettings(), self._service.client),
            settings,
            None if settings.durability == "memory" else self.disk,
            JournalTarget(TABLE, "us-east-1", ""),
            host=self.host,
        )


def make_item(number: int, name: str | None = None, **attributes: str) -> tuple[Key, bytes]:
    """Return key and JSON of a record; ``number`` tells it from others of the same name."""
    key = ("p", name or f"r{number}")
    item: Item = {"PK": {"S": key[0]}, "SK": {"S": key[1]}, "number": {"N": str(number)}}
    item |= {attribute: {"S": value} for attribute, value in attributes.items()}
    return key, json.dumps(item).encode()


def read_number(item: bytes | dict[str, Any]) -> int:
    """Return the number of a record that :func:`make_item` made."""
    document = json.loads(item) if isinstance(item, bytes) else item
    return int(document["number"]["N"])


def run_due(queue: BatchQueue[Any]) -> bool:
    """Hand one batch to the callback, as a worker would, if one is due."""
    with queue._lock:
        delay = queue._seconds_until_due()
        is_due = delay is not None and delay <= 0
        batch = queue._edit(queue._buffer.take_batch, queue._clock()) if is_due else []
    if batch:
        queue._deliver(batch)
    return bool(batch)


def run_for(delivery: Delivery, host: SimulatedHost, seconds: float) -> None:
    """Do what the workers do in so many seconds."""
    end = host.now + seconds
    chores = delivery._chores
    queues: list[BatchQueue[Any]] = [chores.looks, chores.disk, chores.recovery, delivery._queue]
    while True:
        while any(run_due(queue) for queue in queues):
            pass
        delays = [queue._seconds_until_due() for queue in queues]
        nearest = min((delay for delay in delays if delay is not None), default=math.inf)
        if host.now + nearest > end:
            host.now = max(host.now, end)
            return
        host.now += nearest
