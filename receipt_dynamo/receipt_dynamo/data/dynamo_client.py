"""Plain, synchronous, typed access to the table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from receipt_dynamo.data.batch_write import MAX_BATCH_ITEMS, write_batch
from receipt_dynamo.data.connection import Connection, SdkSettings, Target, make_credentials
from receipt_dynamo.data.queries.metric_queries import MetricQueries
from receipt_dynamo.data.table.schema import create_table
from receipt_dynamo.data.table.shards import ShardAnnouncer
from receipt_dynamo.entities.ai_usage_metric import AIUsageMetric, ItemTooLargeError
from receipt_dynamo.entities.item_form import ItemForm
from receipt_dynamo.entities.stored_item import is_too_large
from receipt_dynamo.entities.wire_form import find_shard

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from receipt_dynamo.entities.attribute_values import Item


class DynamoClient(MetricQueries):
    """Plain, synchronous, typed access to one table: each call is answered by DynamoDB.

    The constructor makes no network call. boto3's own errors come through as they are;
    boto3 makes up to 4 attempts for each call.

    Args:
        table_name: Name or ARN of the table.
        region: AWS region; by default ``AWS_REGION``, else what boto3 finds.
        endpoint_url: Of another DynamoDB; by default ``AWS_ENDPOINT_URL_DYNAMODB``,
            else what boto3 finds.
        client: A boto3 DynamoDB client to use as it is, in place of making one; the
            arguments beside ``table_name`` are then not used.
        aws_access_key_id: With the secret key: credentials to use in place of what
            boto3 finds.
        aws_secret_access_key: See ``aws_access_key_id``.
        aws_session_token: Of temporary credentials.
        gsi_shards: Number of partitions that the index keys of services and costs are spread
            over, 1 to 100: one for each 1,000 records a second; see ``docs/queries.md``.
        retention_days: Days after its timestamp from which DynamoDB's TTL may delete a
            record, 1 to 36,500; by default never.

    Attributes:
        item_form: The last two.

    Raises:
        ValueError: ``table_name`` is empty, only one of the two keys is given, or a number is
            out of bounds.
    """

    def __init__(
        self,
        table_name: str,
        region: str | None = None,
        endpoint_url: str | None = None,
        *,
        client: DynamoDBClient | None = None,
        aws_access_key_id: str | None = None,
        aws_secret_access_key: str | None = None,
        aws_session_token: str | None = None,
        gsi_shards: int = 1,
        retention_days: int | None = None,
    ) -> None:
        credentials = make_credentials(aws_access_key_id, aws_secret_access_key, aws_session_token)
        target = Target(table_name, region, endpoint_url, credentials)
        super().__init__(Connection(target, SdkSettings(), client))
        self.item_form = ItemForm(gsi_shards, retention_days)
        self._shards = ShardAnnouncer(self._connection, gsi_shards)

    def create_table(self) -> None:
        """Create the table with its indexes, on demand, and wait until it is active.

        If the table exists, it only waits until it is active.

        Raises:
            botocore.exceptions.ClientError: DynamoDB refused it.
            botocore.exceptions.WaiterError: It was not active within 5 minutes.
        """
        create_table(self._connection.client(), self.table_name)

    @property
    def target(self) -> Target:
        """The table that this client reaches, its place and the credentials.

        Raises:
            TypeError: It was made around a ``client`` that is no boto3 client.
        """
        return self._connection.read_target()

    def put_ai_usage_metric(self, metric: AIUsageMetric) -> None:
        """Write one record, over one with the same key; return when DynamoDB has it.

        Raises:
            TypeError: ``metric`` is not an AIUsageMetric.
            ItemTooLargeError: (a ValueError) It exceeds 400 KB in this client's form.
            botocore.exceptions.ClientError: DynamoDB refused it.
            botocore.exceptions.BotoCoreError: No reply came, or the request never left.
        """
        self._check_size(check_metric(metric))
        (item,) = self._encode([metric])
        self._connection.client().put_item(TableName=self.table_name, Item=item)

    def batch_put_ai_usage_metrics(self, metrics: Iterable[AIUsageMetric]) -> list[AIUsageMetric]:
        """Write records in batches of up to 25; return those that DynamoDB left out.

        Of records with the same key, the last is written. The returned records were not
        written, because DynamoDB was short of capacity: pass them again after a pause.

        Raises:
            TypeError: One of ``metrics`` is not an AIUsageMetric; nothing is written.
            ItemTooLargeError: (a ValueError) One exceeds 400 KB in this client's form; nothing is
                written.
            botocore.exceptions.ClientError: DynamoDB refused a batch.
            botocore.exceptions.BotoCoreError: No reply came, or the request never left.
            UnreadableReplyError: A reply does not say which records were written.
        """
        by_key = {check_metric(metric).key: metric for metric in metrics}
        waiting = list(by_key.values())
        for metric in waiting:
            self._check_size(metric)
        left_out: list[AIUsageMetric] = []
        for start in range(0, len(waiting), MAX_BATCH_ITEMS):
            batch = waiting[start : start + MAX_BATCH_ITEMS]
            unprocessed = write_batch(
                self._connection.client(),
                self.table_name,
                self._encode(batch),
            )
            left_out += [metric for metric in batch if metric.key in unprocessed]
        return left_out

    def _check_size(self, metric: AIUsageMetric) -> None:
        form = self.item_form
        if not metric.has_room() and is_too_large(
            metric.to_dynamodb_json(form.gsi_shards, form.retention_days)
        ):
            raise ItemTooLargeError

    def _encode(self, metrics: Sequence[AIUsageMetric]) -> list[Item]:
        """Return the items, after the number of shards is written for their readers."""
        form = self.item_form
        self._shards.announce(find_shard(metric.request_id, form.gsi_shards) for metric in metrics)
        return [metric.to_dynamodb_item(form.gsi_shards, form.retention_days) for metric in metrics]


def check_metric(metric: object) -> AIUsageMetric:
    """Return ``metric`` itself.

    Raises:
        TypeError: It is not an AIUsageMetric.
    """
    if not isinstance(metric, AIUsageMetric):
        raise TypeError(f"metric is of type {type(metric).__name__}; accepted is AIUsageMetric")
    return metric
