"""What a fork must not do: hang, send or keep what is the parent's, forget what was closed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from receipt_dynamo import DynamoClient
from receipt_dynamo.testing import FaultProxy, Stall
from support.programs import Program, deliver_what_is_left, hear, name_ids, read_ids, say

if not hasattr(os, "fork"):
    pytest.skip("this system has no fork", allow_module_level=True)

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what is open")


def test_a_child_never_flushes_the_parents_buffer_and_the_parent_keeps_its_records(
    run_well: Callable[[str], None], table: DynamoClient
) -> None:
    """A child that flushed the parent's queue would double the rows' writes, or hang."""
    run_well(
        """
        client = open_client(batch_flush_interval=60)
        put(client, 10)

        def check():
            stats = client.get_stats()
            assert (stats.accepted, stats.pending) == (0, 0)
            put(client, 5, first=100)
            assert client.flush(timeout=20)
            assert client.get_stats().delivered == 5

        end_well(run_child(check))
        in_table = DynamoClient(TABLE, "us-east-1", ENDPOINT)
        rows = list(in_table.query_ai_usage_metrics_by_date("2026-03-01", "openai"))
        assert sorted(row.request_id for row in rows) == [f"id-{n}" for n in range(100, 105)]
        assert client.get_stats().pending == 10
        assert client.close().delivered == 10
        """
    )
    assert read_ids(table) == name_ids(range(10), range(100, 105))


def test_a_fork_waits_for_commits_reads_and_opening_of_journals_in_progress(
    run_well: Callable[[str], None],
) -> None:
    """Inside of SQLite a thread holds locks of SQLite's, which the child could never free."""
    run_well(
        """
        from receipt_dynamo.data.journal import journal as module

        client = open_client(batch_flush_interval=60)
        put(client, 1)
        wait_for_proof(client)
        journal = client._delivery._store._own.journal
        journal.count()  # makes the reader
        forks = threading.Event()
        os.register_at_fork(before=lambda: forks.set())  # runs before the one that waits

        def fork_during(start, action):
            inside, forked, order = threading.Event(), threading.Event(), []
            forks.clear()

            def stay():
                if not inside.is_set():
                    inside.set()
                    assert forks.wait(30)
                    forked.wait(0.3)  # in vain
                    order.append("inside")

            start(stay)
            thread = threading.Thread(target=action)
            thread.start()
            assert inside.wait(30)
            pid = run_child(lambda: put(client, 1, first=100))
            order.append("forked")
            forked.set()
            end_well(pid)
            thread.join(30)
            assert order == ["inside", "forked"], (action, order)

        def in_statements_of(connection):
            return lambda stay: connection.set_progress_handler(stay, 1)

        fork_during(in_statements_of(journal._writer), lambda: put(client, 1, first=1))
        fork_during(in_statements_of(journal._reader), journal.count)
        fork_during(in_statements_of(journal._reader), lambda: journal.read_pending(None, 9))

        def while_connecting(stay):
            def connect(path, real=module.connect):
                stay()
                return real(path)
            module.connect = connect

        other = open_client(batch_flush_interval=60, journal_dir=os.getcwd() + "/other")
        fork_during(while_connecting, lambda: put(other, 1, first=2))
        """
    )


def test_a_fork_never_waits_for_the_network(
    make_program: Callable[..., Program], table: DynamoClient, proxy: FaultProxy
) -> None:
    proxy.always(Stall())
    program = make_program(
        """
        client = open_patient_client(batch_flush_interval=0)
        put(client, 1)
        sys.stdin.readline()  # The request is on its way, and no reply comes.
        end_well(run_child(lambda: None))
        print(client.get_stats().in_flight, flush=True)
        """,
        proxy.endpoint_url,
    )
    with program.start() as process:
        assert proxy.wait_for_requests(1)
        say(process, "fork")
        assert hear(process) == "1"
        proxy.heal()
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert read_ids(table) == ["id-0"]


def test_a_fork_by_a_thread_that_holds_our_locks_does_not_deadlock(
    run_well: Callable[[str], None], table: DynamoClient
) -> None:
    """A finalizer may fork, anywhere; a lock that it inherits from its own thread is no use."""
    run_well(
        """
        client = open_client(batch_flush_interval=60)
        put(client, 1)
        delivery = client._delivery
        store, queue, chores = delivery._store, delivery._queue, delivery._chores.disk
        journal = store._own.journal
        locks = [each._lock for each in (store, journal, queue, chores)]

        def check():
            thread = threading.Thread(target=put, args=(client, 1, 1), daemon=True)
            thread.start()
            thread.join(30)
            assert client.flush(30)

        with locks[0], locks[1], journal._reading, locks[2], locks[3]:
            pid = run_child(check)
        end_well(pid)
        """
    )
    assert read_ids(table) == name_ids(range(2))


def test_a_fork_inside_of_a_listener_does_not_deadlock(
    run_well: Callable[[str], None], table: DynamoClient
) -> None:
    """A listener runs in a sender; its child has that thread alone."""
    run_well(
        """
        client = open_client(batch_flush_interval=0)

        def check():
            put(client, 1, first=1)
            assert client.flush(30)
            assert client.get_stats().delivered == 1

        def listen(event):
            if os.getpid() == parent:
                end_well(run_child(check))
                told.append(event)

        parent, told = os.getpid(), []
        client.add_listener(listen)
        put(client, 1)
        assert client.flush(60)
        client.close()
        assert len(told) == 1
        """
    )
    assert read_ids(table) == name_ids(range(2))


def test_a_closed_client_stays_closed_in_a_forked_child_and_an_open_one_open(
    run_well: Callable[[str], None], table: DynamoClient
) -> None:
    run_well(
        """
        from receipt_dynamo import BatchQueue

        closed, opened = open_client(), open_client(batch_flush_interval=60)
        put(closed, 2)
        assert closed.close().delivered == 2
        stopped = BatchQueue(print)
        stopped.stop()

        def check():
            metric, = make_metrics(1, first=5)
            assert not closed.put_ai_usage_metric(metric)
            assert closed.get_stats().refused == {"stopped": 1}
            report = closed.close(20)
            assert (report.delivered, report.pending, report.lost) == (0, 0, 0)
            assert not stopped.add_item("late")
            put(opened, 1, first=2)
            assert opened.close(20).delivered == 1

        end_well(run_child(check))
        put(opened, 1, first=3)
        """
    )
    assert read_ids(table) == name_ids(range(4))


@on_linux
def test_a_child_keeps_no_lease_and_neither_uses_nor_closes_a_database_of_its_parent(
    run_well: Callable[[str], None],
) -> None:
    """A lease kept would outlive the parent; unlocking it, or closing SQLite's files, harms it.

    A journal that another thread is just opening is no exception.
    """
    run_well(
        """
        import gc, sqlite3
        from pathlib import Path
        from receipt_dynamo.data.journal.directory import JournalDirectory, JournalTarget
        from receipt_dynamo.data.journal.lease import find_holder

        def list_open(*suffixes):
            links = [path.resolve() for path in Path("/proc/self/fd").iterdir()]
            return sorted(path.name for path in links if path.name.endswith(suffixes))

        client = open_client(batch_flush_interval=60)
        put(client, 1)
        wait_for_proof(client)
        directory = JournalDirectory(Path("left").absolute())
        left = directory.create(JournalTarget("other", "", ""), sync=False)
        left.journal.append(b"{}")
        left.close()
        path = left.journal.path
        del left

        taken, leave = threading.Event(), threading.Event()

        def adopt():
            held = directory.open_abandoned(path)
            assert held.journal.count().pending == 1
            taken.set()
            leave.wait(30)
            held.close()

        thread = threading.Thread(target=adopt)
        thread.start()
        assert taken.wait(30)
        journal = client._delivery._store._own.journal
        databases = list_open(".db", "-wal")
        assert len(list_open(".lock")) == 2 and len(databases) >= 4

        def check():
            assert list_open(".lock") == []
            for use in (journal.count, lambda: journal.append(b"{}"), lambda: journal.delete([1])):
                try:
                    use()
                except sqlite3.ProgrammingError:
                    continue
                raise AssertionError(use)
            journal.close()
            put(client, 1, first=2)
            assert client.close(30).delivered == 1
            del globals()["journal"]
            gc.collect()
            assert set(databases) <= set(list_open(".db", "-wal"))

        end_well(run_child(check))
        assert find_holder(journal.path.with_suffix(".lock")) == os.getpid()
        assert find_holder(path.with_suffix(".lock")) == os.getpid()
        leave.set()
        thread.join(30)
        put(client, 1, first=3)
        assert journal.count().pending == 2
        """
    )


def test_a_child_that_outlives_its_parent_does_not_keep_its_lease(
    make_program: Callable[..., Program], table: DynamoClient
) -> None:
    program = make_program(
        """
        client = open_client(batch_flush_interval=60)
        put(client, 3)
        wait_for_proof(client)

        def check():
            print("ready", flush=True)
            sys.stdin.readline()
            put(client, 1, first=3)
            assert client.close(30).delivered == 1
            print("done", flush=True)

        run_child(check)
        signal.pause()
        """
    )
    with program.start() as parent:
        assert hear(parent) == "ready"
        parent.kill()
        parent.wait(30)
        assert deliver_what_is_left(table) == 3
        say(parent, "go on")
        assert hear(parent) == "done"
    assert read_ids(table) == name_ids(range(4))


def test_a_child_leaves_its_dead_parents_journal_to_others(
    make_program: Callable[..., Program], table: DynamoClient
) -> None:
    """SQLite in the child takes the locks of its parent's connection for its own."""
    program = make_program(
        """
        client = open_client(batch_flush_interval=60)
        put(client, 3)
        wait_for_proof(client)
        orphaned, told = os.pipe()

        def check():
            os.close(told)
            os.read(orphaned, 1)
            put(client, 1, first=3)
            wait_for_proof(client)
            assert client.flush(30)
            assert client.get_stats().adopted == 0
            client.close(30)
            print("done", flush=True)

        run_child(check)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    with program.start() as parent:
        out, err = parent.communicate(timeout=60)
    assert (parent.returncode, out, err) == (-signal.SIGKILL, "done\n", "")
    assert deliver_what_is_left(table) == 3
    assert read_ids(table) == name_ids(range(4))


def test_what_a_child_leaves_that_ends_by_os_exit_is_adopted(
    run_well: Callable[[str], None], table: DynamoClient
) -> None:
    """It ends before it could ask which table it is; its parent's proof holds for it too."""
    run_well(
        """
        client = open_client(batch_flush_interval=60)
        put(client, 1)
        wait_for_proof(client)
        end_well(run_child(lambda: put(client, 2, first=1)))
        """
    )
    assert deliver_what_is_left(table) == 2
    assert read_ids(table) == name_ids(range(3))


def test_fifty_forks_while_four_threads_write_lose_double_and_hang_nothing(
    make_program: Callable[..., Program], table: DynamoClient, tmp_path: Path
) -> None:
    done = make_program(
        """
        import itertools

        FORKS, WRITES, EACH, CHILDREN = 50, 12, 3, 30_000
        client = open_client()
        put(client, 1)
        wait_for_proof(client)
        numbers, due = itertools.count(1), threading.Semaphore(0)

        def write():
            while (number := next(numbers)) <= FORKS * WRITES:
                due.acquire()
                put(client, 1, first=number)

        def note(adopted):
            with open("adopted", "a") as file:
                file.write(f"{adopted}\\n")

        def work(number):
            put(client, EACH, first=CHILDREN + number * EACH)
            if number % 10 == 0:
                report = client.close(60)
                adopted = client.get_stats().adopted
                assert (report.delivered, report.pending) == (EACH + adopted, 0), report
                note(adopted)

        threads = [threading.Thread(target=write, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        children = []
        for number in range(FORKS):
            due.release(WRITES)
            children.append(run_child(lambda: work(number)))
        for thread in threads:
            thread.join()
        for pid in children:
            end_well(pid)
        assert client.flush(60)
        stats = client.get_stats()
        assert (stats.accepted, stats.undurable) == (1 + FORKS * WRITES, 0)
        assert stats.accepted + stats.adopted == stats.delivered
        note(stats.adopted)
        """
    ).run()
    assert done.returncode == 0, done.stderr
    adopted = map(int, (tmp_path / "adopted").read_text(encoding="utf-8").split())
    assert sum(adopted) + deliver_what_is_left(table) == 45 * 3
    assert read_ids(table) == name_ids(range(601), range(30_000, 30_150))


def test_a_child_is_not_stopped_by_credentials_that_were_being_renewed(
    run_well: Callable[[str], None], table: DynamoClient
) -> None:
    """A client that was given keeps its credentials object, and with it botocore's lock."""
    run_well(
        """
        import boto3, botocore.session
        from botocore.credentials import (
            AssumeRoleCredentialFetcher, Credentials, DeferredRefreshableCredentials,
            RefreshableCredentials,
        )

        def assume_role():
            end = datetime.now().astimezone() + timedelta(hours=1)
            return {"access_key": "x", "secret_key": "x", "token": "t",
                    "expiry_time": end.isoformat()}

        source = RefreshableCredentials.create_from_metadata(assume_role(), assume_role, "source")
        fetcher = AssumeRoleCredentialFetcher(None, source, "arn:aws:iam::123456789012:role/r")

        credentials = DeferredRefreshableCredentials(
            AssumeRoleCredentialFetcher.fetch_credentials.__get__(fetcher), "role"
        )
        session = botocore.session.get_session()
        session._credentials = credentials
        boto = boto3.session.Session(botocore_session=session).client(
            "dynamodb", region_name="us-east-1", endpoint_url=ENDPOINT
        )
        client = ResilientDynamoClient.from_client(boto, TABLE, batch_flush_interval=60)
        renewing, done = threading.Event(), threading.Event()

        def renew():
            with credentials._refresh_lock, source._refresh_lock:
                renewing.set()
                done.wait(60)

        thread = threading.Thread(target=renew)
        thread.start()
        renewing.wait(30)

        def check():
            assert not credentials._refresh_lock.locked()
            assert not source._refresh_lock.locked()
            credentials._refresh_using = assume_role
            put(client, 1)
            assert client.flush(30)

        end_well(run_child(check))
        assert credentials._refresh_lock.locked()
        done.set()
        thread.join()
        """
    )
    assert read_ids(table) == name_ids(range(1))
