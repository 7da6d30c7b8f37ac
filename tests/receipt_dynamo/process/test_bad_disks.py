"""Disks that are full, read-only or of the wrong kind: memory instead, loudly, and back again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from receipt_dynamo import DynamoClient, ResilientDynamoClient
from receipt_dynamo.data.journal.places import name_file_system
from support.programs import Program, name_ids, read_ids

if sys.platform == "win32":
    pytest.skip("limits, modes and mounts are POSIX's", allow_module_level=True)

# Each of them has the journal fail after ten records, and work again after 200 more.
BODY = """
import resource, time
from pathlib import Path
from receipt_dynamo.data.journal import file as journal_file
from receipt_dynamo.data.delivery import chores

chores.RETRY_DELAY = 0.05  # Not the 30 s that a test cannot wait for.
journals = Path(os.environ["AI_USAGE_JOURNAL_DIR"])
degraded = []

def refuse_wal():
    connect = journal_file.connect
    journal_file.connect = lambda path, mode="rw": connect(path, f"{mode}&vfs=unix-dotfile")
    return lambda: setattr(journal_file, "connect", connect)

def put_a_file_in_the_way():
    journals.write_text("in the way")
    return journals.unlink

def make_read_only():
    journals.mkdir(mode=0o500)
    return lambda: journals.chmod(0o700)

def fill_the_disk(size=0):
    # Nothing can be written to a file, or nothing beyond that size.
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))

def fill_the_disk_around_the_log():
    (log,) = journals.glob("*.db-wal")
    fill_the_disk(log.stat().st_size)

def fill_the_mount():
    ballast = journals.parent / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            assert error.errno == 28, error
    return ballast.unlink

def use_the_journal(client):
    put(client, 10)
    assert client.flush(60)
    assert client.get_stats().durability == "journal"

def wait_for_the_journal(client, number):
    while client.get_stats().durability == "memory":
        put(client, 1, first=number)
        number += 1
        time.sleep(0.01)
    return number

def fail_and_recover(break_it, *, is_broken_at_first, start=0):
    client = open_client()

    def note(event):
        if event.kind.value == "degraded":
            degraded.append(client.get_stats().durability)

    client.add_listener(note)
    if not is_broken_at_first:
        use_the_journal(client)
    repair = break_it()
    put(client, 210 - client.get_stats().accepted, first=start + client.get_stats().accepted)
    stats = client.get_stats()
    assert stats.accepted == 210, stats
    assert stats.undurable > 0, stats
    assert set(degraded) == {"memory"}
    assert client.flush(60)
    assert client.get_stats().delivered == 210

    repair()
    end = wait_for_the_journal(client, start + 210)
    before = client.get_stats().undurable
    put(client, 5, first=end)
    assert client.get_stats().undurable == before
    report = client.close()
    assert (report.pending, report.lost) == (0, 0), report
    assert list(journals.iterdir()) == []
    print(end + 5)
"""


def run_to_its_end(program: Program, *before: str) -> tuple[list[int], list[str]]:
    """Run it; return the records that it put, by the number after them, and what it logged."""
    program.command[:0] = before
    done = program.run()
    assert done.returncode == 0, done.stderr
    return [int(line) for line in done.stdout.split()], done.stderr.splitlines()


def without_the_powers_of_root() -> list[str]:
    """Return what to run a command with, so that permissions stop it."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root may write everywhere, and there is no setpriv to take that from it")
    return ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]


def check_what_was_said(said: list[str], what: str) -> None:
    """Once what is wrong, once that it is over, however often it happened."""
    assert len([line for line in said if what in line]) == 1, said
    assert len([line for line in said if "the journal is written again" in line]) == 1, said
    assert all("gpt-4o" not in line for line in said)


def test_where_no_journal_can_be_made_records_go_to_memory_until_one_can(
    make_program: Callable[..., Program], table: DynamoClient
) -> None:
    kinds = {
        "put_a_file_in_the_way": "NotADirectoryError",
        "make_read_only": "PermissionError",
        "refuse_wal": "JournalError",
    }
    body = "".join(
        f"fail_and_recover({kind}, is_broken_at_first=True, start={first * 10_000})\n"
        "journals.rmdir()\n"
        for first, kind in enumerate(kinds)
    )
    ends, lines = run_to_its_end(make_program(BODY + body), *without_the_powers_of_root())
    for error in kinds.values():
        assert len([line for line in lines if f"cannot make the journal: {error}" in line]) == 1
    assert len(lines) == 2 * len(kinds), lines
    expected = [range(first * 10_000, end) for first, end in enumerate(ends)]
    assert read_ids(table) == name_ids(*expected)


def test_on_a_full_disk_records_go_to_memory_until_there_is_room(
    make_program: Callable[..., Program], table: DynamoClient
) -> None:
    program = make_program(BODY + "fail_and_recover(fill_the_disk, is_broken_at_first=False)\n")
    (end,), lines = run_to_its_end(program)
    check_what_was_said(lines, "cannot write the journal: ")
    assert read_ids(table) == name_ids(range(end))


def test_on_a_full_disk_the_journal_goes_on_in_the_room_that_its_log_has(
    make_program: Callable[..., Program], table: DynamoClient
) -> None:
    """The log is copied and begins again, where the disk need not grow."""
    program = make_program(
        BODY
        + """
client = open_client()
use_the_journal(client)
fill_the_disk_around_the_log()
number = 10
while client.get_stats().durability == "journal":
    put(client, 1, first=number)
    number += 1
number = wait_for_the_journal(client, number)
assert client.close().pending == 0
print(number)
"""
    )
    (end,), lines = run_to_its_end(program)
    check_what_was_said(lines, "cannot write the journal: ")
    assert read_ids(table) == name_ids(range(end))


def test_on_a_full_mount_records_go_to_memory_until_there_is_room(
    make_program: Callable[..., Program],
    table: DynamoClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    # In a mount namespace of its own, so that nothing of it is left.
    script = 'mount -t tmpfs -o size=1M none "$0" && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, str(mount)]
    can_mount = shutil.which("unshare") and not subprocess.call([*command, "true"])
    if not can_mount:
        pytest.skip("no right to mount; the full disk by RLIMIT_FSIZE is tested all the same")
    monkeypatch.setenv("AI_USAGE_JOURNAL_DIR", str(mount / "journal"))
    program = make_program(BODY + "fail_and_recover(fill_the_mount, is_broken_at_first=False)\n")
    (end,), lines = run_to_its_end(program, *command)
    check_what_was_said(lines, "cannot write the journal: ")
    assert len([line for line in lines if "is on a RAM disk" in line]) == 1
    assert read_ids(table) == name_ids(range(end))


OUTAGE = """
client = open_client(circuit_breaker_threshold=1, circuit_breaker_timeout=3600.0)
put(client, 10)
repair = fill_the_disk()
put(client, 644, first=10)
stats = client.get_stats()
assert (stats.pending, stats.undurable, stats.durability) == (654, 644, "memory"), stats
"""
NOBODY = "http://127.0.0.1:9"


def test_what_was_in_memory_is_on_disk_once_that_works_again_though_nobody_puts_any_more(
    make_program: Callable[..., Program], table: DynamoClient
) -> None:
    """644 records were lost here, in an outage that outlived the process."""
    wait_and_die = """
repair()
assert client._delivery._chores.recovery.flush(60)
assert client.get_stats().undurable == 0
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = make_program(BODY + OUTAGE + wait_and_die, NOBODY).run()
    assert done.returncode == -signal.SIGKILL, done.stderr
    check_what_was_said(done.stderr.splitlines(), "cannot write the journal: ")
    assert count_rows() == 654


def test_who_ends_in_an_outage_leaves_what_was_in_memory_on_a_disk_that_works_by_then(
    make_program: Callable[..., Program], table: DynamoClient
) -> None:
    # Not even a retry has been due.
    end = "chores.RETRY_DELAY = 3600.0\n" + OUTAGE + "repair()\nprint(client.close(timeout=0.0))\n"
    done = make_program(BODY + end, NOBODY).run()
    assert done.returncode == 0, done.stderr
    assert "pending=654, on_disk=654, lost=0" in done.stdout
    assert count_rows() == 654


def test_a_process_that_is_killed_while_it_writes_down_leaves_each_record_once_and_in_order(
    make_program: Callable[..., Program], table: DynamoClient
) -> None:
    die_in_the_middle = """
from receipt_dynamo.data.delivery import record_store
from receipt_dynamo.data.journal.journal import Journal
record_store.WRITTEN_AT_ONCE = 10_000
restore, times = Journal.restore, []

def restore_and_die(self, rows):
    times.append(1)
    if len(times) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    restore(self, rows)

Journal.restore = restore_and_die
repair()
time.sleep(60)
"""
    done = make_program(BODY + OUTAGE + die_in_the_middle, NOBODY).run()
    assert done.returncode == -signal.SIGKILL, done.stderr
    ids = read_journal()
    assert 10 < len(ids) < 654
    assert ids == name_ids(range(len(ids)))


def read_journal() -> list[str]:
    """Return the ids of the records on disk, in their order."""
    (path,) = Path(os.environ["AI_USAGE_JOURNAL_DIR"]).glob("*.db")
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT item FROM records ORDER BY seq").fetchall()
    return [json.loads(item)["requestId"]["S"] for (item,) in rows]


def count_rows() -> int:
    ids = read_journal()
    assert ids == name_ids(range(len(ids)))
    return len(ids)


def test_a_directory_on_a_disk_of_memory_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    memory = Path("/dev/shm")
    if name_file_system(memory) != "tmpfs":
        pytest.skip("no tmpfs at /dev/shm")
    with ResilientDynamoClient("test-table", "us-east-1", journal_dir=memory / "journal"):
        (line,) = [record.getMessage() for record in caplog.records]
    assert "/dev/shm/journal is on a RAM disk" in line
    assert not (memory / "journal").exists()
