"""What packages built on this one may use, beside its public names and as stable as they are.

Users of the clients need none of it.
"""

from receipt_dynamo.data.delivery.settings import DeliverySettings, Durability
from receipt_dynamo.data.endpoints import find_endpoint
from receipt_dynamo.entities.attribute_values import add_exactly
from receipt_dynamo.entities.item_form import MAX_GSI_SHARDS, MAX_RETENTION_DAYS
from receipt_dynamo.utils.fork_safety import reset_in_child
from receipt_dynamo.utils.log_limiter import LogLimiter
from receipt_dynamo.utils.private_files import open_private
from receipt_dynamo.utils.secrets import hide_passwords
from receipt_dynamo.utils.state_directory import find_state_directory

__all__ = [
    "MAX_GSI_SHARDS",
    "MAX_RETENTION_DAYS",
    "DeliverySettings",
    "Durability",
    "LogLimiter",
    "add_exactly",
    "find_endpoint",
    "find_state_directory",
    "hide_passwords",
    "open_private",
    "reset_in_child",
]
