"""A DynamoDB client of the test environment that keeps the records in memory, or fails."""

from __future__ import annotations

from receipt_dynamo import AIUsageMetric
from receipt_label.testing import MemoryUsageClient


class MemoryWriter(MemoryUsageClient):
    """Takes records as long as nothing else is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = True
        self.failure: Exception | None = None

    def put_ai_usage_metric(self, metric: AIUsageMetric) -> bool:
        if self.failure is not None:
            raise self.failure
        return self.answer and super().put_ai_usage_metric(metric)

    @property
    def only(self) -> AIUsageMetric:
        """The one record that there is."""
        (record,) = self.records
        return record
