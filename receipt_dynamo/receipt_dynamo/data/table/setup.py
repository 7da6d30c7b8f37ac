"""Make a table with all that it should have, and look at what one has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from receipt_dynamo.data.connection import UnreadableReplyError
from receipt_dynamo.data.failures import name_failure, summarize_failure
from receipt_dynamo.data.table.check import Description, TableOptions, TableView, list_tags
from receipt_dynamo.data.table.schema import create_table
from receipt_dynamo.entities.wire_form import EXPIRY_ATTRIBUTE
from receipt_dynamo.utils.retry_with_backoff import retry_with_backoff

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_T = TypeVar("_T")

# "Backups are being enabled for the table", which a new one answers for some seconds.
_NOT_YET: Final = "ContinuousBackupsUnavailableException"
_PATIENCE: Final = 60.0


@dataclass(slots=True)
class Remarks:
    """The parts of a description that could not be read, as texts.

    Attributes:
        notes: Features that this engine does not know: DynamoDB Local has no backups.
        refusals: Requests that DynamoDB refused, and why.
    """

    notes: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    def attempt(self, call: Callable[[], _T], otherwise: str) -> _T | None:
        """Return a call's result; if DynamoDB refuses it, remember that and return None."""
        try:
            return call()
        except Exception as error:
            if not hasattr(error, "response"):  # No refusal: it may not even be reached.
                raise
            if "UnknownOperationException" in name_failure(error):
                self.notes.append(f"{otherwise}: this engine does not know it")
            else:
                self.refusals.append(f"{otherwise}: {summarize_failure(error)}")
            return None


def make_table(client: DynamoDBClient, table_name: str, options: TableOptions) -> Remarks | None:
    """Make a table, wait until it is active, and turn on what it should have.

    Args:
        client: A boto3 client.
        table_name: Its name or ARN.
        options: What it should have beside keys and indexes.

    Returns:
        What could not be turned on; None when the table exists: nothing is changed.

    Raises:
        botocore.exceptions.ClientError: DynamoDB refused to make it.
        botocore.exceptions.WaiterError: It was not active within 5 minutes.
    """
    more: dict[str, Any] = {}
    if options.is_protected:
        more["DeletionProtectionEnabled"] = True
    if options.tags:
        more["Tags"] = list_tags(options)
    if not create_table(client, table_name, **more):
        return None
    remarks = Remarks()
    if options.expires:
        remarks.attempt(
            lambda: client.update_time_to_live(
                TableName=table_name,
                TimeToLiveSpecification={"Enabled": True, "AttributeName": EXPIRY_ATTRIBUTE},
            ),
            "time to live is not turned on",
        )
    if options.recovers:
        remarks.attempt(
            lambda: _turn_on_recovery(client, table_name),
            "point-in-time recovery is not turned on",
        )
    return remarks


def _turn_on_recovery(client: DynamoDBClient, table_name: str) -> None:
    @retry_with_backoff(
        max_attempts=30,
        max_delay=5.0,
        deadline=_PATIENCE,
        exceptions=lambda error: _NOT_YET in name_failure(error),
    )
    def turn_on() -> None:
        client.update_continuous_backups(
            TableName=table_name,
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
        )

    turn_on()


def look_at_table(client: DynamoDBClient, table_name: str) -> TableView:
    """Return what DynamoDB says of a table; three requests.

    That it says nothing of time to live or of backups is no failure: an engine may not know
    them, and a role may lack the right to see them.

    Raises:
        UnreadableReplyError: A reply does not say: perhaps it is no DynamoDB that answers.
        botocore.exceptions.ClientError: DynamoDB refused to describe the table.
        botocore.exceptions.BotoCoreError: No reply came.
    """
    table = _read(client.describe_table(TableName=table_name), "Table")
    remarks = Remarks()
    expiry = remarks.attempt(
        lambda: _read(client.describe_time_to_live(TableName=table_name), "TimeToLiveDescription"),
        "time to live is unknown",
    )
    backups = remarks.attempt(
        lambda: _read(
            client.describe_continuous_backups(TableName=table_name),
            "ContinuousBackupsDescription",
        ),
        "point-in-time recovery is unknown",
    )
    return TableView(
        table=table,
        expiry=expiry,
        backups=backups,
        notes=tuple(remarks.notes),
        refusals=tuple(remarks.refusals),
    )


def _read(reply: Mapping[str, Any], name: str) -> Description:
    """Return a part of a reply; a body that is no JSON is parsed as ``{}``."""
    try:
        found: Description = reply[name]
    except KeyError:
        raise UnreadableReplyError(f"the reply does not hold a {name}") from None
    return found
