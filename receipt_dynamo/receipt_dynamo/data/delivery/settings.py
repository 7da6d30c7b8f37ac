"""How a ResilientDynamoClient delivers: every knob, its default and its bounds."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from types import NoneType
from typing import Final, Literal, TypeAlias, cast, get_args

from receipt_dynamo.data.batch_write import MAX_BATCH_ITEMS
from receipt_dynamo.entities.item_form import ItemForm
from receipt_dynamo.utils.batch.outcome import Overflow

Durability: TypeAlias = Literal["journal", "journal-sync", "memory"]

DURABILITY_VARIABLE: Final = "AI_USAGE_DURABILITY"
MAX_BYTES_VARIABLE: Final = "AI_USAGE_JOURNAL_MAX_BYTES"
DEFAULT_JOURNAL_BYTES: Final = 512 * 1024 * 1024

_ANY: Final = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """See :class:`~receipt_dynamo.ResilientDynamoClient` for what each one means.

    Raises:
        ValueError: One is out of bounds or of a wrong type; the message names it, its
            value and what is accepted.
    """

    circuit_breaker_threshold: int = 5
    circuit_breaker_timeout: float = 30.0
    max_retry_attempts: int = 3
    retry_base_delay: float = 1.0
    batch_size: int = MAX_BATCH_ITEMS
    batch_flush_interval: float = 5.0
    enable_batch_processing: bool = True
    senders: int = 2
    max_pending_records: int = 10_000
    max_pending_bytes: int = 64 * 1024 * 1024
    overflow: Overflow = "refuse"
    durability: Durability | None = None
    journal_dir: str | os.PathLike[str] | None = None
    journal_max_bytes: int | None = None
    gsi_shards: int = 1
    retention_days: int | None = None

    def __post_init__(self) -> None:
        """Check each value; a wrong one would show up much later, in a background thread."""
        self._check_whole("circuit_breaker_threshold", 1, _ANY)
        self._check_seconds("circuit_breaker_timeout", "more than 0")
        self._check_whole("max_retry_attempts", 1, _ANY)
        self._check_seconds("retry_base_delay", "0 or more")
        self._check_whole("batch_size", 1, MAX_BATCH_ITEMS)
        self._check_seconds("batch_flush_interval", "0 or more")
        self._check_whole("senders", 1, 64)
        self._check_whole("max_pending_records", 1, _ANY)
        self._check_whole("max_pending_bytes", 1, _ANY)
        self.item_form()
        if not isinstance(self.enable_batch_processing, bool):
            self._refuse("enable_batch_processing", "True and False")
        self._check_choice("overflow", get_args(Overflow))
        if self.durability is not None:
            self._check_choice("durability", get_args(Durability))
        if self.journal_max_bytes is not None:
            self._check_whole("journal_max_bytes", 1, _ANY)
        if not isinstance(self.journal_dir, (str, os.PathLike, NoneType)):
            self._refuse("journal_dir", "paths")

    def item_form(self) -> ItemForm:
        """Return how the items are written."""
        return ItemForm(self.gsi_shards, self.retention_days)

    def find_durability(self) -> Durability:
        """Return the chosen durability; by default that of ``AI_USAGE_DURABILITY``, or "journal".

        Raises:
            ValueError: The variable is malformed.
        """
        if self.durability is not None:
            return self.durability
        given = os.environ.get(DURABILITY_VARIABLE, "").strip().lower()
        for known in get_args(Durability):
            if given == known:
                return cast("Durability", known)
        if given:
            accepted = ", ".join(get_args(Durability))
            raise ValueError(f"{DURABILITY_VARIABLE} is {given!r}; accepted are {accepted}")
        return "journal"

    def find_journal_max_bytes(self) -> int:
        """Return the journal's bound; by default ``AI_USAGE_JOURNAL_MAX_BYTES``, or 512 MiB.

        Raises:
            ValueError: The variable is malformed.
        """
        if self.journal_max_bytes is not None:
            return self.journal_max_bytes
        given = os.environ.get(MAX_BYTES_VARIABLE, "").strip()
        if not given:
            return DEFAULT_JOURNAL_BYTES
        if not (given.isascii() and given.isdigit()) or int(given) < 1:
            raise ValueError(
                f"{MAX_BYTES_VARIABLE} is {given!r}; accepted are whole numbers of 1 or more"
            )
        return int(given)

    def _check_choice(self, name: str, choices: tuple[str, ...]) -> None:
        if getattr(self, name) not in choices:
            self._refuse(name, ", ".join(map(repr, choices)))

    def _check_whole(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        if type(value) is not int or not low <= value <= high:
            bounds = f"from {low} to {high}" if high < _ANY else f"of {low} or more"
            self._refuse(name, f"whole numbers {bounds}")

    def _check_seconds(self, name: str, bounds: str) -> None:
        value = getattr(self, name)
        is_number = type(value) in (int, float) and math.isfinite(value)
        if not is_number or value < 0 or (value == 0 and bounds == "more than 0"):
            self._refuse(name, f"finite numbers of seconds, {bounds}")

    def _refuse(self, name: str, accepted: str) -> None:
        raise ValueError(f"{name} is {getattr(self, name)!r}; accepted are {accepted}")
