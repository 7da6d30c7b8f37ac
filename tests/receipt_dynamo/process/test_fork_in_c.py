"""A fork that Python is not told of, as servers written in C make it: the child begins clean.

Threads are at rest when it is made: one that waits for the interpreter lock at that moment is
waited for in the child, for ever, by Python itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from receipt_dynamo import DynamoClient
from support.programs import Program, name_ids, read_ids

if sys.platform == "win32":
    pytest.skip("this system has no fork", allow_module_level=True)


def test_a_child_delivers_its_own_and_leaves_the_parents_to_the_parent(
    run_well: Callable[[str], None], table: DynamoClient
) -> None:
    run_well(
        """
        client = open_client(batch_flush_interval=60)
        put(client, 10)
        wait_for_proof(client)

        def check():
            put(client, 5, first=100)
            stats = client.get_stats()
            assert (stats.accepted, stats.pending, stats.undurable) == (5, 5, 0)
            assert client.flush(timeout=20)
            assert client.close().delivered == 5

        end_well(run_child(check, fork_in_c))
        assert client.get_stats().pending == 10
        assert client.close().delivered == 10
        """
    )
    assert read_ids(table) == name_ids(range(10), range(100, 105))


def test_a_child_asks_only_for_figures_or_a_flush_or_the_end(
    run_well: Callable[[str], None], table: DynamoClient
) -> None:
    """Each way in notices the fork, before it waits for a lock that nobody will free."""
    run_well(
        """
        from receipt_dynamo.data.delivery import lifecycle

        client = open_client(batch_flush_interval=60)
        put(client, 3)
        wait_for_proof(client)
        delivery = client._delivery
        locks = [each._lock for each in (delivery._store, delivery._queue, delivery._chores.disk)]
        held, done = threading.Event(), threading.Event()

        def hold():
            with locks[0], locks[1], locks[2]:
                held.set()
                done.wait(60)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(30)
        ways = [
            lambda: client.get_stats().accepted == 0,
            lambda: client.flush(20),
            lambda: client.close(20).pending == 0,
            lambda: client.redrive() == 0,
            lambda: client.dead_letters() == [],
            lambda: client.put_ai_usage_metric(make_metrics(1, 99)[0]) and client.flush(20),
            lambda: lifecycle.close_all(20) is None,
        ]

        def check(way):
            assert way()

        for way in ways:
            end_well(run_child(lambda: check(way), fork_in_c))
        done.set()
        thread.join()
        assert client.close().delivered == 3
        """
    )
    assert read_ids(table) == name_ids(range(3), range(99, 100))


def test_a_child_that_ends_without_a_call_does_not_touch_the_parents_journal(
    run_well: Callable[[str], None], table: DynamoClient
) -> None:
    """The interpreter's end in the child would close SQLite's handles, and free the lease."""
    run_well(
        """
        client = open_client(batch_flush_interval=60)
        put(client, 3)
        wait_for_proof(client)
        pid = fork_in_c()
        if pid == 0:
            signal.alarm(60)
            sys.exit()
        end_well(pid)
        put(client, 3, first=3)
        assert client._delivery._store._own.held.is_still_ours()
        assert client.close().delivered == 6
        """
    )
    assert read_ids(table) == name_ids(range(6))


def test_where_a_thread_was_inside_of_sqlite_the_child_keeps_its_records_in_memory(
    make_program: Callable[..., Program], table: DynamoClient
) -> None:
    """SQLite's own locks stay held in such a child: whoever calls it would wait for ever."""
    program = make_program(
        """
        client = open_client(batch_flush_interval=60)
        put(client, 1)
        wait_for_proof(client)
        inside, done = threading.Event(), threading.Event()

        def stay():
            inside.set()
            done.wait(60)

        client._delivery._store._own.journal._writer.set_progress_handler(stay, 1)
        thread = threading.Thread(target=put, args=(client, 1, 1))
        thread.start()
        inside.wait(30)

        def check():
            put(client, 3, first=10)
            stats = client.get_stats()
            assert (stats.durability, stats.undurable) == ("memory", 3)
            assert client.close(20).delivered == 3

        end_well(run_child(check, fork_in_c))
        done.set()
        thread.join()
        assert client.close().delivered == 2
        """
    )
    done = program.run()
    assert done.returncode == 0, done.stderr
    assert "forked while another thread used SQLite" in done.stderr
    assert read_ids(table) == name_ids(range(2), range(10, 13))


def test_two_threads_that_are_first_in_the_child_find_it_clean(
    run_well: Callable[[str], None], table: DynamoClient
) -> None:
    run_well(
        """
        client = open_client(batch_flush_interval=60)
        put(client, 5)
        wait_for_proof(client)

        def check():
            start = threading.Barrier(8)

            def work(number):
                start.wait()
                put(client, 1, first=number)

            threads = [threading.Thread(target=work, args=(number,)) for number in range(10, 18)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert client.get_stats().accepted == 8
            assert client.close(20).delivered == 8

        end_well(run_child(check, fork_in_c))
        """
    )
    assert read_ids(table) == name_ids(range(5), range(10, 18))


def test_what_a_child_made_before_its_first_call_to_an_older_object_stays(
    run_well: Callable[[str], None], table: DynamoClient
) -> None:
    run_well(
        """
        old = open_client(batch_flush_interval=60)
        put(old, 1)
        wait_for_proof(old)

        def check():
            new = open_client(batch_flush_interval=60)
            put(new, 2, first=1)
            put(old, 2, first=3)
            assert (new.get_stats().pending, old.get_stats().pending) == (2, 2)
            assert (new.close(20).delivered, old.close(20).delivered) == (2, 2)

        end_well(run_child(check, fork_in_c))
        """
    )
    assert read_ids(table) == name_ids(range(5))


def test_the_patterns_by_themselves_work_in_the_child(run_well: Callable[[str], None]) -> None:
    """Whatever their locks and threads were doing in the parent at that moment."""
    run_well(
        """
        from receipt_dynamo import BatchQueue, CircuitBreaker, CircuitBreakerState
        from receipt_dynamo.utils.retry.budget import RetryBudget

        sent = []
        queue = BatchQueue(sent.extend, 10, 60.0)
        queue.add_item("the parent's")
        breaker, budget = CircuitBreaker(1), RetryBudget()
        held, done = threading.Event(), threading.Event()

        def hold():
            with queue._lock, breaker._shell._lock, budget._lock:
                held.set()
                done.wait(60)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(30)
        permit = breaker.permit()

        def check():
            permit.success()
            breaker.call(int)
            try:
                breaker.call(int, "no number")
            except ValueError:
                pass
            assert breaker.state is CircuitBreakerState.OPEN
            assert budget.take()
            assert queue.add_item("the child's") and queue.get_stats().accepted == 1
            assert queue.flush(20) and queue.stop(20)
            assert sent == ["the child's"]

        def check_each(first):
            first()
            check()

        for first in (breaker.snapshot, breaker.reset, queue.get_stats, queue.dead_letters,
                      queue.pull, queue.redrive, queue.drop_oldest, budget.give_back,
                      lambda: queue.flush(20), lambda: queue.wait(0.0),
                      lambda: breaker.add_listener(print), lambda: breaker.remove_listener(print)):
            end_well(run_child(lambda: check_each(first), fork_in_c))
        end_well(run_child(lambda: queue.stop(20), fork_in_c))
        done.set()
        thread.join()
        assert queue.stop() and sent == ["the parent's"]
        """
    )


def test_log_lines_and_threads_work_where_another_thread_wrote_a_line(
    run_well: Callable[[str], None],
) -> None:
    run_well(
        """
        import logging
        import sys
        from receipt_dynamo import CircuitBreaker

        written, done = threading.Event(), threading.Event()

        class Slow(logging.Handler):
            def emit(self, record):
                if os.getpid() == parent:
                    written.set()
                    done.wait(60)

        parent = os.getpid()
        log = logging.getLogger("slow")
        log.addHandler(Slow())
        log.propagate = False
        breaker = CircuitBreaker()
        thread = threading.Thread(target=log.warning, args=("a line",))
        thread.start()
        written.wait(30)

        def check():
            breaker.call(int)
            log.warning("another line")
            # From 3.13 on it is in Python's C part, which nobody can correct, whether one lives.
            assert sys.version_info >= (3, 13) or not thread.is_alive()

        end_well(run_child(check, fork_in_c))
        done.set()
        thread.join()
        """
    )
