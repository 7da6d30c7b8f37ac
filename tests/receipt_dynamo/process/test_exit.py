"""The ends of processes, in real ones."""

from __future__ import annotations

from collections.abc import Callable

from receipt_dynamo import DynamoClient
from receipt_dynamo.testing import FaultProxy, Stall
from support.programs import Program, name_ids, read_ids

NOWHERE = "http://127.0.0.1:9"


def test_a_process_that_just_ends_delivers_first(
    run_well: Callable[[str], None], table: DynamoClient
) -> None:
    run_well(
        """
        client = open_client(batch_flush_interval=60)
        put(client, 60)
        """
    )
    assert read_ids(table) == name_ids(range(60))


def test_a_client_that_nobody_refers_to_any_more_delivers_before_the_process_ends(
    run_well: Callable[[str], None], table: DynamoClient
) -> None:
    """Nobody could close it, and what it holds is in memory alone."""
    run_well(
        """
        import gc
        put(open_client(batch_flush_interval=60, durability="memory"), 3)
        gc.collect()
        """
    )
    assert read_ids(table) == name_ids(range(3))


def test_records_of_an_exit_handler_that_runs_first_are_delivered(
    run_well: Callable[[str], None], table: DynamoClient
) -> None:
    """No thread can be started in atexit on Python 3.12 and later."""
    run_well(
        """
        import atexit
        client = open_client()
        atexit.register(client.batch_put_ai_usage_metrics, make_metrics(30))
        """
    )
    assert read_ids(table) == name_ids(range(30))


def test_an_exit_during_an_outage_is_bounded_and_says_what_is_lost(
    make_program: Callable[..., Program],
) -> None:
    done = make_program(
        """
        import atexit
        from receipt_dynamo.data.delivery import lifecycle
        atexit.unregister(lifecycle.close_all)
        atexit.register(lifecycle.close_all, 0.5)
        client = open_client(durability="memory")
        put(client, 3)
        """,
        NOWHERE,
    ).run()
    assert done.returncode == 0
    assert "3 records were not delivered within 0." in done.stderr
    assert "s; 3 are lost. Last failure: " in done.stderr


READ_AT_EXIT = """
import atexit
writer = DynamoClient(TABLE, "us-east-1", ENDPOINT, gsi_shards=5)
assert writer.batch_put_ai_usage_metrics(make_metrics(40)) == []
reader = DynamoClient(TABLE, "us-east-1", ENDPOINT)
reader._connection.client()
begun = reader.query_ai_usage_costs_by_date(START)
left_alone = reader.query_ai_usage_costs_by_date(START)
first = [next(begun), next(left_alone)]
never_begun = reader.query_ai_usage_metrics_by_date(START, "openai")

def read():
    try:
        assert len(list(begun)) == 39
        assert len(list(never_begun)) == 40
        assert len(list(reader.query_ai_usage_metrics_by_service("openai", START, START))) == 40
        (total,) = reader.sum_ai_usage_costs_by_day(START, START)
        assert total.records == 40
        left_alone.close()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)  # Else a failed handler is a line on stderr.
    print("all is read", flush=True)

atexit.register(read)
"""


def test_a_table_of_several_shards_is_read_while_the_interpreter_ends(
    make_program: Callable[..., Program], table: DynamoClient
) -> None:
    """No thread can be started then; what was begun before goes on."""
    done = make_program(READ_AT_EXIT).run()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "all is read\n"


def test_a_table_that_does_not_answer_takes_no_more_than_its_share_of_the_end(
    make_program: Callable[..., Program], table: DynamoClient, proxy: FaultProxy
) -> None:
    """No thread can be started there on Python 3.12 and later: one client follows the other."""
    proxy.always(Stall())
    done = make_program(
        f"""
        import atexit
        from receipt_dynamo.data.delivery import lifecycle

        atexit.unregister(lifecycle.close_all)
        atexit.register(lifecycle.close_all, 12.0)

        def open_ill(first):
            client = ResilientDynamoClient(
                TABLE, "us-east-1", endpoint_url={proxy.endpoint_url!r}, durability="memory",
                batch_flush_interval=60,
            )
            put(client, 1, first)
            return client

        before = open_ill(10)
        well = open_client(batch_flush_interval=60, durability="memory")
        put(well, 1)
        after = open_ill(20)

        def refuse(thread):
            raise RuntimeError("can't create new thread at interpreter shutdown")

        atexit.register(setattr, threading.Thread, "start", refuse)
        """
    ).run()
    assert done.returncode == 0
    assert "id-0" in read_ids(table)
