"""A process that stands still for a while, as a function does between two calls."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from receipt_dynamo import DynamoClient
from receipt_dynamo.testing import FaultProxy, Stall
from support.programs import Program, hear, name_ids, read_ids, say

if sys.platform == "win32":
    pytest.skip("this system cannot stop a process", allow_module_level=True)

PROGRAM = """
client = open_client(batch_flush_interval=0, retry_base_delay=0.01)
for line in sys.stdin:
    number, timeout = line.split()
    put(client, 1, first=int(number))
    done = client.flush(float(timeout))
    print(done, client.get_stats().circuit_breaker_state.value, flush=True)
"""


def freeze(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGSTOP)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)


def live_through_a_freeze(process: subprocess.Popen[str], proxy: FaultProxy) -> None:
    """Have its connections end while it stands still, with what was on them; then it goes on."""
    freeze(process)
    proxy.down()
    proxy.up()
    process.send_signal(signal.SIGCONT)
    say(process, "1 60")
    assert hear(process) == "True closed"
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")


def test_a_process_that_was_frozen_recovers_its_sockets_and_delivers(
    make_program: Callable[..., Program], table: DynamoClient, proxy: FaultProxy
) -> None:
    """Meanwhile the server closes what was idle for too long."""
    with make_program(PROGRAM, proxy.endpoint_url).start() as process:
        say(process, "0 60")
        assert hear(process) == "True closed"
        live_through_a_freeze(process, proxy)
    assert read_ids(table) == name_ids(range(2))


def test_a_process_that_is_frozen_in_the_middle_of_a_request_delivers_when_it_is_thawed(
    make_program: Callable[..., Program], table: DynamoClient, proxy: FaultProxy
) -> None:
    """As a function that returns after a flush whose deadline has passed."""
    proxy.script(Stall())
    with make_program(PROGRAM, proxy.endpoint_url).start() as process:
        say(process, "0 0.1")
        assert hear(process) == "False closed"
        assert proxy.wait_for_requests(1)
        live_through_a_freeze(process, proxy)
    assert read_ids(table) == name_ids(range(2))
    writes = [entry for entry in proxy.requests if entry.items]
    assert [entry.items for entry in writes if entry.faults] == [1]
    assert sum(entry.items for entry in writes if not entry.faults) == 2
