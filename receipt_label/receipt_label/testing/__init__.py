"""For tests, ours and users' own: the providers' APIs on loopback, and what was recorded.

The fixtures ``ai_usage`` and ``ai_usage_table`` come with the package: pytest finds them.
"""

from receipt_label.testing.assertions import assert_usage
from receipt_label.testing.provider_stub import ProviderStub, StubRequest
from receipt_label.testing.recorded_usage import MemoryUsageClient, UsageInMemory, UsageTable

__all__ = [
    "MemoryUsageClient",
    "ProviderStub",
    "StubRequest",
    "UsageInMemory",
    "UsageTable",
    "assert_usage",
]
