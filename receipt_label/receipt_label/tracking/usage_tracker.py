"""The tracker that writes straight through, and what all trackers have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from receipt_dynamo import AIUsageMetric, DynamoClient
from receipt_label.environment import Environment, detect_environment, validate_table
from receipt_label.injected_client import MetricWriter, adopt_direct_client
from receipt_label.pricing import PriceBook, TokenUsage
from receipt_label.providers import wrap_anthropic_client, wrap_openai_client
from receipt_label.providers.anthropic_replies import read_message
from receipt_label.providers.openai_replies import read_chat_completion, read_embedding
from receipt_label.providers.reply import Reply
from receipt_label.tracking.context import UsageContext
from receipt_label.tracking.decorators import TrackedFunction, track
from receipt_label.tracking.recorder import CallRecorder
from receipt_label.tracking.tracker_stats import TrackerStats

if TYPE_CHECKING:
    from receipt_label.tracking.file_log import UsageLogFile

P = ParamSpec("P")
R = TypeVar("R")
ClientT = TypeVar("ClientT")

CLOSE_TIMEOUT: Final = 10.0
"""Seconds that ``close`` waits for what is pending, by default."""

PLACES_MODEL: Final = "places_api"
"""Model of Google Places' records, which have none by nature."""

_COMPLETION: Final = TrackedFunction("openai", "completion", read_chat_completion)
_EMBEDDING: Final = TrackedFunction("openai", "embedding", read_embedding)
_MESSAGE: Final = TrackedFunction("anthropic", "completion", read_message)
