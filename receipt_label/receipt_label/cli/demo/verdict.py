"""The verdict: the calls that were made against the rows that the table holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from receipt_dynamo import AIUsageMetric

# More would push the verdict off the screen.
_MAX_LISTED: Final = 10


@dataclass(frozen=True, slots=True)
class MadeCall:
    """One call as its caller saw it.

    Args:
        service: "openai" or "anthropic".
        model: Model that was asked.
        response_id: The id in the provider's reply; None when the call failed.
        input_tokens: As the reply says.
        output_tokens: As the reply says.
        seconds: From call to reply.
        own_seconds: Those of them that were not spent waiting for the provider: the
            SDK's and the tracker's work together.
        error: What the caller got in place of a reply.
    """

    service: str
    model: str
    response_id: str | None
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    own_seconds: float = 0.0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Calls against rows. Every list is empty when each call has exactly one true row.

    Args:
        calls: Number of calls made.
        rows: Number of rows found.
        lost: Response ids that callers got and no row has.
        doubled: Response ids with more than one row.
        strange: Request ids of rows that no caller knows.
        differing: Response ids whose row has other tokens than the reply had.
        failed: What callers got in place of a reply.
    """

    calls: int
    rows: int
    lost: list[str]
    doubled: list[str]
    strange: list[str]
    differing: list[str]
    failed: list[str]

    @property
    def is_clean(self) -> bool:
        """True when every call succeeded and has exactly one row, with its tokens."""
        return not (self.lost or self.doubled or self.strange or self.differing or self.failed)

    def list_differences(self) -> list[str]:
        """Return a line for each kind of difference, with the first ids."""
        kinds = {
            "failed calls": self.failed,
            "lost (a call without a row)": self.lost,
            "doubled (a call with several rows)": self.doubled,
            "strange (a row without a call)": self.strange,
            "differing (a row with other tokens)": self.differing,
        }
        return [f"{kind}: {_shorten(ids)}" for kind, ids in kinds.items() if ids]


def compare(calls: Sequence[MadeCall], rows: Iterable[AIUsageMetric]) -> Comparison:
    """Compare what the callers got with what the table holds.

    Args:
        calls: Every call, failed ones included.
        rows: Every row of the table, read back by a query. A response id is unique in a
            provider; two rows with one id are one call stored twice.
    """
    found = list(rows)
    answered = {call.response_id: call for call in calls if call.response_id is not None}
    returned = Counter(call.response_id for call in calls if call.response_id is not None)
    stored = Counter(row.request_id for row in found)
    surplus = stored - returned
    return Comparison(
        calls=len(calls),
        rows=len(found),
        lost=sorted((returned - stored).elements()),
        doubled=sorted(surplus.keys() & answered.keys()),
        strange=sorted(surplus.keys() - answered.keys()),
        differing=sorted({row.request_id for row in found if _differs(answered, row)}),
        failed=[call.error or "no reply" for call in calls if call.response_id is None],
    )


def _differs(answered: dict[str, MadeCall], row: AIUsageMetric) -> bool:
    call = answered.get(row.request_id)
    return call is not None and (
        (row.service, row.model, row.input_tokens, row.output_tokens)
        != (call.service, call.model, call.input_tokens, call.output_tokens)
    )


def _shorten(ids: list[str]) -> str:
    rest = len(ids) - _MAX_LISTED
    shown = ", ".join(ids[:_MAX_LISTED])
    return f"{len(ids)}: {shown}" + (f" and {rest} more" if rest > 0 else "")
