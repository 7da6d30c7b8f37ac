"""A tracker with its records in memory, and the providers' APIs on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from receipt_label.testing import ProviderStub
from receipt_label.tracking import ResilientAIUsageTracker
from support.memory_writer import MemoryWriter


@pytest.fixture
def writer() -> MemoryWriter:
    return MemoryWriter()


@pytest.fixture
def tracker(writer: MemoryWriter) -> ResilientAIUsageTracker:
    return ResilientAIUsageTracker(writer)


@pytest.fixture
def stub() -> Iterator[ProviderStub]:
    with ProviderStub() as running:
        yield running
