"""Find which table it really is: account, region and name, as DynamoDB returns them.

A name and an endpoint prove nothing: a test that runs on a fake AWS in the process, or an
engine on a port that another had before, look the same as production.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from receipt_dynamo.data.endpoints import find_region_of_aws
from receipt_dynamo.errors import ReceiptDynamoError

if TYPE_CHECKING:
    from receipt_dynamo.data.connection import Connection


class UnprovenTableError(ReceiptDynamoError):
    """Neither DynamoDB nor the security token service returned which table it is."""


def prove_table(connection: Connection) -> str:
    """Return the table's ARN from DynamoDB, or else one made of the caller's account.

    The second way serves a role that may write but not describe the table. It is AWS's
    only: of another endpoint the account proves nothing.

    Raises:
        UnprovenTableError: Both ways are closed.
        botocore.exceptions.ClientError: DynamoDB refused otherwise.
        botocore.exceptions.BotoCoreError: No reply came.
    """
    name = connection.table_name
    try:
        return str(connection.client().describe_table(TableName=name)["Table"]["TableArn"])
    except KeyError as error:
        raise UnprovenTableError(f"DynamoDB describes table {name} without an ARN") from error
    except Exception as error:
        if not _is_forbidden(error):
            raise
        if find_region_of_aws(connection.client().meta.endpoint_url) is None:
            raise UnprovenTableError(
                f"table {name} may not be described, and the endpoint is not AWS"
            ) from error
        return name if name.startswith("arn:") else _make_arn(connection)


def _is_forbidden(error: Exception) -> bool:
    response = getattr(error, "response", None) or {}
    return bool(response.get("Error", {}).get("Code") == "AccessDeniedException")


def ask_for_account(connection: Connection) -> str | None:
    """Return the account that signs, as AWS's security token service says it; None without.

    Another endpoint than AWS's has no accounts.
    """
    if find_region_of_aws(connection.client().meta.endpoint_url) is None:
        return None
    return str(connection.make_token_client().get_caller_identity()["Account"])


def _make_arn(connection: Connection) -> str:
    try:
        caller = connection.make_token_client().get_caller_identity()
    except Exception as error:
        # A network without a way to that service must not be asked again and again.
        raise UnprovenTableError("the table's ARN and account are unknown") from error
    partition = caller["Arn"].split(":")[1]
    region = connection.client().meta.region_name
    table = f"table/{connection.table_name}"
    return f"arn:{partition}:dynamodb:{region}:{caller['Account']}:{table}"
