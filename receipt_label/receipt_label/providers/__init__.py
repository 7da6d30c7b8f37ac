"""The providers, one module for each: what can be asked of them, and how their replies read.

Nothing here imports a provider's package. The names here are what a package needs that adds
a provider: see ``docs/add_a_provider.md``.
"""

from receipt_label.calls.reply import ProviderReply, ReplyReader
from receipt_label.providers.provider import (
    UNTRACKED,
    BatchLine,
    MethodClients,
    Operation,
    Provider,
    RequestClients,
    StreamEvents,
)

__all__ = [
    "UNTRACKED",
    "BatchLine",
    "MethodClients",
    "Operation",
    "Provider",
    "ProviderReply",
    "ReplyReader",
    "RequestClients",
    "StreamEvents",
]
