"""The difference between this machine's clock and DynamoDB's."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

WORTH_A_WARNING: Final = 60.0
"""Seconds that a clock that is kept by NTP never reaches."""

REFUSED_BY_AWS: Final = 300.0
"""Seconds beyond which AWS refuses a request.

"In most cases, a request must reach AWS within five minutes of the time stamp in the
request. Otherwise, AWS denies the request": "AWS Signature Version 4 for API requests" in
the IAM User Guide.
"""


class ReplyClock:
    """Compares the ``Date`` of each reply, refusals too, with the local clock.

    Args:
        clock: Seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.skew: float | None = None
        """Seconds that the local clock is ahead; None before a reply with a date. The date
        is in whole seconds, and the reply takes its time: about a second is no skew."""
        self._clock = clock

    @classmethod
    def watch(cls, client: DynamoDBClient, clock: Callable[[], float] = time.time) -> Self:
        """Return one that sees all replies to a boto3 client."""
        watcher = cls(clock)
        client.meta.events.register("response-received.dynamodb.*", watcher._compare)
        return watcher

    def _compare(self, response_dict: dict[str, Any] | None, **_: object) -> None:
        date = (response_dict or {}).get("headers", {}).get("date")
        if date is None:
            return
        try:
            theirs = parsedate_to_datetime(date).timestamp()
        except ValueError:
            return
        self.skew = self._clock() - theirs
