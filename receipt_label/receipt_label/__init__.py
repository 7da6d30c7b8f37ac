"""Know what every AI call cost, for whom and why: usage records of AI calls.

Importing this package imports neither boto3 nor a provider's package; first use does.
"""

from receipt_label.client_config import ClientConfig
from receipt_label.client_manager import ClientManager
from receipt_label.environment import Environment, detect_environment
from receipt_label.errors import ConfigurationError, MissingPackageError
from receipt_label.tracking import (
    AIUsageTracker,
    ResilientAIUsageTracker,
    ai_usage_context,
    batch_ai_usage_context,
    bind_usage_context,
)

__all__ = [
    "AIUsageTracker",
    "ClientConfig",
    "ClientManager",
    "ConfigurationError",
    "Environment",
    "MissingPackageError",
    "ResilientAIUsageTracker",
    "ai_usage_context",
    "batch_ai_usage_context",
    "bind_usage_context",
    "detect_environment",
]
