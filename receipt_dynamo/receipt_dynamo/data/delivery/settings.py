"""The settings of a ResilientDynamoClient's delivery, each declared once."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, TypedDict, cast, get_args

from receipt_dynamo.data.batch_write import MAX_BATCH_ITEMS
from receipt_dynamo.entities.item_form import MAX_GSI_SHARDS, MAX_RETENTION_DAYS, ItemForm
from receipt_dynamo.utils.batch.outcome import Overflow
from receipt_dynamo.utils.settings import (
    check_settings,
    choice,
    declare,
    explain_settings,
    find_setting,
    place,
    seconds,
    switch,
    whole,
)

Durability: TypeAlias = Literal["journal", "journal-sync", "memory"]

DEFAULT_JOURNAL_BYTES: Final = 512 * 1024 * 1024


@explain_settings
@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """How a :class:`~receipt_dynamo.ResilientDynamoClient` delivers.

    The declaration of each setting: whatever else takes, reads, shows or explains one has it
    from here.

    Raises:
        ValueError: One is out of bounds or of a wrong type; the message names it, its
            value and what is accepted.
    """

    circuit_breaker_threshold: int = field(
        default=5,
        metadata=declare(
            whole(1), "Failed wire attempts in a row that open the breaker.", bare="generic"
        ),
    )
    circuit_breaker_timeout: float = field(
        default=30.0,
        metadata=declare(
            seconds(zero=False), "Seconds that the breaker stays open at first.", bare="generic"
        ),
    )
    max_retry_attempts: int = field(
        default=3,
        metadata=declare(
            whole(1),
            "Wire attempts in one round; after it the records go back to the front of the queue, "
            "and are tried again for as long as it takes.",
            bare="generic",
        ),
    )
    retry_base_delay: float = field(
        default=1.0,
        metadata=declare(
            seconds(zero=True),
            "Seconds before the first retry of a round, at most; doubled for each further one, "
            "with full jitter.",
            bare="generic",
        ),
    )
    batch_size: int = field(
        default=MAX_BATCH_ITEMS,
        metadata=declare(
            whole(1, MAX_BATCH_ITEMS), "Records in a request, at most.", bare="generic"
        ),
    )
    batch_flush_interval: float = field(
        default=5.0,
        metadata=declare(
            seconds(zero=True),
            "Seconds that a record waits for others to fill a batch.",
            bare="generic",
        ),
    )
    enable_batch_processing: bool = field(
        default=True,
        metadata=declare(
            switch(),
            "False sends each record by itself and without that wait, still in the background.",
            bare="generic",
        ),
    )
    senders: int = field(
        default=2, metadata=declare(whole(1, 64), "Requests to DynamoDB at a time, at most.")
    )
    max_pending_records: int = field(
        default=10_000,
        metadata=declare(
            whole(1),
            "Bound of the memory in records; what is more waits in the journal alone.",
        ),
    )
    max_pending_bytes: int = field(
        default=64 * 1024 * 1024,
        metadata=declare(whole(1), "Bound of the memory in bytes, as on the wire."),
    )
    overflow: Overflow = field(
        default="refuse",
        metadata=declare(
            choice(*get_args(Overflow)),
            "What happens at the journal's bound (without a journal: at the memory's): refuse the "
            "new record (put returns False), drop_oldest, or raise QueueFullError from put.",
        ),
    )
    durability: Durability | None = field(
        default=None,
        metadata=declare(
            choice(*get_args(Durability)),
            "journal: records survive the end of the process, kill -9 too. journal-sync: a loss "
            "of power as well, at the price of a sync to disk for each record. memory: no disk is "
            "needed.",
            otherwise="journal",
        ),
    )
    journal_dir: str | os.PathLike[str] | None = field(
        default=None,
        metadata=declare(
            place(str, os.PathLike),
            "Directory of the journals; ~ is a home directory.",
            otherwise="receipt_dynamo/journal under $XDG_STATE_HOME or ~/.local/state, else one of "
            "this user's in the directory for temporary files",
        ),
    )
    journal_max_bytes: int | None = field(
        default=None,
        metadata=declare(
            whole(1),
            "Bound of this process's journal in bytes.",
            otherwise=f"{DEFAULT_JOURNAL_BYTES} (512 MiB)",
        ),
    )
    adopt_unproven: bool | None = field(
        default=None,
        metadata=declare(
            switch(),
            "True delivers the records that a process without any credentials left in this "
            "directory, for a table of this name, to this table. Only for a directory that one "
            "service alone uses; see docs/journal.md.",
            otherwise="false",
        ),
    )
    gsi_shards: int = field(
        default=1,
        metadata=declare(
            whole(1, MAX_GSI_SHARDS),
            "Number of partitions that the index keys of services and costs are spread over: one "
            "for each 1,000 records a second; see docs/queries.md.",
        ),
    )
    retention_days: int | None = field(
        default=None,
        metadata=declare(
            whole(1, MAX_RETENTION_DAYS),
            "Days after its timestamp from which DynamoDB's TTL may delete a record.",
            otherwise="never",
        ),
    )

    def __post_init__(self) -> None:
        """Check each value; a wrong one would show up much later, in a background thread."""
        check_settings(self, ValueError)

    def item_form(self) -> ItemForm:
        """Return how the items are written."""
        return ItemForm(self.gsi_shards, self.retention_days)

    def find_durability(self) -> Durability:
        """Return the chosen durability; by default that of ``AI_USAGE_DURABILITY``, or "journal".

        Raises:
            ValueError: The variable is malformed.
        """
        return cast("Durability", self.durability or _read("durability") or "journal")

    def find_journal_max_bytes(self) -> int:
        """Return the journal's bound; by default ``AI_USAGE_JOURNAL_MAX_BYTES``, or 512 MiB.

        Raises:
            ValueError: The variable is malformed.
        """
        found = self.journal_max_bytes or _read("journal_max_bytes") or DEFAULT_JOURNAL_BYTES
        return cast("int", found)

    def trusts_unproven(self) -> bool:
        """Return whether to adopt unproven journals; by default ``AI_USAGE_ADOPT_UNPROVEN``.

        Raises:
            ValueError: The variable is malformed.
        """
        chosen = self.adopt_unproven
        return bool(_read("adopt_unproven") if chosen is None else chosen)


def _read(name: str) -> object:
    return find_setting(DeliverySettings, name).read()


class DeliveryOptions(TypedDict, total=False):
    """The names and types of :class:`DeliverySettings`, for a function that takes ``**settings``.

    A test compares both.
    """

    circuit_breaker_threshold: int
    circuit_breaker_timeout: float
    max_retry_attempts: int
    retry_base_delay: float
    batch_size: int
    batch_flush_interval: float
    enable_batch_processing: bool
    senders: int
    max_pending_records: int
    max_pending_bytes: int
    overflow: Overflow
    durability: Durability | None
    journal_dir: str | os.PathLike[str] | None
    journal_max_bytes: int | None
    adopt_unproven: bool | None
    gsi_shards: int
    retention_days: int | None
