"""SIGTERM flushes first, then does what it did before."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

import pytest

from receipt_dynamo import DynamoClient
from receipt_dynamo.testing import FaultProxy, Stall
from support.programs import (
    Program,
    deliver_what_is_left,
    hear,
    name_ids,
    read_ids,
    say,
    wait_for_ids,
)

if sys.platform == "win32":
    pytest.skip("this system has no SIGTERM", allow_module_level=True)

BEFORE = {
    "handler": "lambda number, frame: sys.exit(client.get_stats().delivered)",
    "default": "signal.SIG_DFL",
    "ignored": "signal.SIG_IGN",
}


@pytest.mark.parametrize(
    ("before", "status"), [("handler", 3), ("default", -signal.SIGTERM), ("ignored", 0)]
)
def test_sigterm_delivers_and_then_does_what_it_did_before(
    make_program: Callable[..., Program], table: DynamoClient, before: str, status: int
) -> None:
    done = make_program(
        f"""
        from receipt_dynamo import flush_on_sigterm

        client = open_client(batch_flush_interval=60)
        put(client, 3)
        signal.signal(signal.SIGTERM, {BEFORE[before]})
        flush_on_sigterm(timeout=60)
        delivered = threading.Event()
        client.add_listener(lambda event: delivered.set())
        os.kill(os.getpid(), signal.SIGTERM)
        delivered.wait(60)
        if {before!r} != "ignored":
            signal.pause()
        """
    ).run()
    assert (done.returncode, done.stderr) == (status, "")
    assert read_ids(table) == name_ids(range(3))


@pytest.mark.parametrize(("before", "status"), [("handler", 3), ("default", -signal.SIGTERM)])
def test_a_signal_that_did_not_wake_the_main_thread_is_raised_again(
    make_program: Callable[..., Program], table: DynamoClient, before: str, status: int
) -> None:
    """One that comes between a look at what came and the system's wait is not seen."""
    done = make_program(
        f"""
        from receipt_dynamo import flush_on_sigterm

        client = open_client(batch_flush_interval=60)
        put(client, 3)
        signal.signal(signal.SIGTERM, {BEFORE[before]})
        flush_on_sigterm(timeout=60)
        send, unheard = os.kill, []

        def lose_the_first(*signal_sent):
            if unheard:
                send(*signal_sent)
            unheard.append(signal_sent)

        os.kill = lose_the_first
        signal.raise_signal(signal.SIGTERM)
        while True:
            signal.pause()
        """
    ).run()
    assert (done.returncode, done.stderr) == (status, "")
    assert read_ids(table) == name_ids(range(3))


def test_two_sigterms_run_what_was_there_before_once_each_flush(
    make_program: Callable[..., Program], table: DynamoClient, proxy: FaultProxy
) -> None:
    """The flush that the second one did not wait for raises none of its own later."""
    program = make_program(
        """
        from receipt_dynamo import flush_on_sigterm

        client = open_patient_client(batch_flush_interval=60)
        put(client, 3)
        wait_for_proof(client)
        told = []
        signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
        flush_on_sigterm(timeout=60)
        print("ready", flush=True)
        sys.stdin.readline()
        assert told == [signal.SIGTERM], told
        print("told", flush=True)
        sys.stdin.readline()
        while flushing := [t for t in threading.enumerate() if "flush" in t.name]:
            flushing[0].join(30)
        assert told == [signal.SIGTERM], told
        """,
        proxy.endpoint_url,
    )
    proxy.always(Stall())
    with program.start() as process:
        assert hear(process) == "ready"
        process.terminate()
        assert proxy.wait_for_requests(1)
        process.terminate()
        say(process, "go on")
        assert hear(process) == "told"
        proxy.heal()
        say(process, "end")
        assert process.wait(60) == 0
    assert read_ids(table) == name_ids(range(3))


def test_a_second_sigterm_does_not_wait_for_the_flush_of_the_first(
    make_program: Callable[..., Program], table: DynamoClient, proxy: FaultProxy
) -> None:
    program = make_program(
        """
        from receipt_dynamo import flush_on_sigterm

        client = open_client(batch_flush_interval=60)
        put(client, 3)
        wait_for_proof(client)
        flush_on_sigterm(timeout=3600)
        print("ready", flush=True)
        while True:
            signal.pause()
        """,
        proxy.endpoint_url,
    )
    proxy.always(Stall())
    with program.start() as process:
        assert hear(process) == "ready"
        process.terminate()
        assert proxy.wait_for_requests(1)
        process.terminate()
        assert process.wait(60) == -signal.SIGTERM
    proxy.heal()
    assert deliver_what_is_left(table, proxy.endpoint_url) == 3


def test_a_table_that_does_not_answer_takes_no_time_from_the_others(
    make_program: Callable[..., Program], table: DynamoClient, proxy: FaultProxy
) -> None:
    program = make_program(
        f"""
        from receipt_dynamo import flush_on_sigterm

        def open_ill(first):
            client = ResilientDynamoClient(
                TABLE, "us-east-1", endpoint_url={proxy.endpoint_url!r}, durability="memory"
            )
            put(client, 1, first)
            return client

        before = open_ill(10)
        well = open_client(batch_flush_interval=60, durability="memory")
        put(well, 1)
        after = open_ill(20)
        flush_on_sigterm(timeout=60)
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
        """,
    )
    proxy.always(Stall())
    with program.start() as process:
        wait_for_ids(table, name_ids(range(1)))
        proxy.heal()
        assert process.wait(60) == -signal.SIGTERM


def test_a_child_that_is_forked_while_sigterm_flushes_flushes_by_itself(
    make_program: Callable[..., Program], table: DynamoClient, proxy: FaultProxy
) -> None:
    """The thread that flushes is its parent's."""
    program = make_program(
        """
        from receipt_dynamo import flush_on_sigterm

        client = open_patient_client(batch_flush_interval=60)
        put(client, 1)
        flush_on_sigterm(timeout=60)
        os.kill(os.getpid(), signal.SIGTERM)
        sys.stdin.readline()  # The request is on its way, and no reply comes.

        def check():
            put(client, 1, first=1)
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()

        _, status = os.waitpid(run_child(check), 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM, status
        print(client.get_stats().in_flight, flush=True)
        signal.pause()
        """,
        proxy.endpoint_url,
    )
    proxy.script(Stall())
    with program.start() as process:
        assert proxy.wait_for_requests(1)
        say(process, "fork")
        assert hear(process) == "1"
        assert "id-1" in read_ids(table)
        proxy.heal()
        assert process.wait(60) == -signal.SIGTERM
    assert read_ids(table) == name_ids(range(2))


def test_a_sigterm_that_comes_as_the_interpreter_ends_does_not_cut_the_delivery_short(
    run_well: Callable[[str], None], table: DynamoClient
) -> None:
    """No thread can be started there on Python 3.12 and later; nor does one have to."""
    run_well(
        """
        import atexit
        from receipt_dynamo import flush_on_sigterm

        client = open_client(batch_flush_interval=60, durability="memory")
        put(client, 3)
        flush_on_sigterm()

        def refuse(thread):
            raise RuntimeError("can't create new thread at interpreter shutdown")

        def terminate():
            threading.Thread.start = refuse
            os.kill(os.getpid(), signal.SIGTERM)

        atexit.register(terminate)
        """
    )
    assert read_ids(table) == name_ids(range(3))
