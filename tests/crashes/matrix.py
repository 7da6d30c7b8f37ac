"""The crash matrix as data: where a process is killed, and what DynamoDB does meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final, Literal

from crashes.faults import OfNothingWritten, name_fault
from receipt_dynamo.testing import (
    Corrupt,
    LostReply,
    Reset,
    ServerErrorAfterApply,
    Stall,
    Throttle,
    Truncated,
    UnprocessedItems,
)

Moment = Literal["before", "during", "after"]


@dataclass(frozen=True)
class Step:
    """A step of delivery at which a process is killed.

    Attributes:
        name: What the step is.
        method: The method of ``receipt_dynamo.data`` that does it, as ``module:Class.method``,
            or the function, as ``module:function``, by the module that calls it. None is
            DynamoDB's own step, the write, which the fault proxy sees.
        moment: When, seen from that method.
        nth: At which call of it.
        from_start: Whether the calls count from the process's start. Else from when it has
            delivered its first record, and DynamoDB has named the table.
        records: How many records the process puts.
        follows_another: Whether another process was killed before, and left records.
        damages: Whether SQLite finds the journal damaged at the last put.
        is_reachable: Whether DynamoDB can be reached before the process is killed.
    """

    name: str
    method: str | None
    moment: Moment = "before"
    nth: int = 1
    from_start: bool = False
    records: int = 60
    follows_another: bool = False
    damages: bool = False
    is_reachable: bool = True

    @property
    def kills(self) -> int:
        """How many processes it kills."""
        return 2 if self.follows_another else 1


def _adopting(name: str, method: str, moment: Moment) -> Step:
    """Return a step of a process that delivers what another one left."""
    return Step(
        f"adoption: {name}", method, moment, from_start=True, records=0, follows_another=True
    )


def _beginning(name: str, method: str, moment: Moment) -> Step:
    """Return a step of making a journal, while another one's is being adopted."""
    return Step(f"new journal: {name}", method, moment, from_start=True, follows_another=True)


_APPEND: Final = "journal.journal:Journal.append"
_DELETE: Final = "journal.journal:Journal.delete"
_WRITE: Final = "delivery.sender:ConnectionWriter.write"
_COPY: Final = "journal.journal:Journal._copy_log"
_CREATE_FILE: Final = "journal.directory:JournalDirectory.create"
_CREATE: Final = "journal.journal:Journal.create"
_MAKE: Final = "journal.journal:make_file"
_SET_ASIDE: Final = "journal.directory:JournalDirectory.set_aside"

LEFT_BEHIND: Final = Step("records left behind", _APPEND, "after", nth=20, records=20)
"""The end of the other process, before a step that follows another one."""

_ALL_STEPS: Final = (
    Step("put: the row is committed", _APPEND, "after", nth=20),
    Step(
        "put: DynamoDB was never reached",
        *(_APPEND, "after", 20),
        from_start=True,
        is_reachable=False,
    ),
    Step(
        "send: DynamoDB was never reached",
        *(_WRITE, "after", 2),
        from_start=True,
        is_reachable=False,
    ),
    Step("send: the request has not left", _WRITE, "before", nth=2),
    Step("send: DynamoDB has applied it", None),
    Step("send: the reply is there", _WRITE, "after"),
    # So many that the first rows go while others have not been sent.
    Step("acknowledge: the reply is proven, the rows are there", _DELETE, records=400),
    Step("acknowledge: the rows are gone", _DELETE, "after", records=400),
    Step("checkpoint: nothing is copied", "journal.journal:Journal.checkpoint", "before"),
    Step("checkpoint: the log is being copied", _COPY, "during"),
    Step("checkpoint: copied beside the commits", _COPY, "after"),
    Step("checkpoint: all is copied", "journal.journal:Journal.checkpoint", "after"),
    _adopting("found", "delivery.adoption:Adoption._look_at", "before"),
    _adopting("leased and open", "journal.directory:JournalDirectory.open_abandoned", "after"),
    _adopting("taken over", "delivery.record_store:RecordStore.adopt", "after"),
    _adopting("nothing has been sent", _WRITE, "before"),
    _adopting("delivered, the rows are there", _DELETE, "before"),
    _adopting("the rows are gone, the file is there", _DELETE, "after"),
    _adopting("the file goes", "journal.directory:HeldJournal.close", "during"),
    _beginning("nothing is there", _CREATE_FILE, "before"),
    _beginning("its lock alone", _CREATE, "before"),
    _beginning("whole, but under another name", _MAKE, "after"),
    _beginning("whole, but not in use", _CREATE, "after"),
    _beginning("made, no record is in it", _CREATE_FILE, "after"),
    Step("damaged journal: found", _SET_ASIDE, "before", damages=True),
    Step("damaged journal: set aside", _SET_ASIDE, "after", damages=True),
)

STEPS: Final = {step.name: step for step in _ALL_STEPS}
_FAULTS: Final = (
    Throttle(),
    UnprocessedItems(share=0.5),
    ServerErrorAfterApply(),
    Reset(),
    LostReply(),
    OfNothingWritten(Truncated()),
    OfNothingWritten(Corrupt()),
    Stall(),
)
FAULTS: Final = {name_fault(fault): fault for fault in _FAULTS}
"""What DynamoDB does, by the names of the fault proxy's faults."""

ENGINES: Final = ("dynamodb-local", "ministack")


@dataclass(frozen=True)
class Case:
    """One crash.

    Attributes:
        step: Where.
        fault: What happens to the writes, by its name in ``FAULTS``.
        engine: On which DynamoDB.
    """

    step: Step
    fault: str
    engine: str

    def __str__(self) -> str:
        return f"{self.step.name} / {self.fault} / {self.engine}"


def list_all_cases() -> list[Case]:
    """Return every step under every fault on every engine."""
    return [Case(*each) for each in product(STEPS.values(), FAULTS, ENGINES)]


def choose_spread(kills: int) -> list[Case]:
    """Return cases with at least so many kills, each step and each fault among them."""
    chosen: list[Case] = []
    for case in _walk_diagonally():
        if len(chosen) >= len(STEPS) and sum(each.step.kills for each in chosen) >= kills:
            break
        chosen.append(case)
    return chosen


def _walk_diagonally() -> Iterator[Case]:
    """Yield all cases, so that the first ones differ in everything."""
    faults = list(FAULTS)
    for turn in range(len(FAULTS) * len(ENGINES)):
        for number, step in enumerate(STEPS.values()):
            fault = faults[(number + turn) % len(faults)]
            place = number + number // len(faults) + turn + turn // len(faults)
            yield Case(step, fault, ENGINES[place % len(ENGINES)])
