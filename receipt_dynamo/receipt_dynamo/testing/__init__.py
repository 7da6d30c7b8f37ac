"""A DynamoDB that fails on command, for our tests and for yours.

``FaultProxy`` stands between a client and any DynamoDB engine on loopback and throttles,
loses, damages, delays or refuses as you script it. It needs the standard library only.
"""

from receipt_dynamo.testing.exchange import Answer, Exchange, Reply, Request
from receipt_dynamo.testing.fault_plan import WRITE_OPERATIONS
from receipt_dynamo.testing.fault_proxy import FaultProxy, RequestEntry
from receipt_dynamo.testing.faults import (
    Corrupt,
    EmptyReply,
    ErrorReply,
    Fault,
    Latency,
    LostReply,
    Reset,
    ServerErrorAfterApply,
    SlowUplink,
    Stall,
    Throttle,
    Trickle,
    Truncated,
    UnprocessedItems,
    WrongChecksum,
)

__all__ = [
    "WRITE_OPERATIONS",
    "Answer",
    "Corrupt",
    "EmptyReply",
    "ErrorReply",
    "Exchange",
    "Fault",
    "FaultProxy",
    "Latency",
    "LostReply",
    "Reply",
    "Request",
    "RequestEntry",
    "Reset",
    "ServerErrorAfterApply",
    "SlowUplink",
    "Stall",
    "Throttle",
    "Trickle",
    "Truncated",
    "UnprocessedItems",
    "WrongChecksum",
]
