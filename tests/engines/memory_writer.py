"""A DynamoDB client of the test environment that keeps the records in memory."""

from __future__ import annotations

from receipt_dynamo import AIUsageMetric


class MemoryWriter:
    """Takes records by the one method that a tracker needs; order is that of arrival."""

    def __init__(self) -> None:
        self.records: list[AIUsageMetric] = []
        self.answer = True
        self.failure: Exception | None = None

    def put_ai_usage_metric(self, metric: AIUsageMetric) -> bool:
        if self.failure is not None:
            raise self.failure
        if self.answer:
            self.records.append(metric)
        return self.answer

    @property
    def only(self) -> AIUsageMetric:
        """The one record that there is."""
        (record,) = self.records
        return record
