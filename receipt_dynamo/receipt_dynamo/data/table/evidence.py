"""Decide whether a dead process's records are for the table of a living one, by evidence.

A process that was killed in an outage, or after milliseconds, has never got its table's ARN
from DynamoDB. Its journal still has table, region, endpoint and where the credentials come
from. A fake AWS in a test has other credentials or another endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from receipt_dynamo.data.endpoints import AWS, name_place

TABLE_ARN: Final = "table_arn"
"""The name under which a journal stores the table's ARN, once DynamoDB has returned it."""

ENDPOINT: Final = "endpoint"
CREDENTIALS: Final = "credentials"
ACCOUNT: Final = "account"

DELIVER_UNPROVEN: Final = "python -m receipt_dynamo journal drain --adopt-unproven"
"""The command by which an operator confirms a table without evidence."""

_ANOTHER_TABLE: Final = "it is for the same name in another account or place"
_UNPROVEN: Final = (
    "it is unproven: its process ended without credentials, and before DynamoDB said which table "
    f"it is. If it is this one, deliver it by: {DELIVER_UNPROVEN}"
)
_OTHER_CREDENTIALS: Final = (
    "it is of other credentials, and its process ended before DynamoDB said which table it is. If "
    f"it is this one, deliver it by: {DELIVER_UNPROVEN}"
)


class Standing(Enum):
    """The evidence for the table of a journal's records."""

    PROVEN = "proven"
    """DynamoDB has returned its ARN."""
    ATTRIBUTED = "attributed"
    """The credentials or the account are known: the next process with the same delivers."""
    UNPROVEN = "unproven"
    """None: its process never had credentials. Only an operator can have it delivered."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The known facts about a table.

    Attributes:
        table_name: Name or ARN, as configured.
        region: AWS region.
        place: The endpoint, see :func:`~receipt_dynamo.data.endpoints.name_place`.
        credentials: Where credentials come from, see
            :class:`~receipt_dynamo.data.credentials.Principal`.
        account: The AWS account that signs.
        arn: The table's ARN, from DynamoDB.
    """

    table_name: str
    region: str
    place: str
    credentials: str | None = None
    account: str | None = None
    arn: str | None = None

    @classmethod
    def read(cls, noted: Mapping[str, str]) -> Evidence:
        """Return what a journal stores; one of an earlier release stores less."""
        region = noted.get("region", "")
        return cls(
            noted.get("table_name", ""),
            region,
            noted.get(ENDPOINT) or name_place(noted.get("endpoint_url"), region),
            noted.get(CREDENTIALS),
            noted.get(ACCOUNT),
            noted.get(TABLE_ARN),
        )

    @property
    def standing(self) -> Standing:
        """The strength of the evidence."""
        if self.arn is not None:
            return Standing.PROVEN
        is_known = self.credentials or (self.account and self.place == AWS)
        return Standing.ATTRIBUTED if is_known else Standing.UNPROVEN

    @property
    def bare_name(self) -> str:
        """The table's name, without the ARN around it."""
        return self.table_name.rpartition("/")[2]

    def may_be(self, other: Evidence) -> bool:
        """Whether both have the name and the region of one table, as far as these are known."""
        return self.bare_name == other.bare_name and (
            self.region == other.region or not (self.region and other.region)
        )


def find_obstacle(noted: Evidence, own: Evidence, *, trusts_unproven: bool = False) -> str | None:
    """Return why a dead process's records are not for the table of this one, or None.

    Args:
        noted: The facts in the journal.
        own: The facts of this process, the ARN included.
        trusts_unproven: Whether the operator has confirmed journals without evidence.
    """
    if is_another_table(noted, own):
        return _ANOTHER_TABLE
    if noted.arn is not None:
        return None
    if noted.place != own.place:
        return f"it is for another endpoint, {noted.place}, and DynamoDB never named its table"
    if _is_same_table(noted, own):
        return None
    if noted.standing is Standing.UNPROVEN:
        return None if trusts_unproven else _UNPROVEN
    return _OTHER_CREDENTIALS


def is_another_table(noted: Evidence, own: Evidence) -> bool:
    """Return whether both are proven to be different tables, so that nothing helps.

    Args:
        noted: See :func:`find_obstacle`.
        own: See :func:`find_obstacle`.
    """
    if noted.arn is not None:
        return noted.arn != own.arn
    return not noted.may_be(own) or _contradicts(noted, own)


def _contradicts(noted: Evidence, own: Evidence) -> bool:
    """Whether an account or an ARN says that it is another table."""
    if noted.place != AWS:
        return False
    if _is_arn(noted.table_name):
        return noted.table_name != own.arn
    # A name without an account is a table of whoever signs.
    owner = _read_account(own.arn)
    return any(signer is not None and signer != owner for signer in (noted.account, own.account))


def _is_same_table(noted: Evidence, own: Evidence) -> bool:
    if not noted.region or noted.region != own.region:
        return False
    if noted.credentials is not None and noted.credentials == own.credentials:
        return True
    # Elsewhere an account proves nothing: whoever fakes AWS accepts any keys.
    signers = {_read_account(own.arn)}
    if _is_arn(noted.table_name):  # Of another account's table, perhaps.
        signers.add(own.account)
    return noted.place == AWS and noted.account is not None and noted.account in signers


def _is_arn(table_name: str) -> bool:
    return table_name.startswith("arn:")


def _read_account(arn: str | None) -> str | None:
    parts = (arn or "").split(":")
    return parts[4] if len(parts) > 4 else None  # noqa: PLR2004 - arn:aws:dynamodb:region:account
