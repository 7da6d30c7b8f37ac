"""Names for packages built on this one, beside the public names and as stable as those.

Users of the clients need none of it.
"""

from receipt_dynamo.data.delivery.settings import DeliverySettings
from receipt_dynamo.data.endpoints import find_endpoint, require_region
from receipt_dynamo.data.journal.directory import has_journals
from receipt_dynamo.entities.attribute_values import add_exactly
from receipt_dynamo.entities.usage_sum import UsageSum
from receipt_dynamo.utils.beside_loop import call_beside_loop
from receipt_dynamo.utils.fork_safety import notice_fork, reset_in_child
from receipt_dynamo.utils.log_limiter import LogLimiter
from receipt_dynamo.utils.private_files import open_private
from receipt_dynamo.utils.secrets import hide_passwords
from receipt_dynamo.utils.settings import (
    IGNORED,
    Kind,
    Setting,
    check_settings,
    declare,
    explain_settings,
    file_path,
    find_setting,
    list_settings,
    place,
    switch,
    text,
    typed,
)
from receipt_dynamo.utils.state_directory import find_place, find_state_directory

__all__ = [
    "IGNORED",
    "DeliverySettings",
    "Kind",
    "LogLimiter",
    "Setting",
    "UsageSum",
    "add_exactly",
    "call_beside_loop",
    "check_settings",
    "declare",
    "explain_settings",
    "file_path",
    "find_endpoint",
    "find_place",
    "find_setting",
    "find_state_directory",
    "has_journals",
    "hide_passwords",
    "list_settings",
    "notice_fork",
    "open_private",
    "place",
    "require_region",
    "reset_in_child",
    "switch",
    "text",
    "typed",
]
