"""How a test tells the stub what to do, what it learns, and what is left after it."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import anthropic
import openai
import pytest

from receipt_label.testing import ProviderStub

QUESTION = [{"role": "user", "content": "How much was the bread?"}]


def ask_openai(stub: ProviderStub, **options: object) -> openai.types.chat.ChatCompletion:
    with openai.OpenAI(api_key="any", base_url=stub.openai_base_url) as client:
        return client.chat.completions.create(model="gpt-4o-mini", messages=QUESTION, **options)


def ask_anthropic(stub: ProviderStub) -> anthropic.types.Message:
    with anthropic.Anthropic(api_key="any", base_url=stub.anthropic_base_url) as client:
        return client.messages.create(model="claude-haiku-4-5", max_tokens=9, messages=QUESTION)


def test_overridden_fields_are_used_for_one_reply_of_their_service(stub: ProviderStub) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 0, "total_tokens": 1}
    stub.answer_next("openai", usage=usage, model="gpt-4o-mini-2024-07-18")
    stub.answer_next("openai", id="chatcmpl-123")

    assert ask_anthropic(stub).model == "claude-haiku-4-5"
    first, second, third = (ask_openai(stub) for _ in range(3))
    assert (first.model, first.usage.total_tokens) == ("gpt-4o-mini-2024-07-18", 1)
    assert (second.id, second.model) == ("chatcmpl-123", "gpt-4o-mini")
    assert third.id != "chatcmpl-123"


def test_a_failed_request_uses_up_no_override(stub: ProviderStub) -> None:
    stub.answer_next("openai", id="chatcmpl-123")
    stub.fail_next(500)

    assert ask_openai(stub).id == "chatcmpl-123"


def test_the_sdk_repeats_a_failed_request_and_each_is_in_the_log(stub: ProviderStub) -> None:
    stub.fail_next(503, times=2)

    reply = ask_openai(stub)

    assert [request.status for request in stub.requests] == [503, 503, 200]
    assert [request.response_id for request in stub.requests] == [None, None, reply.id]


def test_the_log_tells_what_was_sent(stub: ProviderStub) -> None:
    ask_openai(stub, user="somebody")
    ask_anthropic(stub)

    first, second = stub.requests
    assert (first.service, first.path) == ("openai", "/v1/chat/completions")
    assert first.body["user"] == "somebody"
    assert (second.service, second.path) == ("anthropic", "/v1/messages")
    assert second.headers["anthropic-version"]
    assert "somebody" not in repr(first)


def test_threads_get_ids_of_their_own_and_every_request_is_logged(stub: ProviderStub) -> None:
    with (
        openai.OpenAI(api_key="any", base_url=stub.openai_base_url) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        replies = pool.map(
            lambda _: client.chat.completions.create(model="m", messages=QUESTION), range(40)
        )
        ids = {reply.id for reply in replies}

    assert len(ids) == 40
    assert {request.response_id for request in stub.requests} == ids


def test_a_connection_is_kept_for_the_next_request(stub: ProviderStub) -> None:
    connection = http.client.HTTPConnection(stub.anthropic_base_url.removeprefix("http://"))
    try:
        sources = []
        for _ in range(2):
            connection.request("GET", "/nothing")
            connection.getresponse().read()
            sources.append(connection.sock.getsockname())
    finally:
        connection.close()

    assert sources[0] == sources[1]


def test_stop_leaves_no_thread_and_no_listening_socket() -> None:
    before = set(threading.enumerate())
    stub = ProviderStub(latency=60)
    stub.start()
    port = int(stub.anthropic_base_url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as idle, ThreadPoolExecutor(1) as pool:
        # One connection is idle, and one request waits for its answer.
        waiting = pool.submit(ask_openai, stub)
        stop_once_it_serves_both(stub)
        assert idle.recv(1) == b""
        assert waiting.exception() is None or isinstance(waiting.exception(), openai.APIError)

    assert set(threading.enumerate()) - before == set()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def stop_once_it_serves_both(stub: ProviderStub) -> None:
    while [thread.name for thread in threading.enumerate()].count("provider-stub-client") < 2:
        threading.Event().wait(0.01)
    stub.stop()


def test_it_can_be_started_again_and_stopped_twice() -> None:
    stub = ProviderStub()
    for _ in range(2):
        with stub:
            assert ask_openai(stub).id
            with pytest.raises(RuntimeError, match="running already"):
                stub.start()
        stub.stop()
    with pytest.raises(RuntimeError, match="not running"):
        _ = stub.openai_base_url


def test_a_program_that_fails_before_it_stops_the_stub_ends() -> None:
    program = """
import http.client
from receipt_label.testing import ProviderStub

stub = ProviderStub().start()
connection = http.client.HTTPConnection(stub.anthropic_base_url.removeprefix("http://"))
connection.request("GET", "/")
connection.getresponse().read()
raise SystemExit(7)
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=60, check=False)
    assert done.returncode == 7


def test_bad_arguments_are_named(stub: ProviderStub) -> None:
    with pytest.raises(ValueError, match="latency is -1"):
        ProviderStub(latency=-1)
    with pytest.raises(ValueError, match="status is 200"):
        stub.fail_next(200)
    with pytest.raises(ValueError, match="times is 0"):
        stub.fail_next(500, times=0)
    with pytest.raises(ValueError, match="service is 'google'"):
        stub.answer_next("google", id="x")
