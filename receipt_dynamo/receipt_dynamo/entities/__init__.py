"""The records that the tables hold, and their DynamoDB form."""

from receipt_dynamo.entities.ai_usage_metric import AIUsageMetric, InvalidItemError

__all__ = ["AIUsageMetric", "InvalidItemError"]
