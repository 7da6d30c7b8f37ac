"""ClientManager's provider clients: real SDKs against a loopback stub of their APIs."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import anthropic
import openai
import pytest

from receipt_dynamo import AIUsageMetric
from receipt_label.client_config import ClientConfig
from receipt_label.client_manager import ClientManager
from receipt_label.environment import Environment
from receipt_label.errors import ConfigurationError, MissingPackageError
from receipt_label.testing import ProviderStub
from support.memory_writer import MemoryWriter

CLIENTS = {
    "openai": openai.OpenAI,
    "async_openai": openai.AsyncOpenAI,
    "anthropic": anthropic.Anthropic,
    "async_anthropic": anthropic.AsyncAnthropic,
}
every_client = pytest.mark.parametrize("name", CLIENTS)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MESSAGES: Any = [{"role": "user", "content": "How much was the bread?"}]


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderStub]:
    with ProviderStub() as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.openai_base_url)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", running.anthropic_base_url)
        yield running


@pytest.fixture
def open_manager(writer: MemoryWriter) -> Iterator[Callable[..., ClientManager]]:
    with ExitStack() as stack:

        def open_one(**settings: Any) -> ClientManager:
            config = ClientConfig(
                **{
                    "dynamo_table": "my-test",
                    "openai_api_key": "any-1",
                    "anthropic_api_key": "any-2",
                    **settings,
                }
            )
            return stack.enter_context(ClientManager(config, dynamo_client=writer))

        yield open_one


async def ask(manager: ClientManager, name: str) -> Any:
    """Make one call with one of the manager's clients."""
    client: Any = getattr(manager, name)
    if name.endswith("openai"):
        reply = client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    else:
        reply = client.messages.create(model="claude-haiku-4-5", max_tokens=100, messages=MESSAGES)
    return await reply if name.startswith("async_") else reply


@every_client
async def test_a_client_is_the_sdks_own_and_its_calls_are_recorded(
    name: str, stub: ProviderStub, writer: MemoryWriter, open_manager: Callable[..., ClientManager]
) -> None:
    manager = open_manager(user_id="user-7")
    assert type(getattr(manager, name)) is CLIENTS[name]
    assert getattr(manager, name) is getattr(manager, name)
    reply = await ask(manager, name)
    metric = writer.only
    assert metric.request_id == reply.id
    assert metric.service == name.removeprefix("async_")
    assert (metric.user_id, metric.environment) == ("user-7", "test")
    await manager.aclose()


@every_client
async def test_the_key_of_the_configuration_is_the_one_that_is_sent(
    name: str,
    stub: ProviderStub,
    open_manager: Callable[..., ClientManager],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "another")
    manager = open_manager()
    await ask(manager, name)
    (request,) = stub.requests
    key = manager.config.openai_api_key if "openai" in name else manager.config.anthropic_api_key
    assert any(key in value for value in request.headers.values())
    assert not any("another" in value for value in request.headers.values())
    await manager.aclose()


@every_client
async def test_with_tracking_off_clients_come_back_unwrapped(
    name: str, stub: ProviderStub, writer: MemoryWriter, open_manager: Callable[..., ClientManager]
) -> None:
    manager = open_manager(track_ai_usage=False)
    client = getattr(manager, name)
    assert type(client) is CLIENTS[name]
    bare = CLIENTS[name](api_key="any")
    assert vars(client).keys() == vars(bare).keys()
    await ask(manager, name)
    assert len(stub.requests) == 1
    assert writer.records == []
    await manager.aclose()


def test_with_tracking_off_the_tracker_is_there_for_records_of_ones_own(
    writer: MemoryWriter, open_manager: Callable[..., ClientManager]
) -> None:
    manager = open_manager(track_ai_usage=False)
    metric = AIUsageMetric("openai", "gpt-4o", "chat", NOW)
    manager.usage_tracker.record(metric)
    assert len(writer.records) == 1


@every_client
def test_a_missing_key_is_an_error_only_when_that_client_is_asked_for(
    name: str, open_manager: Callable[..., ClientManager]
) -> None:
    manager = open_manager(openai_api_key=None, anthropic_api_key=None)
    variable = f"{name.removeprefix('async_').upper()}_API_KEY"
    with pytest.raises(ConfigurationError, match=f"^{variable} is not set"):
        getattr(manager, name)
    assert manager.usage_tracker is not None


@every_client
def test_a_missing_package_is_an_import_error_that_names_the_extra(
    name: str, open_manager: Callable[..., ClientManager], monkeypatch: pytest.MonkeyPatch
) -> None:
    package = name.removeprefix("async_")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError) as caught:
        getattr(open_manager(), name)
    assert isinstance(caught.value, ImportError)
    assert caught.value.name == package
    assert f"pip install 'receipt-label[{package}]'" in str(caught.value)


def test_a_broken_package_is_not_taken_for_a_missing_one(
    open_manager: Callable[..., ClientManager], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> Any:
        raise ModuleNotFoundError("No module named 'httpx'", name="httpx")

    manager = open_manager()
    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(ModuleNotFoundError, match="httpx") as caught:
        _ = manager.openai
    assert type(caught.value) is ModuleNotFoundError


def test_errors_show_no_key(open_manager: Callable[..., ClientManager]) -> None:
    manager = open_manager(openai_api_key="sk-secret", anthropic_api_key=None)
    with pytest.raises(ConfigurationError) as caught:
        _ = manager.anthropic
    assert "secret" not in str(caught.value) + repr(manager) + repr(manager.config)


def test_trap_two_threads_do_not_make_two_clients(
    stub: ProviderStub, open_manager: Callable[..., ClientManager]
) -> None:
    manager = open_manager()
    barrier = threading.Barrier(8)
    found: list[openai.OpenAI] = []

    def run() -> None:
        barrier.wait(10)
        found.append(manager.openai)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 8
    assert len(set(map(id, found))) == 1


def test_closing_closes_the_sync_clients(
    stub: ProviderStub, open_manager: Callable[..., ClientManager]
) -> None:
    manager = open_manager()
    clients = (manager.openai, manager.anthropic)
    manager.close()
    assert all(client.is_closed() for client in clients)


async def test_closing_in_asyncio_closes_all_clients(
    stub: ProviderStub, writer: MemoryWriter
) -> None:
    config = ClientConfig(
        dynamo_table="my-test",
        openai_api_key="any",
        anthropic_api_key="any",
        environment=Environment.TEST,
    )
    async with ClientManager(config, dynamo_client=writer) as manager:
        clients = [getattr(manager, name) for name in CLIENTS]
    assert all(client.is_closed() for client in clients)


def test_a_client_that_cannot_be_closed_does_not_keep_the_others_open(
    stub: ProviderStub,
    open_manager: Callable[..., ClientManager],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manager = open_manager()
    first, second = manager.openai, manager.anthropic

    def fail() -> None:
        raise OSError("already gone")

    with monkeypatch.context() as patch:
        patch.setattr(second, "close", fail)
        with pytest.raises(OSError, match="already gone"):
            manager.close()
    assert first.is_closed()
    second.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_trap_a_child_does_not_talk_on_its_parents_sockets(
    stub: ProviderStub, open_manager: Callable[..., ClientManager]
) -> None:
    """A prefork server makes the manager, forks, and every child asks the provider."""
    manager = open_manager()
    mine = manager.openai
    child = os.fork()
    if child == 0:
        os._exit(0 if manager.openai is not mine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert manager.openai is mine
