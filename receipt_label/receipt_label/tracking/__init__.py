"""Records of AI calls: the trackers, and the context that says what a call belongs to."""

from receipt_label.tracking.resilient_usage_tracker import ResilientAIUsageTracker
from receipt_label.tracking.stats import TrackerStats
from receipt_label.tracking.usage_log import UsageLogFile
from receipt_label.tracking.usage_tracker import AIUsageTracker
from receipt_label.usage_context import (
    ai_usage_context,
    batch_ai_usage_context,
    bind_usage_context,
)

__all__ = [
    "AIUsageTracker",
    "ResilientAIUsageTracker",
    "TrackerStats",
    "UsageLogFile",
    "ai_usage_context",
    "batch_ai_usage_context",
    "bind_usage_context",
]
