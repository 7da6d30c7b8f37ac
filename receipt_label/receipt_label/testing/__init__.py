"""For tests, ours and users' own: the AI providers' HTTP APIs on a loopback port."""

from receipt_label.testing.provider_stub import ProviderStub, StubRequest

__all__ = ["ProviderStub", "StubRequest"]
